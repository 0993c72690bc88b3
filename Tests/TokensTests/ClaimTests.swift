// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import Tokens

@Suite("Headers and claims")
struct ClaimTests {
    let issuer: TestIssuer
    let verifier: TokenVerifier

    init() throws {
        issuer = try TestIssuer(.hs256)
        verifier = try issuer.verifier()
    }

    func refusal(_ changes: [String: String?]) throws -> TokenRefusal? {
        try verifier.refusal(issuer.token(TestIssuer.claims(changes)))
    }

    @Test("A good token says who it is for, until when, and all its claims")
    func good() throws {
        let token = try verifier.verify(
            issuer.token(TestIssuer.claims(["nbf": "1799999000.5", "jti": #""id""#, "level": "1.50"])), now: TestIssuer.now)
        #expect((token.issuer, token.user, token.session, token.claims["jti"]?.string) == (0, "alice", "session-1", "id"))
        #expect((token.expiresAt, token.issuedAt, token.notBefore) == (1_800_000_300, 1_799_999_990, 1_799_999_000.5))
        #expect(token.acceptUntil == 1_800_000_300)
        #expect(token.claims["level"]?.scalarText == "1.50")
    }

    @Test(
        "The user must be a name",
        arguments: [
            #""""#, "null", "7", "true", #"["alice"]"#, #"{"a":1}"#, #""a\nb""#, #""a\u0000b""#, #""\u007f""#, #""a\u0085b""#, #"" a""#, #""a ""#,
            #""a\u00a0""#,
        ])
    func user(_ text: String) throws {
        #expect(try refusal(["sub": text]) == .claims)
    }

    @Test("User and session may have 256 bytes and not one more, in any script")
    func names() throws {
        for name in ["sub", "sid"] {
            #expect(try refusal([name: "\"" + String(repeating: "é", count: 128) + "\""]) == nil)
            #expect(try refusal([name: "\"" + String(repeating: "é", count: 128) + "x\""]) == .claims)
            #expect(try refusal([name: nil]) == .claims)
            #expect(try refusal([name: #""王小明 o'brien a/b""#]) == nil)
        }
        #expect(try refusal(["sid": #"" s ""#]) == nil)
    }

    @Test("A session that is there must be one, also where none is required", arguments: ["null", #""""#, "7", #"["s"]"#, #""a\tb""#])
    func session(_ text: String) throws {
        let lenient = try issuer.verifier { $0.requiresSession = false }
        let token = try issuer.token(TestIssuer.claims(["sid": text]))
        #expect(verifier.refusal(token) == .claims)
        #expect(lenient.refusal(token) == .claims)
        #expect(try lenient.verify(issuer.token(TestIssuer.claims(["sid": nil])), now: TestIssuer.now).session == nil)
    }

    @Test("User and session can come from other claims")
    func otherClaims() throws {
        let verifier = try issuer.verifier {
            $0.userClaim = "email"
            $0.sessionClaim = "session"
        }
        let token = try verifier.verify(issuer.token(TestIssuer.claims(["email": #""a@b""#, "session": #""7""#])), now: TestIssuer.now)
        #expect((token.user, token.session) == ("a@b", "7"))
        #expect(try verifier.refusal(issuer.token()) == .claims)
    }

    @Test(
        "exp is required and must be a finite number", arguments: [nil, "null", #""1800000300""#, "true", "[1800000300]", "{}", "1e9999", "-1e9999"])
    func expMustBeANumber(_ text: String?) throws {
        #expect(try refusal(["exp": text]) == .claims)
    }

    @Test("nbf and iat must be finite numbers where they are", arguments: ["null", #""soon""#, "true", "[1]", "1e400", "-1e400"])
    func otherTimes(_ text: String) throws {
        #expect(try refusal(["nbf": text]) == .claims)
        #expect(try refusal(["iat": text]) == .claims)
        #expect(try refusal(["nbf": nil, "iat": nil]) == nil)
    }

    @Test(
        "Odd but finite times are what they say",
        arguments: [
            ("-1", TokenRefusal.expired), ("-1e300", .expired), ("1e-300", .expired), ("0", .expired), ("1e300", nil), ("9223372036854775808", nil),
            ("1800000000.5", nil), ("1.8000000005e9", nil),
        ])
    func oddTimes(_ text: String, _ refusal: TokenRefusal?) throws {
        #expect(try self.refusal(["exp": text]) == refusal)
    }

    @Test("A time of issue that no calendar has becomes the nearest second that fits")
    func oddIssue() throws {
        for (text, second) in [("-1e300", Int64.min), ("-0.5", -1), ("1799999990.9", 1_799_999_990)] {
            #expect(try verifier.verify(issuer.token(TestIssuer.claims(["iat": text])), now: TestIssuer.now).issuedAtSecond == second)
        }
        let patient = try issuer.verifier { $0.leeway = 1e301 }
        #expect(try patient.verify(issuer.token(TestIssuer.claims(["iat": "1e300"])), now: TestIssuer.now).issuedAtSecond == .max)
    }

    @Test("Leeway forgives both ways, and exp has its own")
    func leeway() throws {
        let verifier = try issuer.verifier {
            $0.leeway = 30
            $0.expiryLeeway = 10
        }
        for (changes, expected) in [
            (["exp": "1799999991"], nil), (["exp": "1799999990"], .expired), (["nbf": "1800000030"], nil), (["nbf": "1800000031"], .notYetValid),
            (["iat": "1800000030"], nil), (["iat": "1800000031"], .notYetValid),
        ] as [([String: String?], TokenRefusal?)] {
            #expect(try verifier.refusal(issuer.token(TestIssuer.claims(changes))) == expected)
        }
    }

    @Test(
        "The issuer must be there and exact",
        arguments: [
            nil, "null", "7", #""""#, #""https://idp.test/""#, #""HTTPS://IDP.TEST""#, #"["https://idp.test"]"#, #""https://idp.test\u0000""#,
        ])
    func issuerName(_ text: String?) throws {
        #expect(try refusal(["iss": text]) == .issuer)
    }

    @Test("Names that only Unicode holds for equal are different")
    func canonicalEquivalence() throws {
        let verifier = try issuer.verifier {
            $0.issuer = "caf\u{E9}"
            $0.audiences = ["\u{E9}"]
        }
        let composed = ["iss": "\"caf\u{E9}\"", "aud": "\"\u{E9}\""], decomposed = "e\u{301}"
        #expect(try verifier.refusal(issuer.token(TestIssuer.claims(composed))) == nil)
        #expect(try verifier.refusal(issuer.token(TestIssuer.claims(["iss": "\"caf\(decomposed)\"", "aud": "\"\u{E9}\""]))) == .issuer)
        #expect(try verifier.refusal(issuer.token(TestIssuer.claims(["iss": "\"caf\u{E9}\"", "aud": "\"\(decomposed)\""]))) == .audience)
    }

    @Test("One of our audiences in aud is enough", arguments: [#""api""#, #"["api"]"#, #"["other","api"]"#])
    func audience(_ text: String) throws {
        #expect(try refusal(["aud": text]) == nil)
    }

    @Test(
        "Any other aud is refused, unless any will do",
        arguments: [
            nil, "null", "7", #""other""#, #""ap""#, #""api2""#, #""API""#, #""api other""#, "[]", #"["other"]"#, #"[["api"]]"#, #"["api",7]"#,
            #"{"api":true}"#,
        ])
    func otherAudience(_ text: String?) throws {
        #expect(try refusal(["aud": text]) == .audience)
        let any = try issuer.verifier { $0.anyAudience = true }
        #expect(try any.refusal(issuer.token(TestIssuer.claims(["aud": text]))) == nil)
    }

    @Test(
        "typ may be absent, JWT or at+jwt, in any case",
        arguments: [#""JWT""#, #""jwt""#, #""at+jwt""#, #""AT+JWT""#, #""application/at+jwt""#, #""Application/JWT""#])
    func goodType(_ typ: String) throws {
        #expect(try verifier.refusal(issuer.token(header: #"{"alg":"HS256","typ":\#(typ)}"#)) == nil)
        #expect(try verifier.refusal(issuer.token(header: #"{"alg":"HS256"}"#)) == nil)
    }

    @Test(
        "Tokens of other types are refused",
        arguments: [
            #""logout+jwt""#, #""LOGOUT+JWT""#, #""application/logout+jwt""#, #""assertion+jwt""#, #""dpop+jwt""#, #""""#, "1", "null", #"["JWT"]"#,
            #""application/application/jwt""#,
        ])
    func otherType(_ typ: String) throws {
        #expect(try verifier.refusal(issuer.token(header: #"{"alg":"HS256","typ":\#(typ)}"#)) == .claims)
    }

    @Test("Critical extensions are refused, whatever they are", arguments: [#"["exp"]"#, #"["b64"]"#, "[]", "null", #""x""#])
    func crit(_ value: String) throws {
        #expect(try verifier.refusal(issuer.token(header: #"{"alg":"HS256","crit":\#(value),"b64":false}"#)) == .malformed)
    }

    @Test("Keys that the token brings along or points to are ignored")
    func ownKeys() throws {
        let stranger = try TestIssuer(.es256)
        let verifier = try TestIssuer(.es256).verifier()
        let jwk = String(decoding: stranger.jwk, as: UTF8.self)
        for member in [#""jwk":\#(jwk)"#, #""jku":"https://evil.test/keys""#, #""x5u":"https://evil.test/x""#, #""x5c":["AAAA"]"#] {
            #expect(try verifier.refusal(stranger.token(header: #"{"alg":"ES256","kid":"key",\#(member)}"#)) == .signature)
        }
    }

    @Test("The refusal names the issuer whose keys may have changed")
    func whoseKeys() throws {
        let other = try TestIssuer(.es256).trusted { $0.issuer = "https://other.test" }
        let verifier = TokenVerifier(issuers: [other, try issuer.trusted()])
        let token = try issuer.token(header: #"{"alg":"HS256","kid":"new"}"#)
        guard case .refused(.keyUnknown, issuer: 1) = token.withUnsafeBytes({ verifier.judge($0, now: TestIssuer.now) }) else {
            Issue.record("not refused for the key")
            return
        }
        guard case .refused(.malformed, issuer: nil) = [UInt8]().withUnsafeBytes({ verifier.judge($0, now: TestIssuer.now) }) else {
            Issue.record("an empty token names nobody")
            return
        }
    }

    @Test("One issuer cannot sign for another")
    func twoIssuers() throws {
        let other = try TestIssuer(.hs256, secret: Array(repeating: 9, count: 32))
        let verifier = TokenVerifier(issuers: [try issuer.trusted(), try other.trusted { $0.issuer = "https://other.test" }])
        #expect(try verifier.refusal(other.token()) == .signature)
        #expect(try verifier.verify(other.token(TestIssuer.claims(["iss": #""https://other.test""#])), now: TestIssuer.now).issuer == 1)
    }

    @Test("Without keys yet, a token is nobody's fault but ours")
    func noKeys() throws {
        let verifier = try issuer.verifier { $0.keys = nil }
        #expect(try verifier.refusal(issuer.token()) == .keysUnavailable)
    }

    @Test("What values are estimated to occupy grows with them")
    func size() throws {
        func size(_ claims: [String: String] = [:]) throws -> Int {
            try JSONObject(parsing: Array(TestIssuer.claims(claims).utf8)).estimatedByteCount
        }
        let small = try size()
        #expect((200..<2000).contains(small))
        #expect(try (3000..<3500).contains(size(["note": "\"" + String(repeating: "x", count: 3000) + "\""]) - small))
        let list = "[" + String(repeating: "[],", count: 1000) + "0]"
        #expect(try size(["list": list]) > 1000 * (MemoryLayout<JSONValue>.stride + 32))
    }

    @Test("One verifier serves many threads at a time", arguments: JOSEAlgorithm.allCases)
    func threads(_ algorithm: JOSEAlgorithm) async throws {
        let issuer = try TestIssuer(algorithm)
        let verifier = try issuer.verifier()
        let good = try issuer.token()
        let forged =
            try issuer.token(TestIssuer.claims(["sub": #""root""#])).prefix { $0 != UInt8(ascii: ".") }
            + good.drop { $0 != UInt8(ascii: ".") }.dropLast(8)
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    for _ in 0..<50 {
                        #expect(verifier.refusal(good) == nil)
                        #expect(verifier.refusal(Array(forged)) != nil)
                    }
                }
            }
        }
    }
}
