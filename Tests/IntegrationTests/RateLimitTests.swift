// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport
import Testing

@Suite("Rate limits", .serialized)
struct RateLimitTests {
    /// A limit on every path but `/public`. A window is so long that no test sees its end.
    private func limited(_ limit: String, _ body: (RunningGateway) async throws -> Void) async throws {
        try await withEchoGateway(.memory, { $0["routes"] = "[{path: /, upstream: legacy, rate_limit: {\(limit)}}]" }, body)
    }

    @Test("by user: all sessions of a user have one limit on all event loops, and what is over it is 429 with the time to wait")
    func byUser() async throws {
        try await limited("requests: 8, per: 1h, by: user") { gateway in
            let phone = try gateway.login(device: "phone"), laptop = try gateway.login(device: "laptop"), other = try gateway.login("bob")
            // Each on a connection of its own, so that both loops have some.
            for number in 0..<8 { #expect(try gateway.get("/orders", token: (number % 2 == 0 ? phone : laptop).access).status == 200) }
            for login in [phone, laptop] {
                let refused = try gateway.get("/other", token: login.access)
                #expect(refused.status == 429 && refused.code == "rate_limited")
                let wait = try #require(refused["Retry-After"].first.flatMap { Int($0) })
                #expect((3500...3600).contains(wait))
            }
            #expect(try gateway.get("/orders", token: other.access).status == 200)
        }
    }

    @Test("by session: each has its own")
    func bySession() async throws {
        try await limited("requests: 2, per: 1h, by: session") { gateway in
            for device in ["phone", "laptop"] {
                let login = try gateway.login(device: device)
                #expect(try (0..<4).map { _ in try gateway.get("/orders", token: login.access).status } == [200, 200, 429, 429])
            }
        }
    }

    @Test("by address: the client's as a trusted proxy tells it, with or without a user")
    func byAddress() async throws {
        let routes =
            "[{path: /public, upstream: legacy, auth: none, rate_limit: {requests: 2, per: 1h, by: address}}, "
            + "{path: /, upstream: legacy, rate_limit: {requests: 2, per: 1h, by: address}}]"
        try await withEchoGateway(
            .memory,
            {
                $0["routes"] = routes
                $0["trusted_proxies"] = "[\"127.0.0.1/32\"]"
            }
        ) { gateway in
            let alice = try gateway.login(), bob = try gateway.login("bob")
            func status(_ path: String, _ token: String?, _ client: String) throws -> Int {
                try gateway.get(path, token: token, fields: [("X-Forwarded-For", client)]).status
            }
            for client in ["192.0.2.1", "192.0.2.2", "2001:db8::1"] {
                #expect(try (0..<3).map { _ in try status("/public", nil, client) } == [200, 200, 429])
                #expect(try [alice, bob, alice].map { try status("/orders", $0.access, client) } == [200, 200, 429])
            }
            #expect(try status("/public", nil, "::ffff:192.0.2.1") == 429, "another spelling is no other address")
        }
    }

    @Test("a window ends, and the next one begins with the next request")
    func window() async throws {
        try await limited("requests: 1, per: 1s, by: user") { gateway in
            let login = try gateway.login()
            for _ in 0..<2 {
                try await eventually("it is refused") { try gateway.get("/orders", token: login.access).status == 429 }
                try await eventually("it passes") { try gateway.get("/orders", token: login.access).status == 200 }
            }
        }
    }

    @Test("requests of a session that has ended use up nothing of its user's")
    func revoked() async throws {
        try await limited("requests: 2, per: 1h, by: user") { gateway in
            let ended = try gateway.login(device: "phone"), login = try gateway.login(device: "laptop")
            #expect(try gateway.call("POST", "/auth/logout", token: ended.access).status == 204)
            for _ in 0..<6 { #expect(try gateway.get("/orders", token: ended.access).code == "session_revoked") }
            #expect(try (0..<3).map { _ in try gateway.get("/orders", token: login.access).status } == [200, 200, 429])
        }
    }

    @Test("exactly as many pass when they come at once")
    func atOnce() async throws {
        try await limited("requests: 100, per: 1h, by: user") { gateway in
            let login = try gateway.login()
            let load = RequestLoad(port: gateway.port, connections: 8, token: login.access)
            do {
                try await load.more(100, 429, "rate_limited")
            } catch {
                try? await load.stop()
                throw error
            }
            try await load.stop()
            #expect(load.count(200) == 100)
            #expect(Set(load.counts.keys) == [.answer(status: 200, code: ""), .answer(status: 429, code: "rate_limited")], "\(load.counts)")
        }
    }
}
