// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import Tokens

/// Signs whatever a test wants, with every algorithm: an identity provider, or somebody who would like to be one.
struct TestIssuer: Sendable {
    let algorithm: JOSEAlgorithm
    let keyID: String
    /// The public JWK, or the secret one of an HS* algorithm.
    let jwk: [UInt8]
    private let signer: TestSigner

    private enum TestSigner: Sendable {
        case secret(HMACKey, HashFunction)
        case digest(PreparedOperation, HashFunction, EllipticCurve?)
        case gateway(SigningKey)
    }

    /// One RSA key for all: making them is slow.
    static let rsa = Result { try KeyGenerator.rsaKey(bits: 2048) }

    init(_ algorithm: JOSEAlgorithm, keyID: String = "key", secret: [UInt8] = Array(repeating: 7, count: 64)) throws {
        self.algorithm = algorithm
        self.keyID = keyID
        var required = JSONWriter()
        switch algorithm.scheme {
        case .hmac(let hash):
            signer = .secret(try #require(HMACKey(secret: secret)), hash)
            required.member("kty", "oct")
            required.member("k", Base64URL.encode(secret))
        case .pkcs1(let hash), .pss(let hash):
            let key = try TestIssuer.rsa.get()
            var padding = PreparedOperation.Padding.pkcs1
            if case .pss = algorithm.scheme { padding = .pss }
            signer = .digest(try #require(PreparedOperation(.sign, key: key, padding: padding, hash: hash)), hash, nil)
            try PEM.components(of: key).writeRequiredMembers(&required)
        case .ecdsa(let curve):
            let key = try KeyGenerator.privateKey(for: algorithm)
            signer = .digest(try #require(PreparedOperation(.sign, key: key, padding: .none, hash: curve.hash)), curve.hash, curve)
            try PEM.components(of: key).writeRequiredMembers(&required)
        case .ed25519:
            let key = try SigningKey.generate(.eddsa).key
            signer = .gateway(key)
            guard case .object(let object) = try JSONValue(parsing: key.publicJWK) else { throw KeyProblem.damaged }
            for name in ["kty", "crv", "x"] { required.member(name, object[name] ?? .null) }
        }
        jwk = Array("{\"alg\":\"\(algorithm.rawValue)\",\"use\":\"sig\",\"kid\":\"\(keyID)\",".utf8) + required.bytes + Array("}".utf8)
    }

    /// The raw signature of JOSE.
    func signature(of input: [UInt8]) throws -> [UInt8] {
        switch signer {
        case .secret(let key, let hash):
            return try #require(input.withUnsafeBytes { key.code(over: $0, hash: hash) })
        case .digest(let operation, let hash, let curve):
            var signature: [UInt8]?
            _ = input.withUnsafeBytes { input in
                hash.withDigest(of: input) { digest in
                    signature = operation.signature(of: digest)
                    return true
                }
            }
            let made = try #require(signature)
            guard let curve else { return made }
            return try #require(ECDSASignature.raw(der: made, coordinateSize: curve.coordinateSize))
        case .gateway(let key):
            return try #require(key.rawSignature(of: input))
        }
    }

    static let now = 1_800_000_000.0

    /// Claims that pass; `changes` replaces the JSON text of members, nil removes one.
    static func claims(_ changes: [String: String?] = [:]) -> String {
        var members: [String: String] = [
            "iss": #""https://idp.test""#, "aud": #""api""#, "sub": #""alice""#, "sid": #""session-1""#, "iat": "1799999990", "exp": "1800000300",
        ]
        for (name, text) in changes { members[name] = text }
        return "{" + members.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\($0.value)" }.joined(separator: ",") + "}"
    }

    func token(_ claims: String = claims(), header: String? = nil) throws -> [UInt8] {
        let header = header ?? #"{"alg":"\#(algorithm.rawValue)","typ":"JWT","kid":"\#(keyID)"}"#
        return try token(header: Array(header.utf8), claims: Array(claims.utf8))
    }

    func token(header: [UInt8], claims: [UInt8]) throws -> [UInt8] {
        let input = Base64URL.encodeToBytes(header) + [UInt8(ascii: ".")] + Base64URL.encodeToBytes(claims)
        return input + [UInt8(ascii: ".")] + Base64URL.encodeToBytes(try signature(of: input))
    }

    func keySet() throws -> KeySet {
        try KeySet(jwks: TestIssuer.keySet(jwk))
    }

    static func keySet(_ jwks: [UInt8]...) -> [UInt8] {
        Array("{\"keys\":[".utf8) + Array(jwks.joined(separator: [UInt8(ascii: ",")])) + Array("]}".utf8)
    }

    /// How a verifier trusts this issuer.
    func trusted(_ change: (inout TrustedIssuer) -> Void = { _ in }) throws -> TrustedIssuer {
        var issuer = TrustedIssuer(
            name: "idp", issuer: "https://idp.test", audiences: ["api"], algorithms: [algorithm], keys: try keySet(), leeway: 0, expiryLeeway: 0)
        change(&issuer)
        return issuer
    }

    func verifier(_ change: (inout TrustedIssuer) -> Void = { _ in }) throws -> TokenVerifier {
        TokenVerifier(issuers: [try trusted(change)])
    }
}

extension TokenVerifier {
    /// Nil: verified.
    func refusal(_ token: [UInt8], now: Double = TestIssuer.now) -> TokenRefusal? {
        do throws(TokenRefusal) {
            _ = try verify(token, now: now)
            return nil
        } catch {
            return error
        }
    }
}
