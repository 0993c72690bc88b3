// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import COpenSSL

/// Owns one reference to an `EVP_PKEY`, public or private.
final class KeyHandle: @unchecked Sendable {
    // @unchecked: a key is not changed once it is here. OpenSSL's operations on a key from several threads at a time take the key's
    // own lock for what they cache, and count references atomically.
    let pointer: OpaquePointer

    /// Takes over the caller's reference.
    init(owning pointer: OpaquePointer) {
        self.pointer = pointer
    }

    deinit {
        EVP_PKEY_free(pointer)
    }

    /// A public key of its numbers; nil when OpenSSL refuses them (a point that is not on its curve).
    static func publicKey(_ components: PublicKeyComponents) -> KeyHandle? {
        defer { ERR_clear_error() }
        switch components {
        case .rsa(let modulus, let exponent):
            return portcullis_rsa_public_key(modulus, modulus.count, exponent, exponent.count).map(KeyHandle.init(owning:))
        case .elliptic(let curve, let x, let y):
            let point: [UInt8] = [4] + x + y
            let key = portcullis_ec_public_key(curve.groupName, point, point.count).map(KeyHandle.init(owning:))
            return key.flatMap { $0.isValidPublicKey ? $0 : nil }
        case .ed25519(let x):
            return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nil, x, x.count).map(KeyHandle.init(owning:))
        }
    }

    /// Full public key validation (SP 800-56A §5.6.2.3.3): on the curve, not infinity, of the right order.
    private var isValidPublicKey: Bool {
        guard let context = EVP_PKEY_CTX_new_from_pkey(nil, pointer, nil) else { return false }
        defer { EVP_PKEY_CTX_free(context) }
        return EVP_PKEY_public_check(context) == 1
    }
}
