// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import TestSupport
import Testing

@Suite("What an attacker tried: to keep others from the session API", .serialized)
struct AttackSessionAPITests {
    private static let credentials = #"{"username":"alice","password":"\#(TestUsers.password(of: "alice"))"}"#

    private static func halfLogin(_ port: Int, _ fields: [(String, String)] = []) throws -> HTTPConnection {
        let client = try HTTPConnection(port: port)
        let all = [("Content-Type", "application/json"), ("Content-Length", "\(credentials.utf8.count)")] + fields
        client.socket.write(HTTPConnection.head("POST", "/auth/login", all) + credentials.prefix(12))
        return client
    }

    /// Descriptors that this process, and each that it starts, may have.
    private static let descriptorLimit: UInt64 = {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return UInt64(limit.rlim_cur)
    }()

    @Test("more half-sent logins than it has connections stop neither a logout nor a login", .enabled(if: descriptorLimit >= 4000))
    func halfSentLogins() async throws {
        try await withEchoGateway(.memory) {
            $0["limits"] = "{head_timeout: 60s}"
        } _: { gateway in
            let login = try gateway.login()
            let count = 1100
            let clients = try (0..<count).map { _ in try Self.halfLogin(gateway.port) }
            try await eventually("all are under way") {
                let lines = try gateway.admin("GET", "/metrics").text.split(separator: "\n").filter { $0.hasPrefix("portcullis_connections{") }
                return lines.compactMap { Int($0.split(separator: " ").last ?? "") }.reduce(0, +) >= count
            }
            #expect(try gateway.call("POST", "/auth/logout", token: login.access).status == 204)
            #expect(try gateway.get("/orders", token: login.access).code == "session_revoked")
            let other = try gateway.login("bob")
            #expect(try gateway.get("/orders", token: other.access).status == 200)
            // They had only been waiting.
            for client in clients.suffix(30) {
                client.socket.write(String(Self.credentials.dropFirst(12)))
                #expect(try client.answer(to: "POST").status == 200)
            }
        }
    }

    @Test("a body that stays half-sent is answered with 408 after the time that a head has")
    func slowBody() async throws {
        try await withEchoGateway(.memory) {
            $0["limits"] = "{head_timeout: 1s}"
        } _: { gateway in
            let start = ContinuousClock.now
            let answer = try Self.halfLogin(gateway.port).answer(to: "POST")
            #expect(answer.status == 408 && answer.code == "head_timeout", "\(answer.start) \(answer.text)")
            #expect(ContinuousClock.now - start > .milliseconds(900))
        }
    }

    @Test("who waits for a 100 before the body gets one, and then the answer")
    func expectation() async throws {
        try await withEchoGateway(.memory) { gateway in
            let client = try HTTPConnection(port: gateway.port)
            let fields = [
                ("Content-Type", "application/json"), ("Content-Length", "\(Self.credentials.utf8.count)"), ("Expect", "100-continue"),
            ]
            for _ in 0..<2 {
                client.socket.write(HTTPConnection.head("POST", "/auth/login", fields))
                #expect(client.reader.head()?.start == "HTTP/1.1 100 Continue")
                client.socket.write(Self.credentials)
                let answer = try #require(client.reader.head())
                #expect(answer.status == 200, "\(answer.start)")
                let length = try #require(answer["Content-Length"].first.flatMap { Int($0) })
                var body: [UInt8] = []
                while body.count < length, case let more = client.reader.bytes(), !more.isEmpty { body += more }
                #expect(String(decoding: body, as: UTF8.self).contains("access_token"))
            }
        }
    }

    @Test("a chunked body works, in any pieces, also one of nothing")
    func chunked() async throws {
        try await withEchoGateway(.memory) { gateway in
            let client = try HTTPConnection(port: gateway.port)
            for piece in [1, 7, 1000] {
                client.socket.write(
                    HTTPConnection.head("POST", "/auth/login", [("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")]))
                var rest = Self.credentials[...]
                while !rest.isEmpty {
                    let part = rest.prefix(piece)
                    client.socket.write("\(String(part.utf8.count, radix: 16));name=value\r\n\(part)\r\n")
                    rest = rest.dropFirst(piece)
                }
                client.socket.write("0\r\nX-Trailer: 1\r\n\r\n")
                let answer = try client.answer(to: "POST")
                #expect(answer.status == 200 && answer.member("user") == "alice", "\(answer.start) \(answer.text)")
            }
            let access = try gateway.login().access
            let nothing = HTTPConnection.head("POST", "/auth/logout", [("Authorization", "Bearer \(access)"), ("Transfer-Encoding", "chunked")])
            let impatient = try HTTPConnection(port: gateway.port, timeout: .seconds(5))
            impatient.socket.write(nothing + "0\r\n\r\n")
            #expect(try impatient.answer(to: "POST").status == 204)
            #expect(try gateway.get("/orders", token: access).code == "session_revoked")
        }
    }

    @Test("a body of more than 64 KiB is refused, counted or chunked, and one of 64 KiB is read")
    func largeBodies() async throws {
        try await withEchoGateway(.memory) { gateway in
            for (size, status) in [(64 << 10, 200), (64 << 10 + 1, 413), (1 << 20, 413)] {
                let body = Self.credentials.dropLast() + #","device":"x"}"# + String(repeating: " ", count: size - Self.credentials.utf8.count - 13)
                try #require(body.utf8.count == size)
                for isChunked in [false, true] {
                    let client = try HTTPConnection(port: gateway.port)
                    let framing = isChunked ? ("Transfer-Encoding", "chunked") : ("Content-Length", "\(size)")
                    let head = HTTPConnection.head("POST", "/auth/login", [("Content-Type", "application/json"), framing])
                    client.socket.write(head + (isChunked ? "\(String(size, radix: 16))\r\n\(body)\r\n0\r\n\r\n" : body))
                    let answer = try client.answer(to: "POST")
                    #expect(answer.status == status, "\(size) \(isChunked) \(answer.start) \(answer.text)")
                    if status == 413 { #expect(answer.code == "body_too_large") }
                }
            }
        }
    }

    @Test("requests of a session that has ended use up nothing of its user's rate limit")
    func rateLimit() async throws {
        let upstream = try FakeServer.echo()
        defer { upstream.stop() }
        var setup = GatewaySetup(upstream: upstream.port)
        setup["routes"] = "[{path: /, upstream: legacy, rate_limit: {requests: 3, per: 60s, by: user}}]"
        try await withGateway(setup) { gateway in
            let stolen = try gateway.login(), own = try gateway.login()
            #expect(try gateway.call("POST", "/auth/logout", token: stolen.access).status == 204)
            for _ in 0..<10 { #expect(try gateway.get("/", token: stolen.access).code == "session_revoked") }
            for _ in 0..<3 { #expect(try gateway.get("/", token: own.access).status == 200) }
            #expect(try gateway.get("/", token: own.access).code == "rate_limited")
            #expect(try gateway.get("/", token: stolen.access).code == "session_revoked")
        }
    }
}
