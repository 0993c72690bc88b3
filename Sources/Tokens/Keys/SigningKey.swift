// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import COpenSSL

/// A private key of the gateway: signs its tokens, and proves where its refresh tokens come from. Usable from every thread; an RSA
/// signature takes about a millisecond, the others a tenth of that.
package struct SigningKey: Sendable {
    /// RS256 for RSA, ES256/384/512 by the curve, EdDSA for Ed25519.
    package let algorithm: JOSEAlgorithm
    /// The thumbprint of the public half (RFC 7638).
    package let keyID: String
    /// The public half with `use`, `alg` and `kid`: one JSON object.
    package let publicJWK: [UInt8]
    let verificationKey: VerificationKey
    private let signer: Signer
    private let macKey: HMACKey

    /// Of an unencrypted PKCS#8 block: Ed25519, P-256, P-384, P-521, or RSA of at least 2048 bits.
    package init(pkcs8PEM: [UInt8]) throws(KeyProblem) {
        try self.init(try PEM.privateKey(pkcs8PEM))
    }

    private init(_ key: KeyHandle) throws(KeyProblem) {
        let components = try PEM.components(of: key)
        let algorithm: JOSEAlgorithm =
            switch components {
            case .rsa: .rs256
            case .elliptic(let curve, _, _): curve.algorithm
            case .ed25519: .eddsa
            }
        let keyID = components.thumbprint
        verificationKey = try VerificationKey(components, keyID: keyID, algorithms: [algorithm])
        guard let signer = Signer(key, components), let macKey = SigningKey.macKey(of: key, components) else { throw .failed }
        self.algorithm = algorithm
        self.keyID = keyID
        self.signer = signer
        self.macKey = macKey
        publicJWK = JSONWriter.object { writer in
            components.writeRequiredMembers(&writer)
            writer.member("use", "sig")
            writer.member("alg", algorithm.rawValue)
            writer.member("kid", keyID)
        }
        try checkHalves()
    }

    /// A file can hold a public half that is another key's; its tokens would be refused by everyone.
    private func checkHalves() throws(KeyProblem) {
        let probe = Array("probe".utf8)
        guard let signature = rawSignature(of: probe) else { throw .inconsistent }
        let isValid = signature.withUnsafeBytes { signature in
            probe.withUnsafeBytes { verificationKey.isValid(signature, over: $0, algorithm: algorithm) }
        }
        guard isValid else { throw .inconsistent }
    }

    /// A new key and its PKCS#8 PEM file.
    ///
    /// - Parameter algorithm: EdDSA, ES256, ES384, ES512 or RS256 (3072 bits); `unsupported` for all others.
    package static func generate(_ algorithm: JOSEAlgorithm) throws(KeyProblem) -> (key: SigningKey, pem: [UInt8]) {
        let handle = try KeyGenerator.privateKey(for: algorithm)
        return (try SigningKey(handle), try PEM.text(of: handle))
    }

    /// A JWK Set of the public halves.
    package static func publicKeySet(_ keys: [SigningKey]) -> [UInt8] {
        JSONWriter.object { writer in
            writer.name("keys")
            writer.beginArray()
            for key in keys { writer.raw(key.publicJWK) }
            writer.endArray()
        }
    }

    /// A compact JWS with the header `alg`, `typ` and `kid`.
    ///
    /// - Parameter claims: one JSON object, signed as it is.
    package func sign(type: String = "JWT", claims: [UInt8]) throws(KeyProblem) -> [UInt8] {
        let header = JSONWriter.object { writer in
            writer.member("alg", algorithm.rawValue)
            writer.member("typ", type)
            writer.member("kid", keyID)
        }
        return try sign(header: header, claims: claims)
    }

    /// A compact JWS of exactly these bytes; the header's `alg` is the caller's to keep true.
    package func sign(header: [UInt8], claims: [UInt8]) throws(KeyProblem) -> [UInt8] {
        var token = Base64URL.encodeToBytes(header)
        token.append(UInt8(ascii: "."))
        token.append(contentsOf: Base64URL.encodeToBytes(claims))
        guard let signature = rawSignature(of: token) else { throw .failed }
        token.append(UInt8(ascii: "."))
        token.append(contentsOf: Base64URL.encodeToBytes(signature))
        return token
    }

    /// As JOSE spells it; nil when libcrypto has failed.
    func rawSignature(of input: [UInt8]) -> [UInt8]? {
        signer.signature(of: input)
    }

    /// HMAC-SHA-256 under a key that is derived from the private half: the same after a restart, and on every gateway that has
    /// the same file. 32 bytes.
    package func mac(_ bytes: [UInt8]) -> [UInt8] {
        guard let code = bytes.withUnsafeBytes({ macKey.code(over: $0, hash: .sha256) }) else {
            preconditionFailure("libcrypto cannot compute HMAC-SHA-256")
        }
        return code
    }

    /// Derived from the private number alone, so that another spelling of the same file makes no difference.
    private static func macKey(of key: KeyHandle, _ components: PublicKeyComponents) -> HMACKey? {
        let secret: [UInt8]?
        switch components {
        case .rsa:
            secret = BigNumber.parameter(OSSL_PKEY_PARAM_RSA_D, of: key)
        case .elliptic(let curve, _, _):
            secret = BigNumber.parameter(OSSL_PKEY_PARAM_PRIV_KEY, of: key, size: curve.coordinateSize)
        case .ed25519:
            var bytes = [UInt8](repeating: 0, count: 32)
            var count = bytes.count
            secret = EVP_PKEY_get_raw_private_key(key.pointer, &bytes, &count) == 1 && count == bytes.count ? bytes : nil
        }
        guard let secret, !secret.isEmpty else { return nil }
        return HMACKey(secret: Digest.hmacSHA256(key: secret, Array("portcullis message authentication key 1".utf8)))
    }
}

/// Makes the raw signatures of JOSE.
private enum Signer: Sendable {
    case rsa(PreparedOperation)
    case elliptic(PreparedOperation, EllipticCurve)
    case ed25519(KeyHandle)

    init?(_ key: KeyHandle, _ components: PublicKeyComponents) {
        switch components {
        case .rsa:
            guard let operation = PreparedOperation(.sign, key: key, padding: .pkcs1, hash: .sha256) else { return nil }
            self = .rsa(operation)
        case .elliptic(let curve, _, _):
            guard let operation = PreparedOperation(.sign, key: key, padding: .none, hash: curve.hash) else { return nil }
            self = .elliptic(operation, curve)
        case .ed25519:
            self = .ed25519(key)
        }
    }

    func signature(of input: [UInt8]) -> [UInt8]? {
        switch self {
        case .rsa(let operation):
            return Signer.signature(operation, .sha256, input)
        case .elliptic(let operation, let curve):
            return Signer.signature(operation, curve.hash, input).flatMap { ECDSASignature.raw(der: $0, coordinateSize: curve.coordinateSize) }
        case .ed25519(let key):
            guard let context = EVP_MD_CTX_new() else { return nil }
            defer { EVP_MD_CTX_free(context) }
            var signature = [UInt8](repeating: 0, count: 64)
            var size = signature.count
            guard EVP_DigestSignInit(context, nil, nil, nil, key.pointer) == 1,
                EVP_DigestSign(context, &signature, &size, input, input.count) == 1, size == signature.count
            else {
                ERR_clear_error()
                return nil
            }
            return signature
        }
    }

    private static func signature(_ operation: PreparedOperation, _ hash: HashFunction, _ input: [UInt8]) -> [UInt8]? {
        var signature: [UInt8]?
        _ = input.withUnsafeBytes { input in
            hash.withDigest(of: input) { digest in
                signature = operation.signature(of: digest)
                return signature != nil
            }
        }
        return signature
    }
}
