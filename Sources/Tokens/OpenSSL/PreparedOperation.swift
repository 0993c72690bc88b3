// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import COpenSSL

/// One key, ready to sign or verify digests with one padding and hash function.
///
/// Preparing costs OpenSSL 3 several look-ups of implementations; a copy of what is prepared costs none of them.
final class PreparedOperation: @unchecked Sendable {
    // @unchecked: the context is never used itself after `init`, only duplicated, which reads it and counts references atomically.
    private let context: OpaquePointer

    enum Purpose {
        case sign, verify
    }

    enum Padding {
        /// RSASSA-PKCS1-v1_5 (RFC 8017 §8.2).
        case pkcs1
        /// RSASSA-PSS with MGF1 of the same hash function and a salt of its size (RFC 7518 §3.5).
        case pss
        /// ECDSA has none.
        case none
    }

    /// Nil when OpenSSL refuses: the key cannot do it.
    init?(_ purpose: Purpose, key: KeyHandle, padding: Padding, hash: HashFunction) {
        guard let context = EVP_PKEY_CTX_new_from_pkey(nil, key.pointer, nil) else { return nil }
        guard PreparedOperation.prepare(context, purpose, padding, hash) else {
            EVP_PKEY_CTX_free(context)
            ERR_clear_error()
            return nil
        }
        self.context = context
    }

    deinit {
        EVP_PKEY_CTX_free(context)
    }

    func isValid(_ signature: UnsafeRawBufferPointer, digest: UnsafeRawBufferPointer) -> Bool {
        guard let copy = EVP_PKEY_CTX_dup(context) else { return false }
        defer { EVP_PKEY_CTX_free(copy) }
        let outcome = EVP_PKEY_verify(
            copy, signature.baseAddress?.assumingMemoryBound(to: UInt8.self), signature.count,
            digest.baseAddress?.assumingMemoryBound(to: UInt8.self), digest.count)
        guard outcome == 1 else {
            ERR_clear_error()
            return false
        }
        return true
    }

    /// Nil when OpenSSL has failed.
    func signature(of digest: UnsafeRawBufferPointer) -> [UInt8]? {
        guard let copy = EVP_PKEY_CTX_dup(context) else { return nil }
        defer { EVP_PKEY_CTX_free(copy) }
        let input = digest.baseAddress?.assumingMemoryBound(to: UInt8.self)
        var size = 0
        guard EVP_PKEY_sign(copy, nil, &size, input, digest.count) == 1 else {
            ERR_clear_error()
            return nil
        }
        var signature = [UInt8](repeating: 0, count: size)
        guard EVP_PKEY_sign(copy, &signature, &size, input, digest.count) == 1 else {
            ERR_clear_error()
            return nil
        }
        signature.removeLast(signature.count - size)
        return signature
    }

    private static func prepare(_ context: OpaquePointer, _ purpose: Purpose, _ padding: Padding, _ hash: HashFunction) -> Bool {
        let begun =
            switch purpose {
            case .sign: EVP_PKEY_sign_init(context)
            case .verify: EVP_PKEY_verify_init(context)
            }
        guard begun == 1 else { return false }
        switch padding {
        case .pkcs1:
            guard EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1 else { return false }
        case .pss:
            guard EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 else { return false }
        case .none:
            break
        }
        guard EVP_PKEY_CTX_set_signature_md(context, hash.digest) == 1 else { return false }
        guard case .pss = padding else { return true }
        return EVP_PKEY_CTX_set_rsa_mgf1_md(context, hash.digest) == 1
            && EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1
    }
}
