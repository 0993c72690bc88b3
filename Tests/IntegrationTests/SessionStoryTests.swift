// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport
import Testing

/// Where a gateway keeps its sessions.
enum StoreKind: String, CaseIterable, CustomTestStringConvertible {
    case memory, redis
    var testDescription: String { "sessions in \(rawValue)" }
}

/// Runs `body` with a gateway in front of an upstream that echoes, on a store of its own.
func withEchoGateway(_ store: StoreKind, _ change: (inout GatewaySetup) -> Void = { _ in }, _ body: (RunningGateway) async throws -> Void)
    async throws
{
    let upstream = try FakeServer.echo()
    defer { upstream.stop() }
    switch store {
    case .memory:
        var setup = GatewaySetup(upstream: upstream.port)
        change(&setup)
        try await withGateway(setup, body)
    case .redis:
        try await withRedisServer { redis in
            var setup = GatewaySetup(upstream: upstream.port, redis: redis)
            change(&setup)
            try await withGateway(setup, body)
        }
    }
}

@Suite("Sessions from login to logout", .serialized)
struct SessionStoryTests {
    @Test("a logout ends one device, a logout-all every device of the user, and nobody else notices", arguments: StoreKind.allCases)
    func story(store: StoreKind) async throws {
        try await withEchoGateway(store) { gateway in
            #expect(try gateway.get("/orders").code == "token_missing")
            let phone = try gateway.login(device: "phone"), laptop = try gateway.login(device: "laptop")
            let bob = try gateway.login("bob")
            for (login, user) in [(phone, "alice"), (laptop, "alice"), (bob, "bob")] {
                let seen = try gateway.get("/orders", token: login.access)
                #expect(seen.status == 200 && seen.text.contains("x-auth-user: \(user)\n"))
                #expect(seen.text.contains("x-auth-session: \(login.session)\n") && !seen.text.contains(login.access))
            }

            #expect(try gateway.call("POST", "/auth/logout", token: phone.access).status == 204)
            let refused = try gateway.get("/orders", token: phone.access)
            #expect(refused.status == 401 && refused.code == "session_revoked")
            #expect(try gateway.call("POST", "/auth/refresh", json: #"{"refresh_token":"\#(phone.refresh)"}"#).code == "session_revoked")
            #expect(try gateway.get("/orders", token: laptop.access).status == 200)
            #expect(try gateway.get("/orders", token: bob.access).status == 200)

            let tablet = try gateway.login(device: "tablet")
            let all = try gateway.call("POST", "/auth/logout-all", token: tablet.access)
            #expect(all.status == 200 && all.member("revoked", as: Int.self) == 2)
            for login in [phone, laptop, tablet] { #expect(try gateway.get("/orders", token: login.access).code == "session_revoked") }
            #expect(try gateway.get("/orders", token: bob.access).status == 200)
        }
    }

    @Test("a browser is let in by its cookie, which the upstream never sees, and its logout removes both cookies", arguments: StoreKind.allCases)
    func cookies(store: StoreKind) async throws {
        try await withEchoGateway(store) { gateway in
            let login = try gateway.login()
            let jar = login.answer.cookies
            #expect(jar.count == 2 && jar["__Host-portcullis"] == login.access)
            let cookie = ("Cookie", "theme=dark; " + jar.map { "\($0.key)=\($0.value)" }.sorted().joined(separator: "; "))
            let seen = try gateway.get("/orders", fields: [cookie])
            #expect(seen.status == 200 && seen.text.contains("cookie: theme=dark\n"))
            #expect(try gateway.call("POST", "/auth/logout", fields: [cookie]).code == "csrf")
            let out = try gateway.call("POST", "/auth/logout", fields: [cookie, ("Sec-Fetch-Site", "same-origin")])
            #expect(out.status == 204 && out.cookies == ["__Host-portcullis": "", "__Secure-portcullis-refresh": ""])
            #expect(try gateway.get("/orders", fields: [cookie]).code == "session_revoked")
        }
    }

    @Test("what another program removes from Redis, and what one gateway ends, is refused by every gateway at the next request")
    func fleet() async throws {
        let upstream = try FakeServer.echo()
        defer { upstream.stop() }
        try await withRedisServer { redis in
            let setup = GatewaySetup(upstream: upstream.port, redis: redis)
            try await withGateway(setup) { one in
                try await withGateway(setup, sibling: one) { two in
                    let phone = try one.login(device: "phone"), laptop = try two.login(device: "laptop"), tablet = try one.login(device: "tablet")
                    let bob = try two.login("bob")
                    let statuses = { (token: String) in try [one, two].map { try $0.get("/orders", token: token).status } }
                    for login in [phone, laptop, tablet, bob] { #expect(try statuses(login.access) == [200, 200]) }

                    #expect(try redis.command("SREM", "portcullis:sessions:{alice}", phone.session) == .integer(1))
                    #expect(try statuses(phone.access) == [401, 401])
                    #expect(try statuses(laptop.access) == [200, 200])

                    #expect(try one.call("POST", "/auth/logout", token: laptop.access).status == 204)
                    #expect(try statuses(laptop.access) == [401, 401])
                    #expect(try statuses(tablet.access) == [200, 200])

                    #expect(try redis.command("DEL", "portcullis:sessions:{alice}") == .integer(1))
                    #expect(try statuses(tablet.access) == [401, 401])
                    #expect(try statuses(bob.access) == [200, 200])
                }
            }
        }
    }
}
