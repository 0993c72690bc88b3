// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import Testing
import Tokens

@testable import Control

/// RFC 7662 and RFC 7009 beyond the tokens of one's own sessions, which `AdminTests` has.
@Suite("Introspection and revocation")
struct TokenInspectionTests {
    private static let inactive = #"{"active":false}"#

    @Test("take a form with one token: without a value it is absent, twice is a mistake, and no other type and no query will do")
    func forms() async throws {
        try await ControlWorld.run { world in
            let token = try await world.login().access
            for path in ["/v1/introspect", "/v1/revoke"] {
                for body in ["", "token=", "token", "token_type_hint=access_token", "token=\(token)&token=\(token)", "token=%f", "token=%ff"] {
                    let reply = try await world.admin(.POST, path, form: body)
                    #expect(reply.status == 400 && reply.text == #"{"error":"invalid_request"}"#, "\(path) \(body)")
                    #expect(reply.fields["Cache-Control"] == ["no-store"])
                }
                #expect(try await world.admin(.POST, path, json: #"{"token":"\#(token)"}"#).status == 400)
                #expect(try await world.admin(.POST, "\(path)?token=\(token)", form: "x=y").status == 400)
                #expect(try await world.admin(.GET, "\(path)?token=\(token)").status == 405)
            }
            #expect(try await world.call(.GET, "/auth/session", token: token).status == 200)
        }
    }

    @Test("find a token whatever the hint says", arguments: ["access_token", "refresh_token", "saml", ""])
    func hints(hint: String) async throws {
        try await ControlWorld.run { world in
            let login = try await world.login()
            for (token, type) in [(login.access, "Bearer"), (login.refresh, "refresh_token")] {
                let reply = try await world.admin(.POST, "/v1/introspect", form: "token=\(token)&token_type_hint=\(hint)")
                #expect(reply.json?["active"]?.boolean == true && reply.string("token_type") == type)
            }
            let reply = try await world.admin(.POST, "/v1/revoke", form: "token_type_hint=\(hint)&token=\(login.refresh)")
            #expect(reply.status == 200 && reply.body.isEmpty)
            #expect(try await world.admin(.POST, "/v1/introspect", form: "token=\(login.access)").text == Self.inactive)
        }
    }

    @Test("know a refresh token as active while it is the current one; revoking an older one ends the session all the same")
    func rotated() async throws {
        try await ControlWorld.run { world in
            let login = try await world.login(), renewed = try Login(await world.refresh(login.refresh))
            #expect(try await world.admin(.POST, "/v1/introspect", form: "token=\(login.refresh)").text == Self.inactive)
            #expect(try await world.admin(.POST, "/v1/introspect", form: "token=\(renewed.refresh)").json?["active"]?.boolean == true)
            #expect(try await world.admin(.POST, "/v1/revoke", form: "token=\(login.refresh)").status == 200)
            #expect(try await world.admin(.POST, "/v1/introspect", form: "token=\(renewed.refresh)").text == Self.inactive)
            #expect(world.store.endings.all.last == .init(user: UserID(name: "alice"), session: login.session, reason: .revoked))
        }
    }

    @Test("say nothing of a refresh token whose time is over, and nothing of an access token either")
    func over() async throws {
        try await ControlWorld.run { world in
            let login = try await world.login()
            world.clock.advance(milliseconds: 6 * 60_000)
            #expect(try await world.admin(.POST, "/v1/introspect", form: "token=\(login.access)").text == Self.inactive)
            #expect(try await world.admin(.POST, "/v1/introspect", form: "token=\(login.refresh)").json?["active"]?.boolean == true)
            world.clock.advance(milliseconds: 31 * 86_400_000)
            #expect(try await world.admin(.POST, "/v1/introspect", form: "token=\(login.refresh)").text == Self.inactive)
        }
    }

    @Test("judge tokens of other issuers as the data plane does; those without sessions cannot be revoked, and logout tokens are neither")
    func otherIssuers() async throws {
        let provider = try TestProvider()
        try await ControlWorld.run({ $0.trustOwnTokens(and: provider.issuers) }) { world in
            let now = world.clock.now
            let body = #"{"expires_at":"2099-01-01T00:00:00Z"}"#
            let registered = try provider.accessToken("reg", at: now), revocable = try provider.accessToken("rev", at: now)
            let free = try provider.accessToken("free", session: nil, at: now)
            func introspect(_ token: String) async throws -> Reply { try await world.admin(.POST, "/v1/introspect", form: "token=\(token)") }

            #expect(try await introspect(registered).text == Self.inactive, "nobody has registered it")
            #expect(try await world.admin(.PUT, "/v1/users/alice/sessions/s1?namespace=reg", json: body).status == 201)
            for (token, issuer) in [(registered, "reg"), (revocable, "rev"), (free, "free")] {
                let reply = try await introspect(token)
                #expect(reply.json?["active"]?.boolean == true && reply.string("sub") == "alice")
                #expect(reply.string("iss") == "https://\(issuer).example" && reply.string("sid") == (issuer == "free" ? nil : "s1"))
                #expect(reply.json?["exp"]?.number?.integer == now / 1000 + 120)
            }
            let logout = try provider.token("reg", at: now)
            #expect(try await introspect(logout).text == Self.inactive)
            #expect(try await world.admin(.POST, "/v1/revoke", form: "token=\(logout)").status == 200)
            #expect(try await introspect(registered).json?["active"]?.boolean == true, "a logout token is for the provider's own call")

            let refused = try await world.admin(.POST, "/v1/revoke", form: "token=\(free)")
            #expect(refused.status == 400 && refused.text == #"{"error":"unsupported_token_type"}"#)
            for token in [registered, revocable] {
                #expect(try await world.admin(.POST, "/v1/revoke", form: "token=\(token)").status == 200)
                #expect(try await introspect(token).text == Self.inactive)
            }
            #expect(world.store.record("s1", of: UserID(namespace: "reg", name: "alice"))?.revokeReason == .revoked)
            #expect(world.store.revokedIDs(of: UserID(namespace: "rev", name: "alice"))["s1"] != nil)
        }
    }

    @Test("are 503 where nobody can know: the store is down, or the issuer's keys have never been had")
    func unknowable() async throws {
        let provider = try TestProvider()
        try await ControlWorld.run({ configuration in
            configuration.trustOwnTokens(
                and: provider.issuers.map { issuer, policy in
                    var issuer = issuer
                    if policy.name == "reg" { issuer.keys = nil }
                    return (issuer, policy)
                })
        }) { world in
            let waiting = try provider.accessToken("reg", at: world.clock.now), login = try await world.login()
            for path in ["/v1/introspect", "/v1/revoke"] {
                let reply = try await world.admin(.POST, path, form: "token=\(waiting)")
                #expect(reply.status == 503 && reply.code == "keys_unavailable" && reply.fields["Retry-After"] == ["1"])
            }
            world.store.stop()
            for path in ["/v1/introspect", "/v1/revoke"] {
                for token in [login.access, login.refresh] {
                    let reply = try await world.admin(.POST, path, form: "token=\(token)")
                    #expect(reply.status == 503 && reply.code == "store_unavailable")
                }
            }
            world.store.start()
            #expect(world.store.record(login.session, of: UserID(name: "alice"))?.active == true)
        }
    }
}
