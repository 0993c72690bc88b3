// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import Tokens

@Suite("Algorithms and keys")
struct AlgorithmTests {
    @Test("A listed algorithm is accepted, and a changed signature or payload is not", arguments: JOSEAlgorithm.allCases)
    func accepts(_ algorithm: JOSEAlgorithm) throws {
        let issuer = try TestIssuer(algorithm)
        let verifier = try issuer.verifier()
        let token = try issuer.token()
        let verified = try verifier.verify(token, now: TestIssuer.now)
        #expect((verified.user, verified.session) == ("alice", "session-1"))
        let start = try #require(token.lastIndex(of: UInt8(ascii: "."))) + 1
        for position in [start, start + 11, start + 30] {
            var changed = token
            changed[position] = changed[position] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
            #expect(verifier.refusal(changed) == .signature)
        }
        let other = try issuer.token(TestIssuer.claims(["sub": #""root""#]))
        let grafted = try #require(other.lastIndex(of: UInt8(ascii: ".")))
        #expect(verifier.refusal(Array(other[...grafted]) + token[start...]) == .signature)
    }

    @Test("The signature of another key of the same kind is refused", arguments: [JOSEAlgorithm.hs256, .es256, .es384, .es512, .eddsa])
    func otherKey(_ algorithm: JOSEAlgorithm) throws {
        let stranger = try TestIssuer(algorithm, secret: Array(repeating: 8, count: 64))
        #expect(try TestIssuer(algorithm).verifier().refusal(stranger.token()) == .signature)
    }

    @Test("An algorithm that is not listed is refused, also where the key could do it", arguments: JOSEAlgorithm.allCases)
    func unlisted(_ algorithm: JOSEAlgorithm) throws {
        let issuer = try TestIssuer(algorithm)
        let verifier = try issuer.verifier { $0.algorithms = Set(JOSEAlgorithm.allCases).subtracting([algorithm]) }
        #expect(try verifier.refusal(issuer.token()) == .algorithm)
    }

    @Test("A key is never used with an algorithm of another kind, whoever asks", arguments: JOSEAlgorithm.allCases)
    func confusion(_ keyAlgorithm: JOSEAlgorithm) throws {
        let issuer = try TestIssuer(keyAlgorithm)
        let verifier = try issuer.verifier { $0.algorithms = Set(JOSEAlgorithm.allCases) }
        for other in JOSEAlgorithm.allCases where other != keyAlgorithm {
            let forger = try TestIssuer(other)
            #expect(try verifier.refusal(forger.token()) == .algorithm, "with kid, \(other)")
            #expect(try verifier.refusal(forger.token(header: #"{"alg":"\#(other.rawValue)"}"#)) == .algorithm, "without kid, \(other)")
        }
    }

    @Test("What is publicly known of a key is no HMAC secret", arguments: [JOSEAlgorithm.rs256, .es256, .eddsa])
    func publicKnowledge(_ algorithm: JOSEAlgorithm) throws {
        let issuer = try TestIssuer(algorithm)
        let verifier = try issuer.verifier { $0.algorithms.formUnion([.hs256]) }
        let jwk = try JSONObject(parsing: issuer.jwk)
        var secrets: [[UInt8]] = [[], issuer.jwk]
        for name in ["n", "x", "y"] {
            guard let text = jwk[name]?.string else { continue }
            secrets += [Array(text.utf8), try #require(Base64URL.decode(text))]
        }
        for secret in secrets {
            let forger = try TestIssuer(.hs256, secret: secret)
            #expect(try verifier.refusal(forger.token()) == .algorithm)
        }
    }

    @Test(
        "none and unknown algorithms are refused, signed or not",
        arguments: [
            #""none""#, #""None""#, #""NONE""#, #""""#, #""hs256""#, #""HS256 ""#, #""HS256\u0000""#, #""ES256K""#, #""dir""#, "null", "256", "true",
            "[\"HS256\"]", "{}",
        ])
    func unknown(_ name: String) throws {
        let issuer = try TestIssuer(.hs256)
        let verifier = try issuer.verifier { $0.algorithms = Set(JOSEAlgorithm.allCases) }
        let signed = try issuer.token(header: #"{"alg":\#(name)}"#)
        #expect(verifier.refusal(signed) == .algorithm)
        let dot = try #require(signed.lastIndex(of: UInt8(ascii: ".")))
        #expect(verifier.refusal(Array(signed[...dot])) == .algorithm)
        #expect(try verifier.refusal(issuer.token(header: #"{"typ":"JWT"}"#)) == .algorithm)
    }

    @Test("Degenerate ECDSA signatures are refused", arguments: [JOSEAlgorithm.es256, .es384, .es512])
    func degenerate(_ algorithm: JOSEAlgorithm) throws {
        let issuer = try TestIssuer(algorithm)
        let verifier = try issuer.verifier()
        let token = try issuer.token()
        let dot = try #require(token.lastIndex(of: UInt8(ascii: ".")))
        let good = try #require(Base64URL.decode(Array(token[(dot + 1)...])))
        let size = good.count / 2
        let zero = [UInt8](repeating: 0, count: size)
        let one: [UInt8] = zero.dropLast() + [1]
        let forged: [[UInt8]] = try [
            [], [0], zero, zero + zero, zero + one, one + zero, one + one, zero + Array(good[size...]), Array(good[..<size]) + zero,
            [UInt8](repeating: 0xFF, count: 2 * size), Array(good.dropLast()), good + [0], [0] + good,
            #require(good.withUnsafeBytes { ECDSASignature.der(raw: $0, coordinateSize: size) }),
        ]
        for signature in forged {
            #expect(verifier.refusal(Array(token[...dot]) + Base64URL.encodeToBytes(signature)) == .signature)
        }
    }

    @Test("Signatures that are too short, too long or empty are refused", arguments: JOSEAlgorithm.allCases)
    func length(_ algorithm: JOSEAlgorithm) throws {
        let issuer = try TestIssuer(algorithm)
        let verifier = try issuer.verifier()
        let token = try issuer.token()
        let dot = try #require(token.lastIndex(of: UInt8(ascii: ".")))
        let good = try #require(Base64URL.decode(Array(token[(dot + 1)...])))
        for signature in [[], [0], Array(good.dropLast()), good + [0], [0] + good, good + good] {
            #expect(verifier.refusal(Array(token[...dot]) + Base64URL.encodeToBytes(signature)) == .signature)
        }
    }

    @Test("DER and raw ECDSA signatures carry the same numbers, whatever zeros they begin with")
    func spellings() throws {
        for size in [32, 48, 66] {
            for (r, s) in [(1, 1), (0x7F, 0x80), (0xFF, 0x01)] as [(UInt8, UInt8)] {
                for zeros in [0, 1, size - 1] {
                    let number = { (byte: UInt8) in [UInt8](repeating: 0, count: zeros) + [UInt8](repeating: byte, count: size - zeros) }
                    let raw = number(r) + number(s)
                    let der = try #require(raw.withUnsafeBytes { ECDSASignature.der(raw: $0, coordinateSize: size) })
                    #expect(ECDSASignature.raw(der: der, coordinateSize: size) == raw)
                }
            }
        }
        for broken in [
            [], [0x30], [0x30, 0x81], [0x30, 2, 2, 0], [0x30, 3, 2, 1, 1], [0x30, 6, 2, 1, 1, 2, 2, 1], [0x30, 7, 2, 1, 1, 2, 1, 1, 0],
        ] as [[UInt8]] {
            #expect(ECDSASignature.raw(der: broken, coordinateSize: 32) == nil)
        }
    }
}
