// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOHTTP1
import Sessions
import Testing
import Tokens

@testable import Control

@Suite("Admin API")
struct AdminTests {
    private static let calls: [(HTTPMethod, String)] = [
        (.POST, "/v1/users/alice/sessions"), (.PUT, "/v1/users/alice/sessions/s1"), (.GET, "/v1/users/alice/sessions"),
        (.DELETE, "/v1/users/alice/sessions"),
        (.DELETE, "/v1/users/alice/sessions/s1"), (.POST, "/v1/introspect"), (.POST, "/v1/revoke"), (.GET, "/v1/edges"),
    ]

    @Test("needs the admin token in every call")
    func token() async throws {
        try await ControlWorld.run { world in
            let login = try await world.login()
            for (method, path) in Self.calls {
                for token in [nil, "wrong", login.access, String(ControlWorld.adminToken.dropLast()), ControlWorld.adminToken + "s", ""] {
                    let reply = try await world.admin(method, path, token: token)
                    #expect(reply.status == 401 && !reply.fields["WWW-Authenticate"].isEmpty)
                }
            }
            #expect(
                try await world.call(.GET, "/v1/users/alice/sessions", token: ControlWorld.adminToken).status == 404,
                "not on the session API's socket")
        }
    }

    @Test("is 404 without a configured token, but for health and metrics", arguments: [nil, []] as [[UInt8]?])
    func withoutToken(configured: [UInt8]?) async throws {
        try await ControlWorld.run({ $0.adminToken = configured }) { world in
            for (method, path) in Self.calls {
                for token in [nil, "", "undefined"] {
                    let reply = try await world.admin(method, path, token: token)
                    #expect(reply.status == 404)
                }
            }
            #expect(try await world.admin(.GET, "/healthz", token: nil).status == 200)
            #expect(try await world.admin(.GET, "/metrics", token: nil).text.contains("portcullis_store_up 1"))
        }
    }

    @Test("makes a session for a user who was authenticated elsewhere, with claims in each of its tokens")
    func create() async throws {
        try await ControlWorld.run { world in
            let details =
                #"{"device":"kiosk","ip":"203.0.113.9","user_agent":"Kiosk/2","claims":{"role":"clerk","level":3,"more":[1.50,null]},"unknown":1}"#
            let reply = try await world.admin(.POST, "/v1/users/dora/sessions", json: details)
            #expect(reply.status == 201 && reply.fields["Set-Cookie"].isEmpty)
            let made = try Login(reply)
            let record = try #require(world.store.record(made.session, of: UserID(name: "dora")))
            #expect((record.device, record.ip, record.userAgent) == ("kiosk", "203.0.113.9", "Kiosk/2"))
            let renewed = try Login(await world.refresh(made.refresh))
            for token in [made.access, renewed.access] {
                let parts = token.split(separator: ".")
                let claims = try JSONObject(parsing: #require(Base64URL.decode(String(parts[1]))))
                #expect(claims["role"]?.string == "clerk" && claims["level"]?.number?.integer == 3 && claims["more"]?.array?.count == 2)
            }
        }
    }

    @Test("does not let claims replace the gateway's own, or outgrow a token", arguments: ["sub", "sid", "iss", "aud", "exp", "iat", "nbf", "jti"])
    func reservedClaims(name: String) async throws {
        try await ControlWorld.run { world in
            for body in [
                #"{"claims":{"\#(name)":"root"}}"#, #"{"claims":[1]}"#, #"{"claims":{"x":"\#(String(repeating: "a", count: 9000))"}}"#,
                #"{"device":1}"#,
            ] {
                let reply = try await world.admin(.POST, "/v1/users/dora/sessions", json: body)
                #expect(reply.status == 400 && reply.code == "bad_request")
            }
            #expect(try await world.admin(.GET, "/v1/users/dora/sessions").text == #"{"sessions":[]}"#)
        }
    }

    @Test("registers, moves, lists and ends a session of another issuer, and does not undo a logout")
    func register() async throws {
        try await ControlWorld.run { world in
            let body = #"{"expires_at":"2099-01-01T00:00:00.000Z"}"#
            for _ in 0..<2 { #expect(try await world.admin(.PUT, "/v1/users/alice/sessions/theirs", json: body).status == 201) }
            #expect(world.store.record("theirs", of: UserID(name: "alice"))?.expiresAt == 4_070_908_800_000)
            #expect(try await world.admin(.DELETE, "/v1/users/alice/sessions/theirs").status == 204)
            #expect(try await world.admin(.GET, "/v1/users/alice/sessions").text.contains(#""revoke_reason":"admin""#))
            let again = try await world.admin(.PUT, "/v1/users/alice/sessions/theirs", json: body)
            #expect(again.status == 409 && again.code == "session_revoked")
            for wrong in ["{}", "", #"{"expires_at":"soon"}"#, #"{"expires_at":7}"#, #"{"expires_at":"2001-01-01T00:00:00.000Z"}"#] {
                #expect(try await world.admin(.PUT, "/v1/users/alice/sessions/odd", json: wrong).status == 400)
            }
            let unknown = try await world.admin(.DELETE, "/v1/users/alice/sessions/nothing")
            #expect(unknown.status == 404 && unknown.code == "session_not_found")
        }
    }

    @Test(
        "takes user names of any kind, split before they are decoded",
        arguments: [
            ("j%C3%B6rg", "jörg"), ("a%20b", "a b"), ("a%2Fb", "a/b"), ("a%252Fb", "a%2Fb"), ("a:b", "a:b"), ("%7Ba%7D", "{a}"), ("...", "..."),
            ("a%3Fb%23c", "a?b#c"),
            ("a+b", "a+b"),
        ])
    func names(path: String, name: String) async throws {
        try await ControlWorld.run { world in
            let made = try await world.admin(.POST, "/v1/users/\(path)/sessions", json: "{}")
            #expect(made.status == 201 && made.string("user") == name)
            #expect(world.store.record(try Login(made).session, of: UserID(name: name)) != nil)
        }
    }

    @Test(
        "refuses names that are none", arguments: ["%00", "a%0Ab", String(repeating: "x", count: 257), "", "%ff", ".", "..", "%2e", "%2E%2e", "%20a"])
    func badNames(path: String) async throws {
        try await ControlWorld.run { world in
            let reply = try await world.admin(.POST, "/v1/users/\(path)/sessions", json: "{}")
            #expect(reply.status == 400 || reply.status == 404)
        }
    }

    @Test("keeps users of another namespace apart; an unknown namespace is a mistake, and own tokens are for own users")
    func namespaces() async throws {
        try await ControlWorld.run({ configuration in
            let issuer = TrustedIssuer(name: "idp", issuer: "https://idp", algorithms: [.es256], keys: nil)
            configuration.trustOwnTokens(and: [(issuer, IssuerPolicy(name: "idp", namespace: "partner", sessions: .revocable))])
        }) { world in
            let body = #"{"expires_at":"2099-01-01T00:00:00Z"}"#
            let made = try await world.admin(.PUT, "/v1/users/alice/sessions/s?namespace=partner", json: body)
            #expect(made.status == 201)
            #expect(try await world.admin(.GET, "/v1/users/alice/sessions").text == #"{"sessions":[]}"#)
            #expect(try await world.admin(.POST, "/v1/users/alice/sessions?namespace=partner", json: "{}").status == 400)
            #expect(try await world.admin(.GET, "/v1/users/alice/sessions?namespace=other").status == 400)
            #expect(try await world.admin(.GET, "/v1/users/alice/sessions?namespace=partner&namespace=").status == 400)
            let user = UserID(namespace: "partner", name: "alice")
            #expect(
                try await world.admin(.DELETE, "/v1/users/alice/sessions/unheard-of?namespace=partner").status == 204, "revocable: it may be there")
            #expect(world.store.revokedIDs(of: user).keys.contains("unheard-of"))
            #expect(try await world.admin(.DELETE, "/v1/users/alice/sessions?namespace=partner").text == #"{"revoked":1}"#)
            #expect(world.store.revokedBefore(of: user) != nil && world.store.revokedBefore(of: UserID(name: "alice")) == nil)
        }
    }

    @Test("ends all sessions of a user, closes what is open, and leaves an audit line")
    func endAll() async throws {
        try await ControlWorld.run { world in
            _ = try await world.login()
            _ = try await world.login()
            #expect(try await world.admin(.DELETE, "/v1/users/alice/sessions").text == #"{"revoked":2}"#)
            #expect(try await world.admin(.DELETE, "/v1/users/nobody/sessions").text == #"{"revoked":0}"#)
            #expect(world.store.endings.all.first == .init(user: UserID(name: "alice"), session: nil, reason: .admin))
            #expect(world.audit.all.contains { $0.contains("admin_revoke_all") && $0.contains("alice") && $0.contains("127.0.0.1") })
        }
    }

    @Test("introspects access and refresh tokens without changing anything, and says nothing of inactive ones")
    func introspection() async throws {
        try await ControlWorld.run { world in
            let login = try await world.login()
            for _ in 0..<2 {
                let access = try await world.admin(.POST, "/v1/introspect", form: "token=\(login.access)")
                #expect(
                    access.status == 200 && access.json?["active"]?.boolean == true && access.string("sub") == "alice"
                        && access.string("iss") == "portcullis")
                #expect(access.string("sid") == login.session && access.json?["exp"]?.number?.integer ?? 0 > 0)
                let refresh = try await world.admin(.POST, "/v1/introspect", form: "token_type_hint=refresh_token&token=\(login.refresh)")
                #expect(refresh.json?["active"]?.boolean == true && refresh.string("sub") == "alice")
            }
            let renewed = try Login(await world.refresh(login.refresh))
            _ = try await world.call(.POST, "/auth/logout", token: login.access)
            for token in [login.access, login.refresh, renewed.refresh, "garbage", login.access.dropLast(4) + "AAAA"] {
                #expect(try await world.admin(.POST, "/v1/introspect", form: "token=\(token)").text == #"{"active":false}"#)
            }
            world.store.stop()
            #expect(try await world.admin(.POST, "/v1/introspect", form: "token=\(login.access)").status == 503)
        }
    }

    @Test("revokes by access or refresh token; what is unknown is fine, and a form without token is a mistake")
    func revocation() async throws {
        try await ControlWorld.run { world in
            for byRefresh in [false, true] {
                let login = try await world.login()
                #expect(try await world.admin(.POST, "/v1/revoke", form: "token=\(byRefresh ? login.refresh : login.access)").status == 200)
                #expect(world.store.record(login.session, of: UserID(name: "alice"))?.revokeReason == .revoked)
            }
            #expect(try await world.admin(.POST, "/v1/revoke", form: "token=garbage").status == 200)
            for path in ["/v1/revoke", "/v1/introspect"] {
                for form in ["other=x", "", "token=a&token=b", "token=%zz"] {
                    let reply = try await world.admin(.POST, path, form: form)
                    #expect(reply.status == 400 && reply.text == #"{"error":"invalid_request"}"#)
                }
                #expect(try await world.admin(.POST, path, json: #"{"token":"x"}"#).status == 400)
            }
        }
    }

    @Test("is ready once the store has been reached, and until it drains")
    func readiness() async throws {
        try await ControlWorld.run { world in
            world.store.neverReached()
            let unready = try await world.admin(.GET, "/readyz", token: nil)
            #expect(unready.status == 503)
            #expect(try await world.admin(.GET, "/healthz", token: nil).status == 200)
            world.store.start()
            #expect(try await world.admin(.GET, "/readyz", token: nil).status == 200)
            world.store.stop()
            #expect(try await world.admin(.GET, "/readyz", token: nil).status == 200, "a later outage does not change it")
            #expect(try await world.admin(.GET, "/metrics", token: nil).text.contains("portcullis_store_up 0"))
            world.gateway.drain()
            #expect(try await world.admin(.GET, "/readyz", token: nil).status == 503)
        }
    }

    @Test("shows metrics of both planes, and the reloads")
    func metrics() async throws {
        try await ControlWorld.run { world in
            world.plane.countReload(applied: true)
            world.plane.countReload(applied: false)
            world.plane.countReload(applied: false)
            let reply = try await world.admin(.GET, "/metrics", token: nil)
            #expect(reply.fields["Content-Type"].first?.hasPrefix("text/plain") == true)
            for line in ["portcullis_connections 0", #"reloads_total{outcome="applied"} 1"#, #"reloads_total{outcome="rejected"} 2"#] {
                #expect(reply.text.contains(line))
            }
        }
    }
}
