// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOHTTP1
import Sessions
import Testing
import Tokens

@testable import Control

@Suite("Logout by an identity provider")
struct BackchannelLogoutTests {
    private let provider: TestProvider

    init() throws { provider = try TestProvider() }

    private static let path = "/auth/backchannel-logout"
    private static let alice = UserID(namespace: "reg", name: "alice"), revocable = UserID(namespace: "rev", name: "alice")

    /// Alice has two sessions of the provider `reg`, bob one.
    private func run(_ change: (inout ControlConfiguration) throws -> Void = { _ in }, _ body: (ControlWorld) async throws -> Void) async throws {
        try await ControlWorld.run({ configuration in
            configuration.trustOwnTokens(and: provider.issuers)
            try change(&configuration)
        }) { world in
            for (user, session) in [("alice", "s1"), ("alice", "s2"), ("bob", "s3")] { try await Self.register(session, of: user, in: world) }
            try await body(world)
        }
    }

    private static func register(_ session: String, of user: String, in world: ControlWorld) async throws {
        let target = "/v1/users/\(user)/sessions/\(session)?namespace=reg"
        #expect(try await world.admin(.PUT, target, json: #"{"expires_at":"2099-01-01T00:00:00Z"}"#).status == 201)
    }

    private func isActive(_ session: String, of user: String = "alice", in world: ControlWorld) -> Bool {
        world.store.record(session, of: UserID(namespace: "reg", name: user))?.active == true
    }

    private static func tell(_ token: String, in world: ControlWorld, fields: [(String, String)] = []) async throws -> Reply {
        try await world.form(path, "logout_token=\(token)", fields: fields)
    }

    private static func expectRefusal(_ reply: Reply, location: SourceLocation = #_sourceLocation) {
        #expect(reply.status == 400 && reply.text == #"{"error":"invalid_request"}"#, "\(reply.status) \(reply.text)", sourceLocation: location)
        #expect(reply.fields["Cache-Control"] == ["no-store"], sourceLocation: location)
    }

    @Test("by sub and sid ends that one session, closes what is open of it, and is audited and measured; it needs no origin and sets no cookie")
    func one() async throws {
        try await run { world in
            let token = try provider.token("reg", at: world.clock.now)
            let reply = try await Self.tell(token, in: world, fields: [("Origin", "https://idp.example"), ("Cookie", "__Host-portcullis=x")])
            #expect(reply.status == 200 && reply.body.isEmpty)
            #expect(reply.fields["Cache-Control"] == ["no-store"] && reply.fields["Set-Cookie"].isEmpty)
            #expect(world.store.record("s1", of: Self.alice)?.revokeReason == .backchannel)
            #expect(isActive("s2", in: world) && isActive("s3", of: "bob", in: world))
            #expect(world.store.endings.all == [.init(user: Self.alice, session: "s1", reason: .backchannel)])
            let line = try #require(world.audit.all.last)
            for part in [
                #""audit":"backchannel_logout""#, #""outcome":"ok""#, #""user":"reg/alice""#, #""session":"s1""#,
                #""issuer":"reg""#, #""address":"192.0.2.1""#,
            ] {
                #expect(line.contains(part), "\(line)")
            }
            #expect(world.audit.all.allSatisfy { !$0.contains(token) && !$0.contains("eyJ") })
            #expect(try await world.admin(.GET, "/metrics").text.contains("portcullis_logout_duration_seconds_count 1"))
        }
    }

    @Test("by sub alone ends all sessions of the user")
    func all() async throws {
        try await run { world in
            let token = try provider.token("reg", session: nil, at: world.clock.now)
            #expect(try await Self.tell(token, in: world).status == 200)
            for session in ["s1", "s2"] { #expect(world.store.record(session, of: Self.alice)?.revokeReason == .backchannel) }
            #expect(isActive("s3", of: "bob", in: world))
            #expect(world.store.endings.all == [.init(user: Self.alice, session: nil, reason: .backchannel)])
            #expect(world.audit.all.last?.contains(#""session":null"#) == true)
        }
    }

    @Test("of a revocable issuer is remembered as long as any token of the session may live, from the greater of now and the token's iat")
    func revocable() async throws {
        try await run { world in
            let now = world.clock.now, lifetime = try ControlWorld.configuration().rules.sessionLifetime
            #expect(try await Self.tell(provider.token("rev", at: now), in: world).status == 200)
            #expect(world.store.revokedIDs(of: Self.revocable)["s1"] ?? 0 >= now + lifetime)
            #expect(world.store.revokedBefore(of: Self.revocable) == nil)
            #expect(try await Self.tell(provider.token("rev", session: nil, issuedIn: 20, at: now), in: world).status == 200)
            let before = try #require(world.store.revokedBefore(of: Self.revocable))
            #expect(before.moment == now / 1000 + 20 && before.until >= now + lifetime)
            #expect(isActive("s1", in: world), "another namespace")
            #expect(try await Self.tell(provider.token("rev", session: nil, issuedIn: -100, at: now), in: world).status == 200)
            #expect(world.store.revokedBefore(of: Self.revocable)?.moment ?? 0 >= now / 1000)
        }
    }

    @Test("of nothing that is left is fine, and of another user's session ends nothing")
    func nothing() async throws {
        try await run { world in
            for (user, session) in [("alice", "unheard-of"), ("nobody", nil), ("bob", "s1")] {
                let token = try provider.token("reg", user: user, session: session, at: world.clock.now)
                #expect(try await Self.tell(token, in: world).status == 200)
            }
            #expect(isActive("s1", in: world) && isActive("s3", of: "bob", in: world))
        }
    }

    @Test("counts once: a replay is refused and does not end what began since, also under another user's name; another issuer has its own ids")
    func replay() async throws {
        try await run { world in
            let now = world.clock.now, token = try provider.token("reg", session: nil, id: "one", at: now)
            #expect(try await Self.tell(token, in: world).status == 200)
            try await Self.register("s9", of: "alice", in: world)
            let endings = world.store.endings.all.count
            Self.expectRefusal(try await Self.tell(token, in: world))
            Self.expectRefusal(try await Self.tell(provider.token("reg", user: "bob", session: nil, id: "one", at: now), in: world))
            #expect(isActive("s9", in: world) && isActive("s3", of: "bob", in: world) && world.store.endings.all.count == endings)
            #expect(world.audit.all.last?.contains(#""reason":"token_replayed""#) == true)
            #expect(try await Self.tell(provider.token("rev", session: nil, id: "one", at: now), in: world).status == 200)

            let until = try #require(world.store.usedTokens["https://reg.example one"])
            #expect((now + 120_000...now + 600_000).contains(until), "until nobody would accept it, and not for ever")
            world.clock.advance(milliseconds: until - now)
            Self.expectRefusal(try await Self.tell(token, in: world))
            #expect(world.audit.all.last?.contains(#""reason":"token_expired""#) == true, "by then it has ended")
        }
    }

    @Test("that the store does not take is 503, wherever it fails, and the same token works afterwards", arguments: 0..<3)
    func storeDown(calls: Int) async throws {
        try await run { world in
            let token = try provider.token("reg", at: world.clock.now)
            world.store.stop(afterCalls: calls)
            let reply = try await Self.tell(token, in: world)
            #expect(reply.status == 503 && reply.code == "store_unavailable" && reply.fields["Retry-After"] == ["1"])
            let line = try #require(world.audit.all.last)
            #expect(line.contains(#""audit":"backchannel_logout","outcome":"failed","user":""#) && line.contains(#""session":"s1""#))
            #expect(line.contains(#""issuer":"reg","reason":"store_unavailable""#))
            world.store.start()
            #expect(try await Self.tell(token, in: world).status == 200)
            #expect(!isActive("s1", in: world))
            Self.expectRefusal(try await Self.tell(token, in: world))
        }
    }

    @Test("that comes many times at once is answered with 200 once, and has taken effect by then")
    func atOnce() async throws {
        try await run { world in
            let token = try provider.token("reg", at: world.clock.now)
            let statuses = try await withThrowingTaskGroup(of: UInt.self) { tasks in
                for _ in 0..<16 { tasks.addTask { try await Self.tell(token, in: world).status } }
                return try await tasks.reduce(into: [UInt: Int]()) { $0[$1, default: 0] += 1 }
            }
            #expect(statuses == [200: 1, 400: 15])
            #expect(!isActive("s1", in: world) && isActive("s2", in: world))
        }
    }

    @Test("with a token that is none is refused, ends nothing, and the audit log says why")
    func refused() async throws {
        try await run { world in
            let now = world.clock.now, good = try provider.token("reg", at: now)
            let bad: [(String, String, String?)] = [
                ("garbage", "token_malformed", nil), (good + "=", "token_malformed", nil),
                (String(good.dropLast(8)) + "AAAAAAAA", "token_signature", "reg"),
                (try provider.token("reg", at: now - 3_600_000), "token_expired", "reg"),
                (try provider.token("reg", user: nil, at: now), "token_claims", "reg"), (try provider.token("off", at: now), "token_issuer", "off"),
                (try provider.token("unheard-of", at: now), "token_issuer", nil), (try provider.accessToken("reg", at: now), "token_claims", "reg"),
                (try await world.login().access, "token_issuer", "portcullis"),
            ]
            for (token, reason, issuer) in bad {
                Self.expectRefusal(try await Self.tell(token, in: world))
                let line = try #require(world.audit.all.last)
                #expect(
                    line.contains(#""audit":"backchannel_logout","outcome":"failed","user":null"#) && line.contains(#""reason":"\#(reason)""#),
                    "\(line)")
                #expect(issuer.map { line.contains(#""issuer":"\#($0)""#) } ?? !line.contains("issuer\":"), "\(line)")
            }
            #expect(world.store.endings.all.isEmpty && isActive("s1", in: world))
            #expect(try await Self.tell(good, in: world).status == 200)
        }
    }

    @Test("in another form than one logout_token in a form is refused; what is beside it does not matter")
    func forms() async throws {
        try await run { world in
            let token = try provider.token("reg", at: world.clock.now)
            for body in [
                "", "logout_token=", "logout_token", "other=x", "logout_token=\(token)&logout_token=\(token)", "logout_token=%zz",
                "Logout_token=\(token)",
            ] {
                Self.expectRefusal(try await world.form(Self.path, body))
            }
            for type in ["application/json", "text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencodedx"] {
                Self.expectRefusal(try await world.form(Self.path, "logout_token=\(token)", type: type))
            }
            Self.expectRefusal(try await world.call(.POST, Self.path, json: #"{"logout_token":"\#(token)"}"#))
            Self.expectRefusal(try await world.form("\(Self.path)?logout_token=\(token)", "x=y"))
            for method in [HTTPMethod.GET, .HEAD, .PUT, .DELETE, .OPTIONS] {
                let reply = try await world.call(method, "\(Self.path)?logout_token=\(token)")
                #expect(reply.status == 405 && reply.fields["Allow"] == ["POST"])
            }
            #expect(try await world.form(Self.path, String(repeating: "x", count: 70_000)).status == 413)
            #expect(isActive("s1", in: world))
            let type = "Application/X-WWW-Form-Urlencoded; charset=UTF-8"
            #expect(try await world.form(Self.path, "state=x&logout_token=\(token)&", type: type).status == 200)
        }
    }

    @Test("is 404 where no issuer has it switched on, or below another path")
    func absent() async throws {
        try await run({ $0.apiPath = "/sso" }) { world in
            let token = try provider.token("reg", at: world.clock.now)
            #expect(try await Self.tell(token, in: world).status == 404)
            #expect(try await world.form("/sso/backchannel-logout", "logout_token=\(token)").status == 200)
            #expect(try await world.form("/sso/backchannel-logout/", "x=y").status == 404)
        }
        try await ControlWorld.run { world in
            let reply = try await Self.tell(provider.token("reg", at: world.clock.now), in: world)
            #expect(reply.status == 404 && reply.code == "route_not_found")
            // As of a login that is switched off: the description lists the call, whoever has it.
            #expect(try await world.call(.GET, Self.path).status == 405)
        }
    }

    @Test("of an issuer whose keys have never been had is 503, and one with an unknown key has them asked for")
    func keys() async throws {
        let other = try SigningKey.generate(.es256).key
        for (keys, status, told) in [(nil, 503, []), (KeySet(signingKeys: [other]), 400, ["reg"])] as [(KeySet?, UInt, [String])] {
            try await run({ configuration in
                let issuers = configuration.verifier.issuers.map { issuer in
                    var issuer = issuer
                    if issuer.name == "reg" { issuer.keys = keys }
                    return issuer
                }
                configuration.verifier = TokenVerifier(issuers: issuers)
            }) { world in
                let reply = try await Self.tell(provider.token("reg", at: world.clock.now), in: world)
                #expect(reply.status == status && world.unknownKeys.all == told)
                let reason = status == 503 ? "keys_unavailable" : "token_key_unknown"
                #expect(world.audit.all.last?.contains(#""outcome":"failed""#) == true && world.audit.all.last?.contains(reason) == true)
                if status == 503 { #expect(reply.code == "keys_unavailable" && reply.fields["Retry-After"] == ["1"]) }
                #expect(isActive("s1", in: world))
            }
        }
    }
}
