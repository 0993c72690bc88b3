// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import Tokens

@Suite("Key sets")
struct KeySetTests {
    let good: TestIssuer

    init() throws {
        good = try TestIssuer(.es256, keyID: "good")
    }

    /// The set of one key, and what was wrong with it.
    func problem(_ jwk: String, algorithms: Set<JOSEAlgorithm> = Set(JOSEAlgorithm.allCases)) throws -> KeyProblem? {
        do throws(KeyProblem) {
            _ = try KeySet(jwks: TestIssuer.keySet(Array(jwk.utf8)), algorithms: algorithms)
            return nil
        } catch {
            guard error == .noUsableKey(of: 1) else { return error }
        }
        let object = try JSONObject(parsing: Array(jwk.utf8))
        do throws(KeyProblem) {
            _ = try JSONWebKey.verificationKey(object, algorithms: algorithms)
            return nil
        } catch {
            return error
        }
    }

    /// A JWK with members replaced, or removed by nil.
    func jwk(_ issuer: TestIssuer, _ changes: [String: String?]) throws -> String {
        var members: [(String, String)] = []
        for member in try JSONObject(parsing: issuer.jwk).members where changes[member.name] == nil {
            var writer = JSONWriter()
            writer.value(member.value)
            members.append((member.name, String(decoding: writer.bytes, as: UTF8.self)))
        }
        for case (let name, let text?) in changes { members.append((name, text)) }
        return "{" + members.map { "\"\($0.0)\":\($0.1)" }.joined(separator: ",") + "}"
    }

    @Test(
        "What is no key set is an error",
        arguments: [
            ("", KeyProblem.notJSON), ("<html>", .notJSON), ("[]", .notAKeySet), ("{}", .notAKeySet), (#"{"keys":{}}"#, .notAKeySet),
            (#"{"keys":[]}"#, .noUsableKey(of: 0)), (#"{"keys":[1,null]}"#, .noUsableKey(of: 2)), (#"{"keys":[],"keys":[]}"#, .notJSON),
        ])
    func noKeySet(_ text: String, _ expected: KeyProblem) {
        #expect(throws: expected) { try KeySet(jwks: Array(text.utf8)) }
    }

    @Test("Keys for another use or algorithm are left out")
    func purpose() throws {
        for (changes, expected) in [
            (["use": #""enc""#], .forAnotherUse), (["use": "1"], .forAnotherUse), (["key_ops": #"["encrypt"]"#], .forAnotherUse),
            (["key_ops": "[]"], .forAnotherUse),
            (["key_ops": #""verify""#], .forAnotherUse), (["key_ops": #"["verify"]"#], nil), (["use": nil], nil), (["alg": nil], nil),
            (["alg": #""ES384""#], .forAnotherAlgorithm), (["alg": #""RS256""#], .forAnotherAlgorithm),
            (["alg": #""RSA-OAEP""#], .forAnotherAlgorithm),
            (["alg": #""HS256""#], .forAnotherAlgorithm), (["alg": #""none""#], .forAnotherAlgorithm), (["alg": "1"], .badMember("alg")),
            (["kid": "1"], .badMember("kid")),
            (["kid": nil], nil), (["kty": nil], .badMember("kty")), (["kty": #""XYZ""#], .unsupported), (["kty": #""ec""#], .unsupported),
            (["x5c": "[7]"], nil),
        ] as [([String: String?], KeyProblem?)] {
            #expect(try problem(jwk(good, changes)) == expected, "\(changes)")
        }
        #expect(try problem(jwk(good, [:]), algorithms: [.rs256]) == .notListed)
    }

    @Test("The name that RFC 9864 gives to Ed25519 is the algorithm of an EdDSA key")
    func fullySpecified() throws {
        let issuer = try TestIssuer(.eddsa)
        #expect(try problem(jwk(issuer, ["alg": #""Ed25519""#])) == nil)
        #expect(try problem(jwk(issuer, ["alg": #""Ed448""#])) == .forAnotherAlgorithm)
    }

    @Test("A private key is none that others should trust", arguments: [JOSEAlgorithm.es256, .rs256, .eddsa])
    func privateKeys(_ algorithm: JOSEAlgorithm) throws {
        let issuer = try TestIssuer(algorithm)
        for name in ["d", "p", "q", "dp", "dq", "qi", "oth"] { #expect(try problem(jwk(issuer, [name: #""AQAB""#])) == .privateKey) }
    }

    @Test("Points that are not of the curve are left out")
    func points() throws {
        let x = try #require(JSONObject(parsing: good.jwk)["x"]?.string.flatMap(Base64URL.decode))
        let zero = Base64URL.encode([UInt8](repeating: 0, count: 32)), most = Base64URL.encode([UInt8](repeating: 255, count: 32))
        for (changes, expected) in [
            (["x": "\"\(zero)\"", "y": "\"\(zero)\""], .badPoint), (["x": "\"\(most)\"", "y": "\"\(most)\""], .badPoint),
            (["y": "\"\(Base64URL.encode(x))\""], .badPoint),
            (["x": "\"\(Base64URL.encode([0] + x))\""], .badPoint), (["x": "\"\(Base64URL.encode(Array(x.dropFirst())))\""], .badPoint),
            (["x": #""""#], .badPoint),
            (["x": nil], .badMember("x")), (["x": "7"], .badMember("x")), (["x": #""A""#], .badMember("x")), (["x": #""AA==""#], .badMember("x")),
            (["crv": #""P-384""#, "alg": nil], .badPoint), (["crv": #""secp256k1""#], .unsupported), (["crv": nil], .unsupported),
        ] as [([String: String?], KeyProblem)] {
            #expect(try problem(jwk(good, changes)) == expected, "\(changes)")
        }
    }

    @Test("Ed25519 keys of small order or another size are left out, and so are other curves")
    func edwards() throws {
        let issuer = try TestIssuer(.eddsa)
        var points: [[UInt8]] = [[], [UInt8](repeating: 1, count: 31), [UInt8](repeating: 1, count: 33)]
        for first: UInt8 in [0, 1] { points += [[first] + [UInt8](repeating: 0, count: 31), [first] + [UInt8](repeating: 0, count: 30) + [0x80]] }
        for first: UInt8 in [0xEC, 0xED, 0xEE] {
            for last: UInt8 in [0x7F, 0xFF] { points.append([first] + [UInt8](repeating: 0xFF, count: 30) + [last]) }
        }
        for point in points { #expect(try problem(jwk(issuer, ["x": "\"\(Base64URL.encode(point))\""])) == .badPoint) }
        #expect(try problem(jwk(issuer, ["crv": #""X25519""#])) == .unsupported)
        #expect(try problem(jwk(issuer, ["crv": #""Ed448""#])) == .unsupported)
    }

    @Test("RSA keys need a modulus of 2048 to 8192 bits and an odd exponent of at least 3")
    func rsa() throws {
        let issuer = try TestIssuer(.rs256)
        let modulus = { (bits: Int, low: UInt8) in "\"\(Base64URL.encode([0x80] + [UInt8](repeating: 0, count: bits / 8 - 2) + [low]))\"" }
        for (changes, expected) in [
            (["n": modulus(1024, 1)], .weakRSA(bits: 1024)), (["n": modulus(2040, 1)], .weakRSA(bits: 2040)), (["n": modulus(2048, 1)], nil),
            (["n": modulus(8192, 1)], nil),
            (["n": modulus(8200, 1)], .hugeRSA(bits: 8200)), (["n": modulus(16384, 1)], .hugeRSA(bits: 16384)), (["n": modulus(2048, 2)], .badRSA),
            (["n": #""""#], .weakRSA(bits: 0)),
            (["n": #""AA""#], .weakRSA(bits: 0)), (["e": #""AQ""#], .badRSA), (["e": #""AAE""#], .badRSA), (["e": #""AA""#], .badRSA),
            (["e": #""""#], .badRSA), (["e": #""AQAA""#], .badRSA),
            (["e": #""Aw""#], nil), (["e": "\"\(Base64URL.encode([UInt8](repeating: 255, count: 9)))\""], .badRSA), (["e": nil], .badMember("e")),
        ] as [([String: String?], KeyProblem?)] {
            #expect(try problem(jwk(issuer, changes)) == expected, "\(changes)")
        }
    }

    @Test("Secrets need 32 bytes")
    func secrets() throws {
        #expect(throws: KeyProblem.shortSecret(bytes: 31)) { try KeySet(secret: [UInt8](repeating: 1, count: 31)) }
        #expect(throws: KeyProblem.shortSecret(bytes: 0)) { try KeySet(secret: []) }
        #expect(try KeySet(secret: [UInt8](repeating: 1, count: 32)).keys.map(\.algorithms) == [AlgorithmSet([.hs256, .hs384, .hs512])])
        #expect(try problem(jwk(TestIssuer(.hs512), ["k": #""AQAB""#])) == .shortSecret(bytes: 3))
        #expect(try problem(jwk(TestIssuer(.hs512), ["alg": #""A256GCM""#])) == .forAnotherAlgorithm)
    }

    @Test("Keys that cannot be used are left out with a warning, and do not spoil the others")
    func warnings() throws {
        let odd = [
            #"{"kty":"oct","k":"c2VjcmV0"}"#, #"{"kty":"XYZ","kid":"a\nb\u009bé\""}"#, #"{"kty":"EC","crv":"P-256","x":"AA","y":"AA","kid":"c"}"#,
            "7",
        ].map { Array($0.utf8) }
        let set = try KeySet(jwks: Array("{\"keys\":[".utf8) + Array((odd + [good.jwk]).joined(separator: [UInt8(ascii: ",")])) + Array("]}".utf8))
        #expect(
            set.warnings == [
                "key 1: has 6 bytes, a secret needs at least 32", #"key 2 (kid "a?b???"): is of a kind that is not supported"#,
                #"key 3 (kid "c"): is no valid point of its curve"#,
                "key 4: is damaged or of an unknown kind",
            ])
        #expect(try good.verifier { $0.keys = set }.refusal(good.token()) == nil)
    }

    @Test("A set has a limit")
    func limit() throws {
        let secrets = (0..<200).map { Array(#"{"kty":"oct","kid":"\#($0)","k":"\#(Base64URL.encode([UInt8](repeating: 7, count: 32)))"}"#.utf8) }
        let set = try KeySet(jwks: Array("{\"keys\":[".utf8) + Array(secrets.joined(separator: [UInt8(ascii: ",")])) + Array("]}".utf8))
        #expect(set.keys.count == 128)
        #expect(set.warnings == ["keys from 129 on: a set has at most 128"])
    }

    @Test("A kid chooses the key, byte for byte; an unknown one falls back to none")
    func keyID() throws {
        let verifier = try good.verifier()
        for kid in ["unknown", "", "Good", "good ", "../good", #"good\u0000"#, String(repeating: "x", count: 2000)] {
            #expect(try verifier.refusal(good.token(header: #"{"alg":"ES256","kid":"\#(kid)"}"#)) == .keyUnknown)
        }
        #expect(try verifier.refusal(good.token(header: #"{"alg":"ES256","kid":"g\u006fod"}"#)) == nil)
    }

    @Test("Without kid every key that fits is tried")
    func withoutKeyID() throws {
        let others = try [TestIssuer(.eddsa), TestIssuer(.es256, keyID: "other"), TestIssuer(.es384)]
        let set = try KeySet(jwks: TestIssuer.keySet(others[0].jwk, others[1].jwk, others[2].jwk, good.jwk))
        let verifier = try good.verifier { $0.keys = set }
        #expect(try verifier.refusal(good.token(header: #"{"alg":"ES256"}"#)) == nil)
        #expect(try verifier.refusal(TestIssuer(.es256).token(header: #"{"alg":"ES256"}"#)) == .signature)
        #expect(try good.verifier { $0.keys = try? others[0].keySet() }.refusal(good.token(header: #"{"alg":"ES256"}"#)) == .algorithm)
    }

    @Test("Keys that share a kid are all tried")
    func sharedKeyID() throws {
        let twin = try TestIssuer(.es256, keyID: "good"), cousin = try TestIssuer(.eddsa, keyID: "good")
        let set = try KeySet(jwks: TestIssuer.keySet(cousin.jwk, twin.jwk, good.jwk))
        let verifier = try good.verifier {
            $0.keys = set
            $0.algorithms = [.es256, .eddsa]
        }
        for issuer in [good, twin, cousin] { #expect(try verifier.refusal(issuer.token()) == nil) }
        #expect(try verifier.refusal(TestIssuer(.es256, keyID: "good").token()) == .signature)
    }

    @Test("With a secret or public key there is nothing to choose, and kid is ignored")
    func ignoredKeyID() throws {
        let issuer = try TestIssuer(.hs256)
        let verifier = try issuer.verifier {
            $0.keys = try? KeySet(secret: Array(repeating: 7, count: 64))
            $0.ignoresKeyID = true
        }
        #expect(try verifier.refusal(issuer.token(header: #"{"alg":"HS256","kid":"whatever"}"#)) == nil)
        #expect(try verifier.refusal(issuer.token(header: #"{"alg":"HS256","kid":7}"#)) == .malformed)
    }

    @Test("Sets are equal when they have the same keys, however they were written")
    func equality() throws {
        let blank = Array(String(decoding: good.jwk, as: UTF8.self).replacing(",", with: " ,\n").utf8)
        #expect(try KeySet(jwks: TestIssuer.keySet(blank)) == good.keySet())
        #expect(try KeySet(jwks: TestIssuer.keySet(Array(jwk(good, ["kid": #""new""#]).utf8))) != good.keySet())
        #expect(try TestIssuer(.es256, keyID: "good").keySet() != good.keySet())
        #expect(try KeySet(secret: [UInt8](repeating: 1, count: 32)) != KeySet(secret: [UInt8](repeating: 2, count: 32)))
    }
}
