// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import Tokens

@Suite("Signing keys and key files")
struct SigningKeyTests {
    static let algorithms: [JOSEAlgorithm] = [.eddsa, .es256, .es384, .es512, .rs256]

    func signingProblem(_ text: String) -> KeyProblem? {
        do throws(KeyProblem) {
            _ = try SigningKey(pkcs8PEM: Array(text.utf8))
            return nil
        } catch {
            return error
        }
    }

    func publicProblem(_ text: String) -> KeyProblem? {
        do throws(KeyProblem) {
            _ = try KeySet(publicKeyPEM: Array(text.utf8))
            return nil
        } catch {
            return error
        }
    }

    @Test("What a generated key signs is verified by its published half, also after its file was read again", arguments: algorithms)
    func roundTrip(_ algorithm: JOSEAlgorithm) throws {
        let (key, pem) = try SigningKey.generate(algorithm)
        let again = try SigningKey(pkcs8PEM: pem)
        #expect(String(decoding: pem, as: UTF8.self).hasPrefix("-----BEGIN PRIVATE KEY-----\n"))
        #expect((key.algorithm, key.keyID) == (again.algorithm, again.keyID) && key.algorithm == algorithm && key.publicJWK == again.publicJWK)
        for keys in try [KeySet(signingKeys: [key]), KeySet(jwks: SigningKey.publicKeySet([again]))] {
            let verifier = TokenVerifier(issuers: [
                TrustedIssuer(name: "own", issuer: "https://idp.test", audiences: ["api"], algorithms: [algorithm], keys: keys)
            ])
            let token = try again.sign(type: "at+jwt", claims: Array(TestIssuer.claims().utf8))
            #expect(try verifier.verify(token, now: TestIssuer.now).user == "alice")
        }
        #expect(try KeySet(signingKeys: [key]) == KeySet(jwks: SigningKey.publicKeySet([key])))
    }

    @Test("The published half is a JWK for signatures, named by its thumbprint, without any private member", arguments: algorithms)
    func publicJWK(_ algorithm: JOSEAlgorithm) throws {
        let key = try SigningKey.generate(algorithm).key
        let jwk = try JSONObject(parsing: key.publicJWK)
        #expect((jwk["use"]?.string, jwk["alg"]?.string, jwk["kid"]?.string) == ("sig", algorithm.rawValue, key.keyID))
        #expect(key.keyID.utf8.count == 43)
        let names = jwk.members.map(\.name)
        #expect(Set(names).isSubset(of: ["kty", "crv", "x", "y", "n", "e", "use", "alg", "kid"]))
    }

    @Test("A token's header has algorithm, type and key")
    func header() throws {
        let key = try SigningKey.generate(.eddsa).key
        let token = String(decoding: try key.sign(claims: Array("{}".utf8)), as: UTF8.self)
        let header = try JSONObject(parsing: try #require(Base64URL.decode(String(token.prefix { $0 != "." }))))
        #expect(header == (try JSONObject(parsing: Array(#"{"alg":"EdDSA","typ":"JWT","kid":"\#(key.keyID)"}"#.utf8))))
    }

    @Test("A code is the same after the key was read again, and another with another key or message", arguments: algorithms)
    func mac(_ algorithm: JOSEAlgorithm) throws {
        let (key, pem) = try SigningKey.generate(algorithm)
        let code = key.mac([1, 2, 3])
        #expect(code.count == 32)
        #expect(try SigningKey(pkcs8PEM: pem).mac([1, 2, 3]) == code)
        #expect(key.mac([1, 2, 4]) != code && key.mac([]) != code)
        #expect(try SigningKey.generate(.eddsa).key.mac([1, 2, 3]) != code)
    }

    @Test("Algorithms that the gateway does not sign with have no keys", arguments: [JOSEAlgorithm.hs256, .rs512, .ps256])
    func unsupported(_ algorithm: JOSEAlgorithm) {
        #expect(throws: KeyProblem.unsupported) { try SigningKey.generate(algorithm) }
    }

    @Test("Files that are no usable signing key say what they are instead")
    func refusedFiles() throws {
        let good = String(decoding: try SigningKey.generate(.eddsa).pem, as: UTF8.self)
        let weak = String(decoding: try PEM.text(of: KeyGenerator.rsaKey(bits: 1024)), as: UTF8.self)
        for (text, expected) in [
            ("", .notPEM), ("secret", .notPEM), ("-----BEGIN PRIVATE KEY-----\n", .notPEM), (good + good, .severalKeys),
            (KeyFiles.publicKey, .privateKeyNeeded),
            (KeyFiles.pkcs1PublicKey, .privateKeyNeeded), (KeyFiles.certificate, .notPKCS8), (KeyFiles.encrypted, .encrypted),
            (KeyFiles.sec1, .notPKCS8),
            (KeyFiles.encryptedSEC1, .encrypted), (KeyFiles.x25519, .unsupported), (KeyFiles.secp256k1, .unsupported), (weak, .weakRSA(bits: 1024)),
            (KeyFiles.mixedHalves, .inconsistent), ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", .damaged),
            (good.replacing("-----END", with: "AAAA\n-----END"), .damaged),
        ] as [(String, KeyProblem)] {
            #expect(signingProblem(text) == expected, "\(expected)")
        }
        #expect(signingProblem("a note\n" + good + "another\n") == nil)
        #expect(signingProblem(good.replacing("\n", with: "\r\n")) == nil)
    }

    @Test("A public key file serves like a key set", arguments: [JOSEAlgorithm.es256, .rs256, .eddsa])
    func publicKeyFile(_ algorithm: JOSEAlgorithm) throws {
        #expect(publicProblem(KeyFiles.publicKey) == nil)
        #expect(publicProblem(KeyFiles.pkcs1PublicKey) == nil)
        #expect(
            try KeySet(publicKeyPEM: Array(KeyFiles.pkcs1PublicKey.utf8)).keys.map(\.algorithms) == [
                AlgorithmSet([.rs256, .rs384, .rs512, .ps256, .ps384, .ps512])
            ])
        #expect(throws: KeyProblem.notListed) { try KeySet(publicKeyPEM: Array(KeyFiles.publicKey.utf8), algorithms: [.rs256]) }
    }

    @Test("Files that are no usable public key say what they are instead")
    func refusedPublicFiles() throws {
        let good = String(decoding: try SigningKey.generate(.eddsa).pem, as: UTF8.self)
        for (text, expected) in [
            ("", .notPEM), (good, .publicKeyNeeded), (KeyFiles.encrypted, .publicKeyNeeded), (KeyFiles.sec1, .publicKeyNeeded),
            (KeyFiles.certificate, .certificate),
            (KeyFiles.publicKey + "\n" + KeyFiles.publicKey, .severalKeys),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", .damaged),
        ] as [(String, KeyProblem)] {
            #expect(publicProblem(text) == expected, "\(expected)")
        }
    }

    @Test("Messages about keys hold nothing of the key")
    func messages() throws {
        let problems: [KeyProblem] = [
            .notPEM, .damaged, .weakRSA(bits: 1024), .shortSecret(bytes: 3), .noUsableKey(of: 1), .noUsableKey(of: 2), .badMember("x"),
            .noUsableKey(of: 0),
        ]
        #expect(
            problems.map(\.description)[2...] == [
                "is an RSA key of 1024 bits, at least 2048 are needed", "has 3 bytes, a secret needs at least 32",
                "has 1 key, none of which can be used",
                "has 2 keys, none of which can be used", "has no usable member x", "has no key",
            ])
    }
}
