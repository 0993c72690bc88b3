// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import TestSupport
import Testing

@Suite("What an attacker tried: to guess, to flood, and to forge at the login", .serialized)
struct AttackLoginTests {
    private static func login(_ user: String, _ password: String) -> String { #"{"username":"\#(user)","password":"\#(password)"}"# }

    @Test("a user's password can be tried 30 times a minute over two gateways, however many try at once and from wherever")
    func fleet() async throws {
        let upstream = try FakeServer.echo()
        defer { upstream.stop() }
        try await withRedisServer { redis in
            var setup = GatewaySetup(upstream: upstream.port, redis: redis)
            setup["trusted_proxies"] = "[\"127.0.0.1\"]"
            try await withGateway(setup) { one in
                try await withGateway(setup, sibling: one) { other in
                    let body = Self.login("alice", "wrong")
                    let clients = try (0..<100).map { number in
                        let client = try HTTPConnection(port: [one.port, other.port][number % 2], timeout: .seconds(40))
                        let fields = [
                            ("Content-Type", "application/json"), ("Content-Length", "\(body.utf8.count)"), ("X-Forwarded-For", "192.0.2.\(number)"),
                        ]
                        client.socket.write(HTTPConnection.head("POST", "/auth/login", fields) + body)
                        return client
                    }
                    let statuses = try clients.reduce(into: [Int: Int]()) { $0[try $1.answer(to: "POST").status, default: 0] += 1 }
                    #expect(statuses == [401: 30, 429: 70])
                    for gateway in [one, other] {
                        let right = try gateway.call("POST", "/auth/login", json: Self.login("alice", TestUsers.password(of: "alice")))
                        #expect(right.status == 429 && right.code == "rate_limited" && right["Retry-After"].count == 1)
                        #expect(try gateway.login("bob").answer.status == 200)
                    }
                }
            }
        }
    }

    @Test("a body that says it is of 1 GB is refused before it comes")
    func announcedBody() async throws {
        try await withEchoGateway(.memory) { gateway in
            let client = try HTTPConnection(port: gateway.port)
            client.socket.write(
                HTTPConnection.head("POST", "/auth/login", [("Content-Type", "application/json"), ("Content-Length", "1000000000")]))
            let answer = try client.answer(to: "POST")
            #expect(answer.status == 413 && answer.code == "body_too_large")
        }
    }

    @Test("methods that the session API does not have are answered without harm, through the gateway as well")
    func methods() async throws {
        try await withEchoGateway(.memory) { gateway in
            let login = try gateway.login()
            for (target, allow) in [("/auth/login", "POST"), ("/auth/session", "GET, HEAD"), ("/auth/sessions/\(login.session)", "DELETE")] {
                for method in ["OPTIONS", "TRACE", "PUT", "PROPFIND"] {
                    let answer = try gateway.call(method, target, token: login.access)
                    #expect(answer.status == 405 && answer["Allow"] == [allow] && answer.code == "method_not_allowed", "\(method) \(target)")
                    #expect(!answer.text.contains(login.access))
                }
            }
            let head = try gateway.call("HEAD", "/auth/session", token: login.access)
            #expect(head.status == 200 && head.body.isEmpty && head["Content-Length"].first != "0")
            for target in ["/auth/login", "app.example:443"] {
                let client = try HTTPConnection(port: gateway.port)
                client.socket.write(HTTPConnection.head("CONNECT", target, []))
                let status = try client.answer(to: "CONNECT").status
                #expect([400, 405, 501].contains(status), "\(target) \(status)")
            }
            #expect(try gateway.get("/orders", token: login.access).status == 200)
        }
    }

    @Test("names, devices and user agents that would forge log lines leave one line each, which is JSON; the list shows them as they were sent")
    func logLines() async throws {
        try await withEchoGateway(.memory) { gateway in
            let forged = #"x\"}\r\n{\"time\":\"now\",\"audit\":\"login\",\"outcome\":\"ok\"}\n\u001b[2J\u2028"#
            let agent = "a\"},{\"audit\":\"login\"}\t\\n\u{e9}%0d%0a"
            let body = Self.login("alice", TestUsers.password(of: "alice")).dropLast() + #","device":"\#(forged)"}"#
            let login = try gateway.call("POST", "/auth/login", json: String(body), fields: [("User-Agent", agent)])
            #expect(login.status == 200)
            #expect(try gateway.call("POST", "/auth/login", json: Self.login(forged, "x"), fields: [("User-Agent", agent)]).status == 401)
            _ = try gateway.get("/orders%0d%0a%22%7d%1b[2J?\"}", fields: [("User-Agent", agent), ("X-Request-Id", "x\"},{")])
            let access: String = try #require(login.member("access_token"))
            let list = try gateway.get("/auth/sessions", token: access)
            let sessions = try #require(list.member("sessions", as: [[String: Any]].self))
            #expect((sessions.first?["device"] as? String)?.contains("\u{1b}[2J") == true && sessions.first?["user_agent"] as? String == agent)
            gateway.process.send(signal: SIGTERM)
            #expect(try await gateway.process.exit() == 0)
            let lines = gateway.process.output.split(separator: "\n")
            let objects = lines.compactMap { try? JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any] }
            #expect(objects.count == lines.count && lines.count > 4, "each line is one object")
            #expect(objects.count { $0["audit"] as? String == "login" } == 2)
            #expect(objects.count { $0["audit"] as? String == "login" && $0["outcome"] as? String == "ok" } == 1)
            #expect(!gateway.process.output.contains("\u{1b}"))
        }
    }
}
