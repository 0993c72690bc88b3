// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import COpenSSL

/// A key that can verify. The four kinds share no door: a public key has no way to become an HMAC secret, and an algorithm of
/// another kind finds nothing to call (RFC 8725 §3.1).
enum KeyMaterial: Sendable {
    case secret(HMACKey)
    case rsa(RSAPublicKey)
    case elliptic(EllipticPublicKey)
    case ed25519(Ed25519PublicKey)

    /// Whether the signature holds over exactly these bytes. A scheme of another kind than the key's never does.
    func isValid(_ signature: UnsafeRawBufferPointer, over input: UnsafeRawBufferPointer, scheme: JOSEAlgorithm.Scheme) -> Bool {
        switch self {
        case .secret(let key):
            guard case .hmac(let hash) = scheme else { return false }
            return key.isValid(signature, over: input, hash: hash)
        case .rsa(let key):
            switch scheme {
            case .pkcs1(let hash): return key.isValid(signature, over: input, padding: .pkcs1, hash: hash)
            case .pss(let hash): return key.isValid(signature, over: input, padding: .pss, hash: hash)
            case .hmac, .ecdsa, .ed25519: return false
            }
        case .elliptic(let key):
            guard case .ecdsa(let curve) = scheme, curve == key.curve else { return false }
            return key.isValid(signature, over: input)
        case .ed25519(let key):
            guard case .ed25519 = scheme else { return false }
            return key.isValid(signature, over: input)
        }
    }

    init(_ components: PublicKeyComponents) throws(KeyProblem) {
        try components.validate()
        switch components {
        case .rsa(let modulus, _):
            guard let handle = KeyHandle.publicKey(components) else { throw .badRSA }
            guard let key = RSAPublicKey(handle, modulusBytes: modulus.count) else { throw .failed }
            self = .rsa(key)
        case .elliptic(let curve, _, _):
            guard let handle = KeyHandle.publicKey(components) else { throw .badPoint }
            guard let key = EllipticPublicKey(handle, curve: curve) else { throw .failed }
            self = .elliptic(key)
        case .ed25519:
            guard let handle = KeyHandle.publicKey(components) else { throw .badPoint }
            self = .ed25519(Ed25519PublicKey(handle))
        }
    }
}

/// RSA with both paddings and all hash functions, prepared.
final class RSAPublicKey: Sendable {
    private let pkcs1: ByHash
    private let pss: ByHash
    private let modulusBytes: Int

    fileprivate init?(_ key: KeyHandle, modulusBytes: Int) {
        guard let pkcs1 = ByHash(key, .pkcs1), let pss = ByHash(key, .pss) else { return nil }
        self.pkcs1 = pkcs1
        self.pss = pss
        self.modulusBytes = modulusBytes
    }

    /// `padding` is one of RSA's.
    fileprivate func isValid(
        _ signature: UnsafeRawBufferPointer, over input: UnsafeRawBufferPointer, padding: PreparedOperation.Padding, hash: HashFunction
    ) -> Bool {
        // RFC 8017 §8.2.2: exactly as long as the modulus, so that nobody can write it in two ways.
        guard signature.count == modulusBytes else { return false }
        let operation: PreparedOperation
        switch padding {
        case .pkcs1: operation = pkcs1[hash]
        case .pss: operation = pss[hash]
        case .none: return false
        }
        return hash.withDigest(of: input) { operation.isValid(signature, digest: $0) }
    }

    private struct ByHash {
        private let sha256, sha384, sha512: PreparedOperation

        init?(_ key: KeyHandle, _ padding: PreparedOperation.Padding) {
            guard let sha256 = PreparedOperation(.verify, key: key, padding: padding, hash: .sha256),
                let sha384 = PreparedOperation(.verify, key: key, padding: padding, hash: .sha384),
                let sha512 = PreparedOperation(.verify, key: key, padding: padding, hash: .sha512)
            else { return nil }
            self.sha256 = sha256
            self.sha384 = sha384
            self.sha512 = sha512
        }

        subscript(hash: HashFunction) -> PreparedOperation {
            switch hash {
            case .sha256: sha256
            case .sha384: sha384
            case .sha512: sha512
            }
        }
    }
}

/// A point of one curve, which decides the hash function.
final class EllipticPublicKey: Sendable {
    let curve: EllipticCurve
    private let operation: PreparedOperation

    fileprivate init?(_ key: KeyHandle, curve: EllipticCurve) {
        guard let operation = PreparedOperation(.verify, key: key, padding: .none, hash: curve.hash) else { return nil }
        self.curve = curve
        self.operation = operation
    }

    fileprivate func isValid(_ signature: UnsafeRawBufferPointer, over input: UnsafeRawBufferPointer) -> Bool {
        guard let der = ECDSASignature.der(raw: signature, coordinateSize: curve.coordinateSize) else { return false }
        return curve.hash.withDigest(of: input) { digest in
            der.withUnsafeBytes { operation.isValid($0, digest: digest) }
        }
    }
}

/// Ed25519 (RFC 8032 §5.1.7) hashes by itself, so nothing but the key can be prepared.
final class Ed25519PublicKey: Sendable {
    private let key: KeyHandle

    fileprivate init(_ key: KeyHandle) {
        self.key = key
    }

    fileprivate func isValid(_ signature: UnsafeRawBufferPointer, over input: UnsafeRawBufferPointer) -> Bool {
        guard signature.count == 64, let context = EVP_MD_CTX_new() else { return false }
        defer { EVP_MD_CTX_free(context) }
        guard EVP_DigestVerifyInit(context, nil, nil, nil, key.pointer) == 1,
            EVP_DigestVerify(
                context, signature.baseAddress?.assumingMemoryBound(to: UInt8.self), signature.count,
                input.baseAddress?.assumingMemoryBound(to: UInt8.self), input.count) == 1
        else {
            ERR_clear_error()
            return false
        }
        return true
    }
}
