// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import Synchronization
import TestSupport
import Testing

@Suite("A login endpoint behind the program", .serialized)
struct LoginEndpointTests {
    /// An endpoint that vouches for `password of NAME`, as slowly as it is told to.
    private final class Endpoint: Sendable {
        /// What its connections share with the test.
        final class Shared: Sendable {
            let asked = Atomic(0)
            let isHeld = Atomic(false)
        }

        let shared = Shared()
        private let server: FakeServer

        var port: Int { server.port }

        init(prefix: String = "") throws {
            let shared = shared
            server = try FakeServer { connection in
                let reader = HTTPReader(connection.socket)
                while let request = reader.request() {
                    shared.asked.add(1, ordering: .relaxed)
                    while shared.isHeld.load(ordering: .relaxed) { usleep(2000) }
                    let user: String = request.member("username") ?? ""
                    let isRight = request.member("password") == TestUsers.password(of: user)
                    let body = isRight ? #"{"user":"\#(prefix)\#(user)","claims":{"role":"tester"}}"# : ""
                    connection.write("HTTP/1.1 \(isRight ? 200 : 401) x\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
                }
            }
        }

        func stop() { server.stop() }
    }

    private static func sessions(_ endpoint: Endpoint) -> String {
        "{signing_key: {file: signing.pem}, login: {verify_url: \"http://127.0.0.1:\(endpoint.port)/verify\"}}"
    }

    private static func login(_ user: String, _ password: String) -> String { #"{"username":"\#(user)","password":"\#(password)"}"# }

    @Test(
        "vouches for those who log in, its claims reach the service, a reload changes it, and no password is written down",
        arguments: StoreKind.allCases)
    func story(store: StoreKind) async throws {
        let first = try Endpoint(), second = try Endpoint(prefix: "new-")
        defer {
            first.stop()
            second.stop()
        }
        try await withEchoGateway(store) { setup in
            setup["sessions"] = Self.sessions(first)
            setup["identity_headers"] = "{claims: {X-Role: role}}"
            setup["logging"] = "{level: trace}"
        } _: { gateway in
            let login = try gateway.login()
            let seen = try gateway.get("/orders", token: login.access).text
            #expect(seen.contains("x-auth-user: alice\n") && seen.contains("x-role: tester\n"), "\(seen)")
            let refreshed = try gateway.call("POST", "/auth/refresh", json: #"{"refresh_token":"\#(login.refresh)"}"#)
            let access: String = try #require(refreshed.member("access_token"))
            #expect(try gateway.get("/orders", token: access).text.contains("x-role: tester\n"))
            #expect(try gateway.call("POST", "/auth/login", json: Self.login("alice", "a wrong password")).code == "login_failed")
            var changed = gateway.setup
            changed["sessions"] = Self.sessions(second)
            try gateway.write(changed)
            gateway.process.send(signal: SIGHUP)
            try await eventually("the new one is asked") { try gateway.login().answer.member("user") == "new-alice" }
            #expect(try gateway.get("/orders", token: access).status == 200, "sessions go on")
            second.stop()
            let fault = try gateway.call("POST", "/auth/login", json: Self.login("alice", "a wrong password"))
            #expect(fault.status == 502 && fault.code?.hasPrefix("upstream_") == true)
            try await eventually("the fault is told") { gateway.process.output.contains("The login endpoint did not do it") }
            for secret in ["a wrong password", TestUsers.password(of: "alice")] {
                #expect(!gateway.process.output.contains(secret) && !gateway.process.errors.contains(secret))
            }
        }
    }

    @Test("that is slow holds up logins alone: a bounded number is asked about, more wait, what is over that is 503, and all goes on when it answers")
    func flood() async throws {
        let endpoint = try Endpoint()
        defer { endpoint.stop() }
        try await withEchoGateway(.memory) { setup in
            setup["sessions"] = Self.sessions(endpoint)
            setup["trusted_proxies"] = "[\"127.0.0.1\"]"
        } _: { gateway in
            let login = try gateway.login()
            endpoint.shared.isHeld.store(true, ordering: .relaxed)
            // Each user from an address of his own: no counter is in the way.
            let clients = try (0..<170).map { number in
                let client = try HTTPConnection(port: gateway.port, timeout: .seconds(40))
                let body = Self.login("user\(number)", TestUsers.password(of: "user\(number)"))
                let fields = [
                    ("Content-Type", "application/json"), ("Content-Length", "\(body.utf8.count)"), ("X-Forwarded-For", "192.0.2.\(number)"),
                ]
                client.socket.write(HTTPConnection.head("POST", "/auth/login", fields) + body)
                return client
            }
            try await eventually("as many as there are turns are asked about") { endpoint.shared.asked.load(ordering: .relaxed) == 1 + 28 }
            #expect(try gateway.get("/orders", token: login.access).status == 200)
            #expect(try gateway.call("POST", "/auth/logout", token: login.access).status == 204)
            endpoint.shared.isHeld.store(false, ordering: .relaxed)
            var statuses: [Int: Int] = [:]
            for client in clients {
                let answer = try client.answer(to: "POST")
                statuses[answer.status, default: 0] += 1
                if answer.status == 503 { #expect(answer.code == "rate_limited" && answer["Retry-After"] == ["1"]) }
            }
            #expect(statuses[200, default: 0] >= 28 + 128 && statuses[200, default: 0] + statuses[503, default: 0] == 170, "\(statuses)")
        }
    }
}
