// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import Testing
import Tokens

@testable import Control

@Suite("Login")
struct LoginTests {
    @Test("answers tokens, a session of its own, and both cookies")
    func shape() async throws {
        try await ControlWorld.run { world in
            let login = try await world.login(device: "phone")
            let reply = login.reply
            #expect(reply.status == 200)
            #expect(reply.string("token_type") == "Bearer" && reply.string("user") == "alice")
            #expect(reply.json?["expires_in"]?.number?.integer == 300)
            #expect(reply.fields["Cache-Control"] == ["no-store"])
            #expect(login.session.utf8.count == 22)
            let record = world.store.record(login.session, of: UserID(name: "alice"))
            #expect(record?.device == "phone" && record?.ip == "192.0.2.1" && record?.active == true)
            #expect(try await world.login().session != login.session)

            let access = try #require(reply.cookies["__Host-portcullis"]), refresh = try #require(reply.cookies["__Secure-portcullis-refresh"])
            #expect(access.value == login.access && refresh.value == login.refresh)
            #expect(Set(access.attributes).isSuperset(of: ["path=/", "httponly", "secure", "samesite=lax", "max-age=300"]))
            #expect(refresh.attributes.contains("path=/auth") && refresh.attributes.contains("max-age=2592000"))
        }
    }

    @Test("gives a token with the gateway's claims, which the published keys verify")
    func token() async throws {
        try await ControlWorld.run { world in
            let login = try await world.login()
            let published = try await world.call(.GET, "/.well-known/jwks.json")
            let keys = try KeySet(jwks: published.body)
            let issuer = TrustedIssuer(name: "p", issuer: "portcullis", audiences: ["portcullis"], algorithms: [.eddsa], keys: keys, expiryLeeway: 0)
            let token = try TokenVerifier(issuers: [issuer]).verify(Array(login.access.utf8), now: Double(world.clock.now) / 1000)
            #expect(token.user == "alice" && token.session == login.session && token.claims["jti"]?.string != nil && token.issuedAt != nil)
            #expect(!published.text.contains("\"d\""))
        }
    }

    @Test(
        "is refused alike whatever is wrong with name or password",
        arguments: [
            ("alice", "wrong"), ("nobody", "password of alice"), ("alice", ""), ("", ""), ("Alice", "password of alice"),
            ("alice ", "password of alice"),
            ("alice", "password of bob"), ("a\\u0000b", "x"), ("alice", "password of alice\\u0000"), ("alice", "password of alice\\u0000x"),
        ])
    func wrongCredentials(user: String, password: String) async throws {
        try await ControlWorld.run { world in
            let reply = try await world.call(.POST, "/auth/login", json: "{\"username\":\"\(user)\",\"password\":\"\(password)\"}")
            #expect(reply.status == 401 && reply.code == "login_failed" && reply.fields["Set-Cookie"].isEmpty)
            #expect(reply.string("request_id") == "request-1" && !reply.fields["WWW-Authenticate"].isEmpty)
            #expect(!reply.text.contains("alice"))
        }
    }

    @Test(
        "of a body that is none is 400",
        arguments: [
            "", "{", "[]", "null", #"{"username":"alice"}"#, #"{"username":1,"password":2}"#, #"{"username":["alice"],"password":"x"}"#,
            #"{"username":"alice","username":"bob","password":"x"}"#, #"{"username":"alice","password":"x","device":1}"#, "username=alice&password=x",
        ])
    func badBodies(body: String) async throws {
        try await ControlWorld.run { world in
            let reply = try await world.call(.POST, "/auth/login", json: body)
            #expect(reply.status == 400 && reply.code == "bad_request")
        }
    }

    @Test("names the member that is wrong")
    func namesTheMember() async throws {
        try await ControlWorld.run { world in
            let reply = try await world.call(.POST, "/auth/login", json: #"{"username":"alice","password":7}"#)
            #expect(reply.string("detail")?.contains("password") == true)
        }
    }

    @Test("of a body that is no JSON by its type, or too large, is refused")
    func otherBodies() async throws {
        try await ControlWorld.run { world in
            let good = #"{"username":"alice","password":"password of alice"}"#
            let form = try await world.call(.POST, "/auth/login", json: good, fields: [("Content-Type", "text/plain")])
            #expect(form.status == 400)
            let large = try await world.call(.POST, "/auth/login", json: #"{"x":""# + String(repeating: "a", count: 70_000) + #""}"#)
            #expect(large.status == 413 && large.code == "body_too_large")
        }
    }

    @Test("is POST alone, and 404 without users, without a key, or below another path")
    func elsewhere() async throws {
        try await ControlWorld.run { world in
            let reply = try await world.call(.GET, "/auth/login")
            #expect(reply.status == 405 && reply.fields["Allow"] == ["POST"] && reply.code == "method_not_allowed")
            #expect(try await world.call(.POST, "/login", json: "{}").status == 404)
        }
        let body = #"{"username":"alice","password":"password of alice"}"#
        let withoutUsers = try await ControlWorld(ControlWorld.configuration { $0.login = nil })
        #expect(try await withoutUsers.call(.POST, "/auth/login", json: body).code == "route_not_found")
        await withoutUsers.end()
        let withoutKey = try await ControlWorld(ControlWorld.configuration { $0.signingKey = nil })
        #expect(try await withoutKey.call(.POST, "/auth/login", json: body).status == 404)
        await withoutKey.end()
        let switchedOff = try await ControlWorld(ControlWorld.configuration { $0.apiPath = nil })
        #expect(try await switchedOff.call(.POST, "/auth/login", json: body).status == 404)
        #expect(try await switchedOff.call(.GET, "/.well-known/jwks.json").status == 200)
        await switchedOff.end()
    }

    @Test("is 429 after at most 30 failures of a user, also with the right password and from elsewhere")
    func byUser() async throws {
        try await ControlWorld.run { world in
            let wrong = #"{"username":"alice","password":"wrong"}"#
            var statuses: [UInt] = []
            for number in 0..<31 {
                statuses.append(try await world.call(.POST, "/auth/login", json: wrong, client: "192.0.2.\(number)").status)
            }
            #expect(statuses.first == 401 && statuses.last == 429)
            let right = #"{"username":"alice","password":"password of alice"}"#
            let limited = try await world.call(.POST, "/auth/login", json: right, client: "198.51.100.1")
            #expect(limited.status == 429 && limited.code == "rate_limited")
            #expect(Int(limited.fields["Retry-After"].first ?? "") ?? 0 >= 1)
            _ = try await world.login("bob")
        }
    }

    @Test("is 429 after at most 30 failures from an address, whoever is tried; IPv6 clients count by their network")
    func byAddress() async throws {
        try await ControlWorld.run { world in
            for (network, clean) in [("192.0.2.7", "192.0.2.8"), ("2001:db8::1", "2001:db8:0:1::1")] {
                var last: UInt = 0
                for number in 0..<31 {
                    last = try await world.call(
                        .POST, "/auth/login", json: #"{"username":"nobody\#(number)\#(network)","password":"x"}"#, client: network
                    ).status
                }
                #expect(last == 429)
                let body = #"{"username":"alice","password":"password of alice"}"#
                #expect(try await world.call(.POST, "/auth/login", json: body, client: network).status == 429)
                #expect(try await world.call(.POST, "/auth/login", json: body, client: clean).status == 200)
            }
            #expect(LoginThrottle.Keys.spelling("2001:db8::2") == LoginThrottle.Keys.spelling("2001:db8::1"))
        }
    }

    @Test("is 429 after at most 30 failures of a user, however the letters of the name are written")
    func bySpelling() async throws {
        try await ControlWorld.run { world in
            for number in 0..<30 {
                let name = String("alice".enumerated().map { number >> $0 & 1 == 0 ? $1 : Character($1.uppercased()) })
                let body = #"{"username":"\#(name)","password":"wrong"}"#
                let reply = try await world.call(.POST, "/auth/login", json: body, client: "192.0.2.\(number)")
                #expect(reply.status == 401)
            }
            for (name, status) in [("ALicE", 429), ("alice", 429), ("bob", 200)] as [(String, Int)] {
                let body = #"{"username":"\#(name)","password":"password of \#(name)"}"#
                let reply = try await world.call(.POST, "/auth/login", json: body, client: "192.0.2.99")
                #expect(reply.status == UInt(status), "\(name)")
            }
        }
    }

    @Test("keeps no name in the keys that failures are counted under")
    func keys() async throws {
        try await ControlWorld.run { world in
            _ = try await world.call(.POST, "/auth/login", json: #"{"username":"alice","password":"wrong"}"#)
            let keys = world.store.failures
            #expect(keys.count == 2 && keys.values.allSatisfy { $0 == 1 } && keys.keys.allSatisfy { !$0.contains("alice") })
        }
    }

    @Test("never slows correct passwords down, however many come at once")
    func correctPasswords() async throws {
        try await ControlWorld.run { world in
            let statuses = try await withThrowingTaskGroup(of: UInt.self) { tasks in
                for _ in 0..<60 { tasks.addTask { try await world.login().reply.status } }
                return try await tasks.reduce(into: [UInt]()) { $0.append($1) }
            }
            #expect(statuses.count == 60 && statuses.allSatisfy { $0 == 200 })
            #expect(world.store.failures.values.allSatisfy { $0 == 0 } && world.store.runningAttempts == 0)
        }
    }

    @Test("is 503 while the store is down, before the password is looked at")
    func storeDown() async throws {
        try await ControlWorld.run { world in
            world.store.stop()
            for password in ["password of alice", "wrong"] {
                let reply = try await world.call(.POST, "/auth/login", json: #"{"username":"alice","password":"\#(password)"}"#)
                #expect(reply.status == 503 && reply.code == "store_unavailable" && reply.fields["Retry-After"] == ["1"])
            }
        }
    }

    @Test("of a page of another origin is refused, one that says nothing is not")
    func origin() async throws {
        try await ControlWorld.run { world in
            let body = #"{"username":"alice","password":"password of alice"}"#
            for fields in [[("Origin", "https://evil.example")], [("Sec-Fetch-Site", "cross-site")], [("Origin", "null")]] {
                let reply = try await world.call(.POST, "/auth/login", json: body, fields: fields)
                #expect(reply.status == 403 && reply.code == "csrf" && reply.fields["Set-Cookie"].isEmpty)
            }
            #expect(try await world.call(.POST, "/auth/login", json: body, fields: [("Origin", "https://app.example")]).status == 200)
        }
    }

    @Test("ends the oldest session beyond the limit, closes what is open of it, and says so in the audit log")
    func tooMany() async throws {
        try await ControlWorld.run({ $0.rules.maxPerUser = 2 }) { world in
            let first = try await world.login()
            world.clock.advance(milliseconds: 10)
            _ = try await world.login()
            world.clock.advance(milliseconds: 10)
            _ = try await world.login()
            #expect(world.store.endings.all == [.init(user: UserID(name: "alice"), session: first.session, reason: .maxPerUser)])
            let line = try #require(world.audit.all.last)
            #expect(line.contains(#""audit":"max_per_user","outcome":"ok","user":"alice","address":"192.0.2.1""#))
            #expect(line.contains(first.session.prefix(8)) && line.contains(#""request_id":"request-1""#))
            #expect(world.audit.all.count == 4)
        }
    }

    @Test("of an own user whose name reads like one of another namespace is refused")
    func namespaceNames() async throws {
        let hash = "$5$rounds=1000$saltsalt$7AgMyv1GxsQqK7a3DezJADVAxd6Nn5sQiozLVIGubI7"
        try await ControlWorld.run({ configuration in
            configuration.login = .usersFile(try UsersFile(parsing: Array("idp/alice:\(hash)".utf8)))
            let issuer = TrustedIssuer(name: "idp", issuer: "https://idp.example", algorithms: [.eddsa], keys: nil)
            configuration.trustOwnTokens(and: [(issuer, IssuerPolicy(name: "idp", namespace: "idp", sessions: .registered))])
        }) { world in
            let reply = try await world.call(.POST, "/auth/login", json: #"{"username":"idp/alice","password":"password of alice"}"#)
            #expect(reply.status == 401)
            #expect(try await world.admin(.POST, "/v1/users/idp%2Falice/sessions", json: "{}").status == 400)
        }
    }

    @Test("leaves an audit line, also when it fails; a name that is none may be a password and is left out")
    func audit() async throws {
        try await ControlWorld.run { world in
            let login = try await world.login()
            for user in ["alice", "my-secret"] {
                _ = try await world.call(.POST, "/auth/login", json: #"{"username":"\#(user)","password":"wrong-one"}"#)
            }
            let lines = try world.audit.all.map { try JSONObject(parsing: Array($0.utf8)) }
            #expect(lines.map { $0["outcome"]?.string } == ["ok", "failed", "failed"])
            #expect(lines.map { $0["user"]?.string } == ["alice", "alice", nil])
            #expect(
                lines.allSatisfy { $0["audit"]?.string == "login" && $0["address"]?.string == "192.0.2.1" && $0["request_id"]?.string == "request-1" }
            )
            #expect(lines[0]["session"]?.string == String(login.session.prefix(8)))
            let text = world.audit.all.joined()
            for secret in [login.session, login.access, login.refresh, "password of alice", "wrong-one", "my-secret"] {
                #expect(!text.contains(secret))
            }
        }
    }
}
