// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import Tokens

/// OpenID Connect Back-Channel Logout 1.0 §2.4 and §2.6.
@Suite("Logout tokens")
struct LogoutTokenTests {
    let issuer: TestIssuer
    let verifier: TokenVerifier

    init() throws {
        issuer = try TestIssuer(.hs256)
        verifier = try issuer.verifier { $0.sendsLogoutTokens = true }
    }

    private func refusal(_ changes: [String: String?], header: String? = nil) throws -> TokenRefusal? {
        try verifier.logoutRefusal(issuer.token(TestIssuer.logoutClaims(changes), header: header))
    }

    private func header(_ members: String) -> String { #"{"alg":"HS256","kid":"key"\#(members)}"# }

    @Test("A good one says whose session has ended, and when it was said")
    func good() throws {
        let token = try verifier.logoutToken(issuer.token(TestIssuer.logoutClaims(["iat": "1799999990.9"])))
        #expect((token.issuer, token.user, token.session, token.tokenID) == (0, "alice", "session-1", "logout-1"))
        #expect((token.issuedAtSecond, token.acceptUntil) == (1_799_999_990, 1_800_000_290.9))
        let all = try verifier.logoutToken(issuer.token(TestIssuer.logoutClaims(["sid": nil, "exp": "1800000100"])))
        #expect((all.user, all.session, all.acceptUntil) == ("alice", nil, 1_800_000_100))
    }

    @Test(
        "Is what its type says, or its type says nothing",
        arguments: [
            ("", nil), (#","typ":"JWT""#, nil), (#","typ":"jwt""#, nil), (#","typ":"application/jwt""#, nil), (#","typ":"logout+jwt""#, nil),
            (#","typ":"Logout+JWT""#, nil), (#","typ":"application/logout+jwt""#, nil), (#","typ":"APPLICATION/LOGOUT+JWT""#, nil),
            (#","typ":"at+jwt""#, .claims), (#","typ":"application/at+jwt""#, .claims), (#","typ":"assertion+jwt""#, .claims),
            (#","typ":"secevent+jwt""#, .claims), (#","typ":"logout""#, .claims), (#","typ":"""#, .claims), (#","typ":null"#, .claims),
            (#","typ":["logout+jwt"]"#, .claims), (#","typ":"logout+jwt ""#, .claims), (#","typ":"text/logout+jwt""#, .claims),
            (#","typ":"logout+jwt","crit":["exp"]"#, .malformed), (#","typ":"logout+jwt","crit":[]"#, .malformed),
            (#","typ":"logout+jwt","kid":"key""#, .malformed),
        ] as [(String, TokenRefusal?)])
    func types(members: String, expected: TokenRefusal?) throws {
        #expect(try refusal([:], header: header(members)) == expected)
    }

    @Test(
        "With a claim that is not as it has to be is refused",
        arguments: [
            // Who says it, and to whom
            (["iss": nil], .issuer), (["iss": #""https://evil.test""#], .issuer), (["iss": "7"], .issuer),
            (["aud": nil], .audience), (["aud": #""other""#], .audience), (["aud": "[]"], .audience), (["aud": #"["api",7]"#], .audience),
            (["aud": "null"], .audience),
            // When
            (["exp": nil], .claims), (["exp": "null"], .claims), (["exp": #""1800000300""#], .claims), (["exp": "1800000000"], .expired),
            (["exp": "1e9999"], .claims),
            (["iat": nil], .claims), (["iat": "null"], .claims), (["iat": #""1799999990""#], .claims), (["iat": "1800000001"], .notYetValid),
            (["iat": "1799999700"], .expired), (["iat": "0"], .expired), (["iat": "-1e300"], .expired),
            (["iat": "1e300", "exp": "1e300"], .notYetValid),
            (["nbf": "1800000001"], .notYetValid), (["nbf": "true"], .claims),
            // That it is a logout
            (["events": nil], .claims), (["events": "null"], .claims), (["events": "{}"], .claims),
            (["events": #""http://schemas.openid.net/event/backchannel-logout""#], .claims),
            (["events": #"["http://schemas.openid.net/event/backchannel-logout"]"#], .claims),
            (["events": #"{"http://schemas.openid.net/event/backchannel-logout":"yes"}"#], .claims),
            (["events": #"{"http://schemas.openid.net/event/backchannel-logout":null}"#], .claims),
            (["events": #"{"http://schemas.openid.net/event/backchannel-logout":[]}"#], .claims),
            (["events": #"{"http://schemas.openid.net/event/backchannel-logout":true}"#], .claims),
            (["events": #"{"http://schemas.openid.net/event/Backchannel-Logout":{}}"#], .claims),
            (["events": #"{"https://schemas.openid.net/event/backchannel-logout":{}}"#], .claims),
            // That it is no ID token
            (["nonce": #""n""#], .claims), (["nonce": "null"], .claims), (["nonce": "{}"], .claims), (["nonce": #""""#], .claims),
            // Which one it is
            (["jti": nil], .claims), (["jti": #""""#], .claims), (["jti": "null"], .claims), (["jti": "7"], .claims), (["jti": #""a\nb""#], .claims),
            // Whose session
            (["sub": nil, "sid": nil], .claims), (["sub": nil], .claims), (["sub": "7"], .claims), (["sub": "null"], .claims),
            (["sub": #""""#], .claims),
            (["sub": #"" a""#], .claims), (["sub": #""a\u0000""#], .claims), (["sid": "7"], .claims), (["sid": "null"], .claims),
            (["sid": #""""#], .claims), (["sid": #""a\tb""#], .claims),
        ] as [([String: String?], TokenRefusal)])
    func mutations(changes: [String: String?], expected: TokenRefusal) throws {
        #expect(try refusal(changes) == expected)
    }

    @Test(
        "With more than has to be there is taken",
        arguments: [
            ["aud": #"["other","api"]"#], ["events": #"{"http://schemas.openid.net/event/backchannel-logout":{"why":"x"}}"#],
            ["events": #"{"http://schemas.openid.net/event/backchannel-logout":{},"https://other.test/event":"x"}"#], ["nbf": "1800000000"],
            ["iat": "1800000000"], ["iat": "1799999700.5"], ["exp": "1e300"], ["scope": "null"], ["Nonce": #""n""#],
        ] as [[String: String?]])
    func more(changes: [String: String?]) throws {
        #expect(try refusal(changes) == nil)
    }

    @Test("Names are bounded: user, session and id have at most 256 bytes")
    func bounds() throws {
        for name in ["sub", "sid", "jti"] {
            let longest = String(repeating: "é", count: 128)
            #expect(try refusal([name: "\"\(longest)\""]) == nil)
            #expect(try refusal([name: "\"\(longest)x\""]) == .claims)
        }
    }

    @Test("A member twice, at any depth and however escaped, is refused, as is a token that is too long")
    func malformed() throws {
        let claims = TestIssuer.logoutClaims()
        for twice in [
            claims.dropLast() + #","sub":"bob"}"#, claims.dropLast() + #","\u006eonce":1,"nonce":1}"#,
            TestIssuer.logoutClaims(["events": #"{"http://schemas.openid.net/event/backchannel-logout":{"a":1,"\u0061":2}}"#])[...],
        ] {
            #expect(try verifier.logoutRefusal(issuer.token(String(twice))) == .malformed)
        }
        #expect(try refusal(["pad": "\"" + String(repeating: "x", count: 8192) + "\""]) == .malformed)
        for garbage in ["", ".", "..", "a.b.c"] { #expect(verifier.logoutRefusal(Array(garbage.utf8)) == .malformed) }
    }

    @Test("Leeway counts for all times: the end, the age, and the future")
    func leeway() throws {
        let verifier = try issuer.verifier {
            $0.sendsLogoutTokens = true
            $0.leeway = 30
            $0.expiryLeeway = 10
        }
        for (changes, expected) in [
            (["exp": "1799999991"], nil), (["exp": "1799999990"], .expired), (["iat": "1800000030"], nil), (["iat": "1800000031"], .notYetValid),
            (["iat": "1799999671"], nil), (["iat": "1799999670"], .expired), (["nbf": "1800000030"], nil), (["nbf": "1800000031"], .notYetValid),
        ] as [([String: String?], TokenRefusal?)] {
            #expect(try verifier.logoutRefusal(issuer.token(TestIssuer.logoutClaims(changes))) == expected, "\(changes)")
        }
    }

    @Test("Any audience still has to be said where the issuer's audience does not matter")
    func anyAudience() throws {
        let verifier = try issuer.verifier {
            $0.sendsLogoutTokens = true
            $0.anyAudience = true
        }
        #expect(try verifier.logoutRefusal(issuer.token(TestIssuer.logoutClaims(["aud": #""other""#]))) == nil)
        #expect(try verifier.logoutRefusal(issuer.token(TestIssuer.logoutClaims(["aud": nil]))) == .audience)
    }

    @Test("Names users and sessions by the claims that access tokens name them by, and ends no more than it says")
    func otherClaims() throws {
        let verifier = try issuer.verifier {
            $0.sendsLogoutTokens = true
            $0.userClaim = "email"
            $0.sessionClaim = "session"
        }
        func token(_ changes: [String: String?]) throws -> [UInt8] { try issuer.token(TestIssuer.logoutClaims(changes)) }
        let one = try verifier.logoutToken(token(["email": #""a@b""#, "session": #""7""#]))
        #expect((one.user, one.session) == ("a@b", "7"))
        let all = try verifier.logoutToken(token(["email": #""a@b""#, "sid": nil]))
        #expect((all.user, all.session) == ("a@b", nil))
        #expect(try verifier.logoutRefusal(token(["email": #""a@b""#])) == .claims, "a session that cannot be found is not all of them")
        #expect(try verifier.logoutRefusal(token(["session": #""7""#])) == .claims)
        #expect(try verifier.logoutRefusal(token(["email": #""a@b""#, "session": #""7""#, "sub": nil])) == .claims)
    }

    @Test("Of an issuer that sends none is refused by its issuer, whatever is known of its keys")
    func switchedOff() throws {
        for keys in [try issuer.keySet(), nil] {
            let verifier = try issuer.verifier { $0.keys = keys }
            #expect(try verifier.logoutRefusal(issuer.token(TestIssuer.logoutClaims())) == .issuer)
        }
        let waiting = try issuer.verifier {
            $0.sendsLogoutTokens = true
            $0.keys = nil
        }
        #expect(try waiting.logoutRefusal(issuer.token(TestIssuer.logoutClaims())) == .keysUnavailable)
    }

    @Test("Is signed as access tokens are: by a key of the issuer, with an algorithm that is listed and fits the key")
    func signatures() throws {
        let claims = TestIssuer.logoutClaims()
        for algorithm in [JOSEAlgorithm.rs256, .es256, .eddsa] {
            let issuer = try TestIssuer(algorithm)
            let verifier = try issuer.verifier { $0.sendsLogoutTokens = true }
            let good = try issuer.token(claims, header: #"{"alg":"\#(algorithm.rawValue)","typ":"logout+jwt","kid":"key"}"#)
            #expect(verifier.logoutRefusal(good) == nil)
            #expect(verifier.logoutRefusal(good.dropLast(4) + Array("AAAA".utf8)) == .signature)
            #expect(try verifier.logoutRefusal(issuer.token(claims, header: #"{"alg":"none"}"#)) == .algorithm)
            #expect(try verifier.logoutRefusal(issuer.token(claims, header: #"{"alg":"\#(algorithm.rawValue)","kid":"other"}"#)) == .keyUnknown)
            // The public key as a secret.
            let forger = try TestIssuer(.hs256, secret: issuer.jwk)
            #expect(try verifier.logoutRefusal(forger.token(claims)) == .algorithm)
            let lenient = try issuer.verifier {
                $0.sendsLogoutTokens = true
                $0.algorithms = Set(JOSEAlgorithm.allCases)
            }
            #expect(try lenient.logoutRefusal(forger.token(claims)) == .algorithm)
        }
    }

    @Test("No token is both: an access token ends nothing, and a logout token lets nobody in, also where its type says nothing")
    func confusion() throws {
        #expect(verifier.refusal(try issuer.token()) == nil)
        #expect(try verifier.logoutRefusal(issuer.token()) == .claims)
        #expect(try verifier.logoutRefusal(issuer.token(TestIssuer.claims(["jti": #""a""#]))) == .claims)
        for type in ["", #","typ":"JWT""#, #","typ":"logout+jwt""#, #","typ":"at+jwt""#] {
            let token = try issuer.token(TestIssuer.logoutClaims(), header: header(type))
            #expect(verifier.refusal(token) == .claims, "\(type)")
        }
        #expect(try verifier.refusal(issuer.token(TestIssuer.claims(["events": #"{"https://other.test/event":{}}"#]))) == nil)
    }
}

extension TestIssuer {
    /// Claims of a logout token that pass.
    static func logoutClaims(_ changes: [String: String?] = [:]) -> String {
        let own = ["jti": #""logout-1""#, "events": #"{"http://schemas.openid.net/event/backchannel-logout":{}}"#] as [String: String?]
        return claims(own.merging(changes) { $1 })
    }
}

extension TokenVerifier {
    func logoutToken(_ token: [UInt8], now: Double = TestIssuer.now) throws(TokenRefusal) -> LogoutToken {
        switch token.withUnsafeBytes({ judgeLogout($0, now: now) }) {
        case .verified(let token): return token
        case .refused(let refusal, _): throw refusal
        }
    }

    /// Nil: verified.
    func logoutRefusal(_ token: [UInt8], now: Double = TestIssuer.now) -> TokenRefusal? {
        do throws(TokenRefusal) {
            _ = try logoutToken(token, now: now)
            return nil
        } catch {
            return error
        }
    }
}
