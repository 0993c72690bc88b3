// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport
import Testing

@Suite("Logout by an identity provider, seen by clients", .serialized)
struct BackchannelStoryTests {
    /// How the provider's sessions are decided.
    enum Sessions: String, CaseIterable, CustomTestStringConvertible {
        case registered, revocable
        var testDescription: String { rawValue }
    }

    /// Two gateways of a fleet that obey the provider's logout tokens, and know alice's sessions `laptop` and `phone` and bob's `desk`.
    private func withFleet(
        _ sessions: Sessions, store: String? = nil, _ body: (RunningGateway, RunningGateway, RedisServer) async throws -> Void
    ) async throws {
        let upstream = try FakeServer.echo(), socket = try FakeServer.webSocketEcho()
        defer {
            upstream.stop()
            socket.stop()
        }
        try await withRedisServer { redis in
            var setup = GatewaySetup(upstream: upstream.port, redis: redis)
            if let store { setup["store"] = GatewaySetup.store(redis, store) }
            setup["issuers"] = IdentityProvider.issuers(sessions: sessions.rawValue)
            setup["upstreams"] =
                "{legacy: {endpoints: [\"127.0.0.1:\(upstream.port)\"]}, socket: {endpoints: [\"127.0.0.1:\(socket.port)\"]}}"
            // One that stands where logout tokens are taken does not get them.
            setup["routes"] =
                "[{path: /auth/backchannel-logout, upstream: legacy, auth: none}, {path: /socket, upstream: socket}, {path: /, upstream: legacy}]"
            try await withGateway(setup) { one in
                try await withGateway(setup, sibling: one) { two in
                    for (user, session) in [("alice", "laptop"), ("alice", "phone"), ("bob", "desk")] {
                        try begin(session, of: user, sessions, one)
                    }
                    try await body(one, two, redis)
                }
            }
        }
    }

    /// A session of a registered issuer has to be told; one of a revocable issuer has begun with its first token.
    private func begin(_ session: String, of user: String = "alice", _ sessions: Sessions, _ gateway: RunningGateway) throws {
        guard sessions == .registered else { return }
        let body = #"{"expires_at":"2099-01-01T00:00:00Z"}"#
        #expect(try gateway.admin("PUT", "/v1/users/\(user)/sessions/\(session)", json: body).status == 201)
    }

    private func statuses(_ session: String, of user: String = "alice", issuedIn: Int = -10, _ gateways: RunningGateway...) throws -> [Int] {
        let token = try IdentityProvider.accessToken(session, of: user, issuedIn: issuedIn)
        return try gateways.map { try $0.get("/orders", token: token).status }
    }

    @Test("ends the session on every gateway and closes what is open of it, and nothing else", arguments: Sessions.allCases)
    func one(sessions: Sessions) async throws {
        try await withFleet(sessions) { one, two, _ in
            #expect(try statuses("laptop", one, two) == [200, 200])
            let laptop = try WebSocketPeer(one, token: IdentityProvider.accessToken("laptop"))
            let phone = try WebSocketPeer(one, token: IdentityProvider.accessToken("phone"))
            #expect(laptop.echoes("a") && phone.echoes("b"))
            let answer = try one.tell(IdentityProvider.logoutToken("laptop"))
            #expect(answer.status == 200 && answer.body.isEmpty && answer["Cache-Control"] == ["no-store"] && answer["Set-Cookie"].isEmpty)
            #expect(laptop.closeCode() == 1008)
            #expect(try statuses("laptop", one, two) == [401, 401])
            #expect(phone.echoes("c"))
            #expect(try statuses("phone", one, two) == [200, 200])
            #expect(try statuses("desk", of: "bob", one, two) == [200, 200])
            try await eventually("it is in the log") {
                one.process.output.contains(#""audit":"backchannel_logout","outcome":"ok","user":"alice""#)
            }
        }
    }

    @Test("is refused on any gateway when its token comes again, and does not end what began since", arguments: Sessions.allCases)
    func replay(sessions: Sessions) async throws {
        try await withFleet(sessions) { one, two, redis in
            let token = try IdentityProvider.logoutToken(nil)
            #expect(try one.tell(token).status == 200)
            for session in ["laptop", "phone"] { #expect(try statuses(session, one, two) == [401, 401]) }
            #expect(try statuses("desk", of: "bob", one, two) == [200, 200])

            try begin("tablet", sessions, two)
            // A token that is issued after the logout; of a second that has not come yet, as the clock's leeway allows.
            #expect(try statuses("tablet", issuedIn: 5, one, two) == [200, 200])
            for gateway in [two, one] {
                let answer = try gateway.tell(token)
                #expect(answer.status == 400 && answer.text == #"{"error":"invalid_request"}"# && answer["Cache-Control"] == ["no-store"])
            }
            #expect(try statuses("tablet", issuedIn: 5, one, two) == [200, 200])
            let keys = try redis.command("KEYS", "portcullis:jti:*")
            guard case .array(let used) = keys, used.count == 1, let key = used.first?.text else {
                Issue.record("\(keys)")
                return
            }
            guard case .integer(let left) = try redis.command("PTTL", key) else {
                Issue.record("no time to live")
                return
            }
            #expect((1...400_000).contains(left))
        }
    }

    @Test("that a silent Redis does not take is 503, and counts when the same token comes again", arguments: Sessions.allCases)
    func outage(sessions: Sessions) async throws {
        try await withFleet(sessions, store: "command_timeout: 1s") { one, two, redis in
            #expect(try statuses("laptop", one, two) == [200, 200])
            let token = try IdentityProvider.logoutToken("laptop")
            redis.pause()
            let refused = try one.tell(token)
            #expect(refused.status == 503 && refused.code == "store_unavailable" && refused["Retry-After"].count == 1)
            redis.resume()
            try await eventually("the session is as it was") { try statuses("laptop", one, two) == [200, 200] }
            var last = 503
            try await eventually("the logout is taken") {
                last = try two.tell(token).status
                return last != 503
            }
            #expect(last == 200)
            #expect(try statuses("laptop", one, two) == [401, 401])
            #expect(try statuses("phone", one, two) == [200, 200])
            // Its connection to Redis may be a new one that is still being made.
            try await eventually("it is told that it has been used") {
                last = try one.tell(token).status
                return last != 503
            }
            #expect(last == 400)
        }
    }
}
