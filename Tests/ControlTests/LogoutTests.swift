// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import Testing
import Tokens

@testable import Control

@Suite("Logout")
struct LogoutTests {
    private static let accessCookie = "__Host-portcullis", refreshCookie = "__Secure-portcullis-refresh"
    private static let sameOrigin = [("Sec-Fetch-Site", "same-origin")]

    @Test("by access token ends this session only, closes what is open of it, and can be repeated")
    func oneSession() async throws {
        try await ControlWorld.run { world in
            let one = try await world.login(), other = try await world.login()
            for _ in 0..<3 {
                let reply = try await world.call(.POST, "/auth/logout", token: one.access)
                #expect(reply.status == 204 && reply.body.isEmpty && reply.fields["Cache-Control"] == ["no-store"])
                for name in [Self.accessCookie, Self.refreshCookie] {
                    let cookie = try #require(reply.cookies[name])
                    #expect(cookie.value.isEmpty && cookie.attributes.contains("max-age=0") && cookie.attributes.contains("secure"))
                }
            }
            let alice = UserID(name: "alice")
            #expect(world.store.record(one.session, of: alice)?.revokeReason == .logout)
            #expect(world.store.record(other.session, of: alice)?.active == true)
            #expect(world.store.endings.all.first == .init(user: alice, session: one.session, reason: .logout))
            #expect(try await world.admin(.GET, "/metrics").text.contains("portcullis_logout_duration_seconds_count 3"))
        }
    }

    @Test("by any refresh token that was given out for the session ends it; by a made-up one nothing happens")
    func byRefreshToken() async throws {
        try await ControlWorld.run { world in
            let login = try await world.login()
            let body = { (token: String) in #"{"refresh_token":"\#(token)"}"# }
            for made in [
                login.refresh.dropLast() + "", login.refresh + "A", "pcr_", "", login.refresh.dropLast(8) + "AAAAAAAA",
                "PCR_" + login.refresh.dropFirst(4),
            ] {
                let reply = try await world.call(.POST, "/auth/logout", json: body(String(made)))
                #expect(reply.status == 401 && reply.code == "token_malformed")
            }
            #expect(world.store.record(login.session, of: UserID(name: "alice"))?.active == true)
            _ = try await world.refresh(login.refresh)
            #expect(try await world.call(.POST, "/auth/logout", json: body(login.refresh)).status == 204)
            #expect(world.store.record(login.session, of: UserID(name: "alice"))?.active == false)
        }
    }

    @Test("without a good token is refused")
    func refused() async throws {
        try await ControlWorld.run { world in
            let login = try await world.login()
            for path in ["/auth/logout", "/auth/logout-all"] {
                #expect(try await world.call(.POST, path).code == "token_missing")
                #expect(try await world.call(.POST, path, token: "garbage").code == "token_malformed")
                #expect(try await world.call(.POST, path, token: login.access.dropLast(6) + "AAAAAA").code == "token_signature")
                #expect(try await world.call(.POST, path, fields: [("Authorization", "Basic eA==")]).code == "token_missing")
                #expect(try await world.call(.GET, path, token: login.access).status == 405)
                let twice = [("Authorization", "Bearer \(login.access)"), ("Authorization", "Bearer \(login.access)")]
                #expect(try await world.call(.POST, path, fields: twice).code == "token_ambiguous")
            }
            #expect(world.store.endings.all.isEmpty)
        }
    }

    @Test("with explicit tokens of two sessions is ambiguous, of one it is not")
    func twoTokens() async throws {
        try await ControlWorld.run { world in
            let one = try await world.login(), two = try await world.login()
            let ambiguous = try await world.call(.POST, "/auth/logout", token: one.access, json: #"{"refresh_token":"\#(two.refresh)"}"#)
            #expect(ambiguous.status == 400 && ambiguous.code == "token_ambiguous" && world.store.endings.all.isEmpty)
            #expect(try await world.call(.POST, "/auth/logout", token: one.access, json: #"{"refresh_token":"\#(one.refresh)"}"#).status == 204)
        }
    }

    @Test("by cookie: a stale access cookie does not hinder a good refresh cookie")
    func staleCookie() async throws {
        try await ControlWorld.run({ $0.accessTokenLifetime = 1000 }) { world in
            let login = try await world.login()
            world.clock.advance(milliseconds: 5000)
            let stale = "\(Self.accessCookie)=\(login.access)"
            #expect(try await world.call(.POST, "/auth/logout", cookie: stale, fields: Self.sameOrigin).code == "token_expired")
            let both = "\(stale); \(Self.refreshCookie)=\(login.refresh)"
            #expect(try await world.call(.POST, "/auth/logout", cookie: both, fields: Self.sameOrigin).status == 204)
            #expect(world.store.endings.all.map(\.session) == [login.session])
        }
    }

    @Test(
        "by cookie needs the same origin, whatever the call",
        arguments: [
            [], [("Origin", "https://evil.example")], [("Origin", "null")], [("Sec-Fetch-Site", "cross-site")], [("Sec-Fetch-Site", "same-site")],
            [("Origin", "https://app.example.evil")], [("Origin", "http://app.example")], [("Origin", "https://app.example:8443")],
            [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "same-origin")], [("Origin", "https://app.example"), ("Sec-Fetch-Site", "none")],
            [("Referer", "https://app.example/")],
        ] as [[(String, String)]])
    func foreign(fields: [(String, String)]) async throws {
        try await ControlWorld.run { world in
            let login = try await world.login()
            let access = "\(Self.accessCookie)=\(login.access)"
            let calls: [(Reply, String)] = [
                (try await world.call(.POST, "/auth/logout", cookie: access, fields: fields), "logout"),
                (try await world.call(.POST, "/auth/logout-all", cookie: access, fields: fields), "logout-all"),
                (try await world.call(.DELETE, "/auth/sessions/\(login.session)", cookie: access, fields: fields), "delete"),
                (try await world.call(.POST, "/auth/refresh", cookie: "\(Self.refreshCookie)=\(login.refresh)", fields: fields), "refresh"),
            ]
            for (reply, name) in calls { #expect(reply.status == 403 && reply.code == "csrf", "\(name)") }
            #expect(world.store.record(login.session, of: UserID(name: "alice"))?.active == true && world.store.endings.all.isEmpty)
            #expect(try await world.call(.GET, "/auth/session", cookie: access, fields: fields).status == 200)
            #expect(try await world.call(.POST, "/auth/logout", token: login.access, fields: fields).status == 204)
        }
    }

    @Test(
        "with a token of its own passes from a page of another origin, whose visitor's cookies stay",
        arguments: [[("Origin", "https://evil.example")], [("Origin", "null")], [("Sec-Fetch-Site", "cross-site")], []] as [[(String, String)]])
    func foreignToken(fields: [(String, String)]) async throws {
        try await ControlWorld.run { world in
            let count = fields.isEmpty ? 2 : 0
            let login = try await world.login(), other = try await world.login(), last = try await world.login()
            let refreshed = try await world.call(.POST, "/auth/refresh", json: #"{"refresh_token":"\#(login.refresh)"}"#, fields: fields)
            #expect(refreshed.status == 200 && refreshed.fields["Set-Cookie"].count == count)
            let next = try #require(refreshed.string("refresh_token"))
            let calls = [
                try await world.call(.POST, "/auth/logout", json: #"{"refresh_token":"\#(next)"}"#, fields: fields),
                try await world.call(.DELETE, "/auth/sessions/\(other.session)", token: other.access, fields: fields),
                try await world.call(.POST, "/auth/logout-all", token: last.access, fields: fields),
            ]
            #expect(calls.map(\.status) == [204, 204, 200] && calls.allSatisfy { $0.fields["Set-Cookie"].count == count })
        }
    }

    @Test(
        "by cookie from the same origin passes",
        arguments: [("Sec-Fetch-Site", "same-origin"), ("Origin", "https://app.example"), ("Origin", "https://APP.example:443")])
    func own(field: (String, String)) async throws {
        try await ControlWorld.run { world in
            let login = try await world.login()
            #expect(try await world.call(.POST, "/auth/logout", cookie: "\(Self.accessCookie)=\(login.access)", fields: [field]).status == 204)
        }
    }

    @Test("does not look at cookies where they are off")
    func withoutCookies() async throws {
        try await ControlWorld.run({ $0.cookies.enabled = false }) { world in
            let login = try await world.login()
            #expect(login.reply.fields["Set-Cookie"].isEmpty)
            let reply = try await world.call(.POST, "/auth/logout", cookie: "\(Self.accessCookie)=\(login.access)", fields: Self.sameOrigin)
            #expect(reply.code == "token_missing")
        }
    }

    @Test("of all ends every session of this user and counts the active ones")
    func all() async throws {
        try await ControlWorld.run { world in
            let mine = [try await world.login(), try await world.login(), try await world.login()]
            let bob = try await world.login("bob")
            _ = try await world.call(.POST, "/auth/logout", token: mine[0].access)
            let reply = try await world.call(.POST, "/auth/logout-all", token: mine[1].access)
            #expect(reply.status == 200 && reply.text == #"{"revoked":2}"# && reply.cookies[Self.accessCookie]?.value == "")
            #expect(world.store.endings.all.last == .init(user: UserID(name: "alice"), session: nil, reason: .logoutAll))
            #expect(try await world.call(.GET, "/auth/session", token: mine[2].access).code == "session_revoked")
            #expect(try await world.call(.GET, "/auth/session", token: bob.access).status == 200)
            #expect(try await world.call(.POST, "/auth/logout-all", token: mine[2].access).code == "session_revoked", "an ended session has no say")
        }
    }

    @Test("that the store does not take is 503, and nothing is said to have been closed")
    func storeDown() async throws {
        try await ControlWorld.run { world in
            let login = try await world.login()
            world.store.stop()
            for reply in [
                try await world.call(.POST, "/auth/logout", token: login.access),
                try await world.call(.POST, "/auth/logout-all", token: login.access),
                try await world.refresh(login.refresh), try await world.call(.GET, "/auth/sessions", token: login.access),
                try await world.call(.DELETE, "/auth/sessions/x", token: login.access),
            ] {
                #expect(
                    reply.status == 503 && reply.code == "store_unavailable" && reply.fields["Set-Cookie"].isEmpty
                        && reply.fields["Retry-After"] == ["1"])
            }
            world.store.start()
            #expect(try await world.call(.POST, "/auth/logout", token: login.access).status == 204)
        }
    }

    @Test("by another issuer's token ends it as that issuer's sessions are ended")
    func otherIssuers() async throws {
        let key = try SigningKey.generate(.es256).key
        func token(_ issuer: String, _ session: String, _ issuedAt: Int64, _ end: Int64) throws -> String {
            String(
                decoding: try key.sign(
                    claims: JSONWriter.object { json in
                        json.member("iss", issuer)
                        json.member("sub", "alice")
                        json.member("sid", session)
                        json.member("iat", issuedAt)
                        json.member("exp", end)
                    }), as: UTF8.self)
        }
        try await ControlWorld.run({ configuration in
            configuration.trustOwnTokens(
                and: [("reg", IssuerSessions.registered), ("rev", .revocable), ("free", .unchecked)].map { name, sessions in
                    (
                        TrustedIssuer(name: name, issuer: name, anyAudience: true, algorithms: [.es256], keys: KeySet(signingKeys: [key])),
                        IssuerPolicy(name: name, namespace: name, sessions: sessions)
                    )
                })
        }) { world in
            let now = world.clock.now / 1000, far = now + 300 * 86_400
            let registered = UserID(namespace: "reg", name: "alice"), revocable = UserID(namespace: "rev", name: "alice")
            _ = try await world.admin(.PUT, "/v1/users/alice/sessions/theirs?namespace=reg", json: #"{"expires_at":"2099-01-01T00:00:00Z"}"#)
            #expect(try await world.call(.POST, "/auth/logout", token: token("reg", "theirs", now, now + 60)).status == 204)
            #expect(world.store.record("theirs", of: registered)?.active == false)

            #expect(try await world.call(.POST, "/auth/logout", token: token("rev", "s1", now, far)).status == 204)
            #expect(world.store.revokedIDs(of: revocable)["s1"] ?? 0 >= far * 1000, "as long as the token is accepted")
            #expect(world.store.endings.all.last == .init(user: revocable, session: "s1", reason: .revoked))

            // What a user makes up is not remembered, as it would have to be for long; his own id is, and what he is known to have.
            for session in ["made-up", "s9", "AAAAAAAAAAAAAAAAAAAAAA"] {
                let reply = try await world.call(.DELETE, "/auth/sessions/\(session)", token: token("rev", "s2", now, far))
                #expect(reply.status == 404 && reply.code == "session_not_found")
            }
            #expect(world.store.revokedIDs(of: revocable).keys.sorted() == ["s1"])
            _ = try await world.admin(.PUT, "/v1/users/alice/sessions/known?namespace=rev", json: #"{"expires_at":"2099-01-01T00:00:00Z"}"#)
            for session in ["known", "known", "s3"] {
                #expect(try await world.call(.DELETE, "/auth/sessions/\(session)", token: token("rev", "s3", now, far)).status == 204)
            }
            #expect(world.store.revokedIDs(of: revocable).keys.sorted() == ["known", "s1", "s3"])

            #expect(try await world.call(.POST, "/auth/logout-all", token: token("rev", "s2", now + 20, now + 60)).status == 200)
            let before = try #require(world.store.revokedBefore(of: revocable))
            #expect(before.moment == now + 20, "the greatest of now and the token's iat")

            let free = try await world.call(.POST, "/auth/logout", token: token("free", "s3", now, now + 60))
            #expect(free.status == 400 && free.code == "bad_request")
        }
    }

    @Test("tells who looks after key sets of a key that is unknown")
    func unknownKey() async throws {
        let key = try SigningKey.generate(.es256).key, other = try SigningKey.generate(.es256).key
        try await ControlWorld.run({ configuration in
            let trusted = TrustedIssuer(
                name: "idp", issuer: "https://idp", anyAudience: true, algorithms: [.es256], keys: KeySet(signingKeys: [other]))
            configuration.trustOwnTokens(and: [(trusted, IssuerPolicy(name: "idp", namespace: "idp", sessions: .registered))])
        }) { world in
            let claims = JSONWriter.object { json in
                json.member("iss", "https://idp")
                json.member("sub", "alice")
                json.member("sid", "s")
                json.member("exp", world.clock.now / 1000 + 60)
            }
            let token = String(decoding: try key.sign(claims: claims), as: UTF8.self)
            #expect(try await world.call(.POST, "/auth/logout", token: token).code == "token_key_unknown")
            #expect(world.unknownKeys.all == ["idp"])
        }
    }
}
