// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import COpenSSL

/// Makes new private keys.
enum KeyGenerator {
    /// Bits of a new RSA key: good beyond 2030 (NIST SP 800-57 part 1, table 2).
    private static let rsaBits: Int32 = 3072

    static func privateKey(for algorithm: JOSEAlgorithm) throws(KeyProblem) -> KeyHandle {
        defer { ERR_clear_error() }
        switch algorithm.scheme {
        case .ed25519:
            return try generate("ED25519") { _ in true }
        case .ecdsa(let curve):
            return try generate("EC") { EVP_PKEY_CTX_set_group_name($0, curve.groupName) == 1 }
        case .pkcs1(.sha256):
            return try rsaKey(bits: rsaBits)
        case .pkcs1, .pss, .hmac:
            throw .unsupported
        }
    }

    static func rsaKey(bits: Int32) throws(KeyProblem) -> KeyHandle {
        try generate("RSA") { EVP_PKEY_CTX_set_rsa_keygen_bits($0, bits) == 1 }
    }

    private static func generate(_ type: String, _ configure: (OpaquePointer) -> Bool) throws(KeyProblem) -> KeyHandle {
        guard let context = EVP_PKEY_CTX_new_from_name(nil, type, nil) else { throw .failed }
        defer { EVP_PKEY_CTX_free(context) }
        var key: OpaquePointer?
        guard EVP_PKEY_keygen_init(context) == 1, configure(context), EVP_PKEY_generate(context, &key) == 1, let key else { throw .failed }
        return KeyHandle(owning: key)
    }
}
