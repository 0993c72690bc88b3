// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import COpenSSL

/// Hashes, codes and random bytes for everyone who has no libcrypto of his own.
package enum Digest {
    package static func sha256(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        var digest: [UInt8] = []
        let done = HashFunction.sha256.withDigest(of: bytes) { result in
            digest = Array(result)
            return true
        }
        precondition(done, "libcrypto cannot compute SHA-256")
        return digest
    }

    package static func sha256(_ bytes: [UInt8]) -> [UInt8] {
        bytes.withUnsafeBytes { sha256($0) }
    }

    /// 32 bytes (RFC 2104).
    package static func hmacSHA256(key: [UInt8], _ data: [UInt8]) -> [UInt8] {
        guard let code = HMACKey(secret: key).flatMap({ key in data.withUnsafeBytes { key.code(over: $0, hash: .sha256) } }) else {
            preconditionFailure("libcrypto cannot compute HMAC-SHA-256")
        }
        return code
    }

    /// From the kernel's generator, which cannot fail.
    package static func randomBytes(_ count: Int) -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 7)
        while bytes.count < count {
            withUnsafeBytes(of: generator.next()) { bytes.append(contentsOf: $0) }
        }
        bytes.removeLast(bytes.count - count)
        return bytes
    }

    /// Takes the same time wherever they differ; their lengths are no secret.
    package static func constantTimeEquals(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        left.count == right.count && CRYPTO_memcmp(left, right, left.count) == 0
    }
}
