// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import COpenSSL

/// A secret for HMAC (RFC 2104) with the three hash functions, each prepared once.
final class HMACKey: @unchecked Sendable {
    // @unchecked: the prepared contexts are never used themselves after `init`, only duplicated, which reads them.
    private let prepared: [OpaquePointer]

    /// Nil when libcrypto cannot do it. The secret may be of any length; how weak it may be is decided where it comes in.
    init?(secret: [UInt8]) {
        var contexts: [OpaquePointer] = []
        for hash in HashFunction.allCases {
            guard let context = HMACKey.prepare(secret: secret, hash: hash) else {
                for context in contexts { EVP_MAC_CTX_free(context) }
                ERR_clear_error()
                return nil
            }
            contexts.append(context)
        }
        prepared = contexts
    }

    deinit {
        for context in prepared { EVP_MAC_CTX_free(context) }
    }

    /// Whether `code` is the code of `bytes`; takes the same time wherever they differ.
    func isValid(_ code: UnsafeRawBufferPointer, over bytes: UnsafeRawBufferPointer, hash: HashFunction) -> Bool {
        guard code.count == hash.size, let expected = self.code(over: bytes, hash: hash) else { return false }
        return expected.withUnsafeBytes { CRYPTO_memcmp($0.baseAddress, code.baseAddress, hash.size) == 0 }
    }

    /// Nil when libcrypto has failed.
    func code(over bytes: UnsafeRawBufferPointer, hash: HashFunction) -> [UInt8]? {
        guard let context = EVP_MAC_CTX_dup(template(hash)) else { return nil }
        defer { EVP_MAC_CTX_free(context) }
        var done = EVP_MAC_update(context, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count) == 1
        let code = [UInt8](unsafeUninitializedCapacity: hash.size) { output, count in
            var written = 0
            done = done && EVP_MAC_final(context, output.baseAddress, &written, hash.size) == 1 && written == hash.size
            count = done ? hash.size : 0
        }
        if !done { ERR_clear_error() }
        return done ? code : nil
    }

    private func template(_ hash: HashFunction) -> OpaquePointer {
        switch hash {
        case .sha256: prepared[0]
        case .sha384: prepared[1]
        case .sha512: prepared[2]
        }
    }

    private static func prepare(secret: [UInt8], hash: HashFunction) -> OpaquePointer? {
        guard let algorithm = EVP_MAC_fetch(nil, "HMAC", nil) else { return nil }
        defer { EVP_MAC_free(algorithm) }
        guard let context = EVP_MAC_CTX_new(algorithm) else { return nil }
        // An empty secret must not be a null pointer, which EVP_MAC_init reads as "the key that was set before".
        let key = secret.isEmpty ? [0] : secret
        guard portcullis_hmac_init(context, hash.name, key, secret.count) == 1 else {
            EVP_MAC_CTX_free(context)
            return nil
        }
        return context
    }
}
