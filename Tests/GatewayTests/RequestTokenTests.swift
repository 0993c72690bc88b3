// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Sessions
import Testing
import Tokens

@testable import Gateway

@Suite("Identity fields")
struct RequestIdentityTests {
    private func lines(_ world: StageWorld, _ token: [UInt8]) throws -> [String] {
        let text = try String(decoding: world.remembered(token).identityLines, as: UTF8.self)
        #expect(text.hasSuffix("\r\n"))
        return text.split(separator: "\r\n", omittingEmptySubsequences: true).map(String.init)
    }

    @Test("User, session and issuer, the user under its namespace")
    func user() throws {
        let world = try StageWorld()
        #expect(try lines(world, world.token()) == ["X-Auth-User: alice", "X-Auth-Session: session-1", "X-Auth-Issuer: portcullis"])
        #expect(try lines(world, world.token(issuer: "idp")) == ["X-Auth-User: idp/alice", "X-Auth-Session: session-1", "X-Auth-Issuer: idp"])
    }

    @Test("An own user that reads like one of another namespace is refused")
    func mistakable() throws {
        let world = try StageWorld { $0.issuers.append($0.issuers[1]) }
        #expect(throws: TokenRefusal.claims) { try world.remembered(world.token(user: "idp/alice")) }
        #expect(try lines(world, world.token(user: "idpx/alice"))[0] == "X-Auth-User: idpx/alice")
        #expect(try lines(world, world.token(user: "idp"))[0] == "X-Auth-User: idp")
        #expect(try lines(world, world.token(user: "idp/alice", issuer: "idp"))[0] == "X-Auth-User: idp/idp/alice")
    }

    @Test("Names of any script arrive as they are", arguments: ["jörg", "王小明", "a b", "o'brien", "a,b", "50%"])
    func scripts(user: String) throws {
        let world = try StageWorld()
        #expect(try lines(world, world.token(user: user))[0] == "X-Auth-User: \(user)")
    }

    @Test(
        "Claims: texts, numbers and booleans as they are spelled, arrays joined, all else is no field",
        arguments: [
            (#""a@example.org""#, "a@example.org"), ("3", "3"), ("1.50e2", "1.50e2"), ("true", "true"), (#"["admin","dev"]"#, "admin,dev"),
            (#"["a,b",1,false]"#, "a%2Cb,1,false"), (#""a,b""#, "a,b"),
            (#""""#, ""), ("null", nil), ("{}", nil), ("[]", nil), (#"[["a"]]"#, nil), (#"["a",null]"#, nil),
        ] as [(String, String?)])
    func claims(json: String, value: String?) throws {
        let world = try StageWorld { $0.identity.claims = [("X-Auth-Claim", "claim")] }
        let found = try lines(world, world.token(",\"claim\":\(json)")).filter { $0.hasPrefix("X-Auth-Claim:") }
        #expect(found == (value.map { ["X-Auth-Claim: \($0)"] } ?? []))
    }

    @Test(
        "Control characters are percent-encoded",
        arguments: [
            (#"a\r\nX-Admin: 1"#, "a%0D%0AX-Admin: 1"), (#"a\u0000b"#, "a%00b"), (#"a\tb"#, "a%09b"), (#"\u007f"#, "%7F"), (#"a\u0085b"#, "a%C2%85b"),
            (#"\u0080\u009f"#, "%C2%80%C2%9F"),
            (#"\u00a0é"#, "\u{a0}é"),
        ])
    func controls(json: String, value: String) throws {
        let world = try StageWorld { $0.identity.claims = [("X-Auth-Note", "note")] }
        #expect(try lines(world, world.token(",\"note\":\"\(json)\"")).last == "X-Auth-Note: \(value)")
        #expect(try lines(world, world.token(",\"note\":[\"\(json)\",\"x\"]")).last == "X-Auth-Note: \(value),x")
    }

    @Test("An unchecked issuer's token without session has no session field and nobody to ask")
    func unchecked() throws {
        let world = try StageWorld()
        let other = try StageWorld {
            $0.issuers = [world.issuer("free", namespace: "free", sessions: .unchecked), world.issuer("idp", namespace: "idp", sessions: .revocable)]
        }
        let snapshot = other.snapshot
        let remembered = try world.remembered(world.token(session: nil, issuer: "free"), in: snapshot)
        #expect(remembered.reference == nil && remembered.endsWithToken)
        #expect(String(decoding: remembered.identityLines, as: UTF8.self) == "X-Auth-User: free/alice\r\nX-Auth-Issuer: free\r\n")
        let revocable = try world.remembered(world.token(issuer: "idp", ",\"iat\":1799999990.9"), in: snapshot)
        #expect(revocable.reference?.kind == .revocable && revocable.reference?.issuedAt == 1_799_999_990 && revocable.endsWithToken)
    }

    @Test("The session's answer is asked for under the user and its namespace")
    func reference() throws {
        let world = try StageWorld()
        let reference = try #require(world.remembered(world.token(issuer: "idp")).reference)
        #expect(reference.user == UserID(namespace: "idp", name: "alice") && reference.session == "session-1" && reference.kind == .registered)
    }

    @Test("An assertion is signed for the upstream and lasts a minute")
    func assertion() throws {
        let key = try SigningKey.generate(.eddsa).key
        let world = try StageWorld { $0.identity.assertion = ("X-Auth-Assertion", key, "portcullis") }
        let snapshot = world.snapshot
        let remembered = try world.remembered(world.token())
        let made = try #require(snapshot.identity.assertion(for: remembered, route: snapshot.routes[0], now: StageWorld.now))
        let line = String(decoding: made, as: UTF8.self)
        #expect(line.hasPrefix("X-Auth-Assertion: ") && line.hasSuffix("\r\n"))
        let payload = try #require(
            line.dropFirst("X-Auth-Assertion: ".count).split(separator: ".").dropFirst().first.flatMap { Base64URL.decode(String($0)) })
        let claims = try JSONObject(parsing: payload)
        #expect(
            claims["sub"]?.string == "alice" && claims["aud"]?.string == "app" && claims["iss"]?.string == "portcullis"
                && claims["sid"]?.string == "session-1")
        #expect(claims["exp"]?.number?.integer == 1_800_000_060)
        let sent = try world.forward(StageRequest([("X_Auth_Assertion", "forged")]), identity: remembered)
        #expect(!sent.text.contains("forged"))
    }
}

@Suite("Remembered tokens")
struct RequestTokenCacheTests {
    private func find(_ cache: TokenCache, _ token: [UInt8], now: Double = StageWorld.now) -> RememberedToken? {
        token.withUnsafeBytes { cache.find($0, hash: cache.hash($0), now: now) }
    }

    private func insert(_ token: RememberedToken, into cache: TokenCache) {
        cache.insert(token, hash: token.token.withUnsafeBytes { cache.hash($0) })
    }

    @Test("A token is found again by its exact bytes alone")
    func exactBytes() throws {
        let world = try StageWorld()
        let cache = TokenCache(byteLimit: 1 << 20)
        let token = try world.token()
        insert(try world.remembered(token), into: cache)
        #expect(find(cache, token)?.user.name == "alice")
        for index in token.indices {
            var changed = token
            changed[index] ^= 1
            #expect(find(cache, changed) == nil)
        }
        #expect(find(cache, Array(token.dropLast())) == nil && find(cache, token + [65]) == nil && find(cache, []) == nil)
    }

    @Test("Its end counts on every use")
    func expiry() throws {
        let world = try StageWorld { $0.issuers[0].trusted.expiryLeeway = 0 }
        let cache = TokenCache(byteLimit: 1 << 20)
        let token = try world.token(expiresIn: 10)
        insert(try world.remembered(token), into: cache)
        #expect(find(cache, token, now: StageWorld.now + 9.999) != nil)
        #expect(find(cache, token, now: StageWorld.now + 10) == nil)
        #expect(cache.count == 0 && cache.byteCount == 0)
    }

    @Test("So does its beginning, when the clock is set back")
    func notBefore() throws {
        let world = try StageWorld()
        let cache = TokenCache(byteLimit: 1 << 20)
        let token = try world.token(",\"nbf\":1799999000")
        insert(try world.remembered(token), into: cache)
        #expect(find(cache, token, now: 1_799_998_971) != nil)
        #expect(find(cache, token, now: 1_799_998_969) == nil)
    }

    @Test("It holds no more bytes than it may, and what is used stays")
    func bounded() throws {
        let world = try StageWorld()
        let limit = 64 << 10
        let cache = TokenCache(byteLimit: limit)
        let favourite = try world.token(user: "favourite")
        insert(try world.remembered(favourite), into: cache)
        for number in 0..<300 {
            let token = try world.token(user: "user-\(number)")
            insert(try world.remembered(token), into: cache)
            #expect(cache.byteCount <= limit)
            #expect(find(cache, favourite) != nil)
        }
        #expect(cache.count > 10 && cache.count <= limit / 1024)
    }

    @Test("Of claims those are kept that a route asks for, and take room then alone")
    func keptClaims() throws {
        let claims = ",\"x\":\"\(String(repeating: "x", count: 1000))\",\"scope\":\"read\",\"scp\":[\"write\"]"
        let plain = try StageWorld()
        let without = try plain.remembered(plain.token(claims))
        #expect(without.claims.isEmpty)
        let scoped = try StageWorld(routes: [StageWorld.route("/"), StageWorld.route("/admin") { $0.scopes = ["read"] }])
        #expect(try Set(scoped.remembered(scoped.token(claims)).claims.members.map(\.name)) == ["scope", "scp"])
        let asking = try StageWorld(
            routes: ["/a", "/b"].map { StageWorld.route($0) { $0.claims = [("x", ["1"]), ("none", ["1"])] } })
        let with = try asking.remembered(asking.token(claims))
        #expect(with.claims.members.map(\.name) == ["x"] && with.claims["x"]?.string?.utf8.count == 1000)
        #expect(with.byteCount > without.byteCount + 1000)
    }

    @Test("What alone is too large is not remembered, and drives nothing out")
    func tooLarge() throws {
        let world = try StageWorld()
        let cache = TokenCache(byteLimit: 3 << 10)
        let token = try world.token()
        insert(try world.remembered(token), into: cache)
        insert(try world.remembered(world.token(",\"x\":\"\(String(repeating: "x", count: 4000))\"")), into: cache)
        #expect(cache.count == 1 && find(cache, token) != nil)
    }

    @Test("Forgetting all forgets all, and it goes on")
    func removeAll() throws {
        let world = try StageWorld()
        let cache = TokenCache(byteLimit: 1 << 20)
        let token = try world.token()
        insert(try world.remembered(token), into: cache)
        cache.removeAll()
        #expect(find(cache, token) == nil && cache.count == 0 && cache.byteCount == 0)
        insert(try world.remembered(token), into: cache)
        #expect(find(cache, token) != nil)
    }

    @Test("Any order of remembering, expiring and finding gives what a plain dictionary gives")
    func model() throws {
        let world = try StageWorld { $0.issuers[0].trusted.expiryLeeway = 0 }
        let cache = TokenCache(byteLimit: 1 << 20)
        let tokens = try (0..<40).map { try world.token(user: "user-\($0)", expiresIn: 10 + $0) }
        var model: Set<Int> = []
        var now = StageWorld.now
        var random = CorrelationSource()
        for _ in 0..<2000 {
            let index = Int(random.next() % 40)
            if random.next() % 100 == 0 { now += 1 }
            if now >= StageWorld.now + Double(10 + index) { model.remove(index) }
            #expect((find(cache, tokens[index], now: now) != nil) == model.contains(index))
            if !model.contains(index), now < StageWorld.now + Double(10 + index) {
                insert(try world.remembered(tokens[index]), into: cache)
                model.insert(index)
            }
        }
    }
}

@Suite("Scopes and claims of a route")
struct RequestAuthorisationTests {
    @Test(
        "All scopes are needed, from scope or scp",
        arguments: [
            (#","scope":"read write""#, nil), (#","scope":"write  read extra""#, nil), (#","scp":["write","read"]"#, nil),
            (#","scope":"read""#, .scopeMissing), ("", .scopeMissing),
            (#","scope":"readwrite""#, .scopeMissing), (#","scope":"read,write""#, .scopeMissing), (#","scope":7"#, .scopeMissing),
            (#","scope":"READ WRITE""#, .scopeMissing), (#","scp":"read write""#, .scopeMissing),
        ] as [(String, Rejection?)])
    func scopes(claims: String, rejection: Rejection?) throws {
        let world = try StageWorld(routes: [StageWorld.route("/") { $0.scopes = ["read", "write"] }])
        let token = try world.remembered(world.token(claims))
        for _ in 0..<2 { #expect(Authorisation.judge(token, world.snapshot.routes[0]) == rejection) }
    }

    @Test(
        "Each claim must hold or contain one of its values",
        arguments: [
            (#","role":"admin","tenant":"b""#, nil), (#","role":["dev","admin"],"tenant":["a"]"#, nil),
            (#","role":"admin","tenant":"c""#, .claimMismatch), (#","role":"admin""#, .claimMismatch),
            (#","role":"administrator","tenant":"a""#, .claimMismatch), (#","role":{"admin":true},"tenant":"a""#, .claimMismatch),
            (#","role":[["admin"]],"tenant":"a""#, .claimMismatch), (#","role":null,"tenant":"a""#, .claimMismatch),
        ] as [(String, Rejection?)])
    func claims(claims: String, rejection: Rejection?) throws {
        let world = try StageWorld(routes: [StageWorld.route("/") { $0.claims = [("role", ["admin", "root"]), ("tenant", ["a", "b"])] }])
        #expect(try Authorisation.judge(world.remembered(world.token(claims)), world.snapshot.routes[0]) == rejection)
    }

    @Test("Passing one route says nothing about another")
    func perRoute() throws {
        let world = try StageWorld(routes: [StageWorld.route("/a") { $0.scopes = ["read"] }, StageWorld.route("/b") { $0.scopes = ["write"] }])
        let token = try world.remembered(world.token(#","scope":"read""#))
        #expect(Authorisation.judge(token, world.snapshot.routes[0]) == nil)
        #expect(Authorisation.judge(token, world.snapshot.routes[1]) == .scopeMissing)
        #expect(Authorisation.judge(token, world.snapshot.routes[0]) == nil)
    }

    @Test("A route accepts only its issuers")
    func issuers() throws {
        let world = try StageWorld(routes: [StageWorld.route("/") { $0.issuers = ["idp"] }, StageWorld.route("/x")])
        #expect(!world.snapshot.routes[0].acceptsIssuer(0) && world.snapshot.routes[0].acceptsIssuer(1) && !world.snapshot.routes[0].acceptsIssuer(2))
        #expect(world.snapshot.routes[1].acceptsIssuer(0))
    }
}

@Suite("Rate limits")
struct RequestRateLimitTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)

    private func world(_ by: RateLimitConfiguration.Key) throws -> StageWorld {
        try StageWorld(routes: [
            StageWorld.route("/") { $0.rateLimit = RateLimitConfiguration(requests: 3, per: .minutes(1), by: by) }, StageWorld.route("/free"),
        ])
    }

    @Test("Exactly the limit's number passes in a window, and the next one begins when it is over")
    func window() throws {
        let route = try world(.address).snapshot.routes[0]
        let limiter = RateLimiter()
        for _ in 0..<3 { #expect(limiter.admit(route, user: nil, address: .loopback, now: start) == nil) }
        #expect(limiter.admit(route, user: nil, address: .loopback, now: start + .milliseconds(500)) == .rateLimited(retryAfter: 60))
        #expect(limiter.admit(route, user: nil, address: .loopback, now: start + .milliseconds(59_999)) == .rateLimited(retryAfter: 1))
        #expect(limiter.admit(route, user: nil, address: Address(ipv4: 1), now: start) == nil)
        #expect(limiter.admit(route, user: nil, address: .loopback, now: start + .minutes(1)) == nil)
    }

    @Test("Users count each alone, wherever they come from; who is nobody counts by address")
    func users() throws {
        let world = try world(.user)
        let route = world.snapshot.routes[0]
        let limiter = RateLimiter()
        for user in ["alice", "bob"] {
            for number in 0..<5 {
                let token = try world.remembered(world.token(user: user, session: "s\(number)"))
                #expect((limiter.admit(route, user: token, address: Address(ipv4: UInt32(number)), now: start) == nil) == (number < 3))
            }
        }
        for number in 0..<5 { #expect((limiter.admit(route, user: nil, address: .loopback, now: start) == nil) == (number < 3)) }
    }

    @Test("Sessions count each alone")
    func sessions() throws {
        let world = try world(.session)
        let limiter = RateLimiter()
        for session in ["one", "two"] {
            let token = try world.remembered(world.token(session: session))
            for number in 0..<5 {
                #expect((limiter.admit(world.snapshot.routes[0], user: token, address: .loopback, now: start) == nil) == (number < 3))
            }
        }
    }

    @Test("A route without a limit has none")
    func unlimited() throws {
        let route = try world(.user).snapshot.routes[1]
        let limiter = RateLimiter()
        for _ in 0..<100 { #expect(limiter.admit(route, user: nil, address: .loopback, now: start) == nil) }
    }

    @Test("Many strangers do not make it grow without end, nor forget who came last")
    func bounded() throws {
        let route = try world(.address).snapshot.routes[0]
        let limiter = RateLimiter()
        for number in 0..<200_000 { _ = limiter.admit(route, user: nil, address: Address(ipv4: UInt32(number)), now: start) }
        #expect(limiter.windowCount <= 16 * 8192)
        for _ in 0..<3 { _ = limiter.admit(route, user: nil, address: .loopback, now: start) }
        #expect(limiter.admit(route, user: nil, address: .loopback, now: start) != nil)
    }
}
