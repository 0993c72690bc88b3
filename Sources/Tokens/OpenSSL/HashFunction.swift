// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import COpenSSL

/// The hash functions of JOSE's algorithms.
enum HashFunction: CaseIterable {
    case sha256, sha384, sha512

    /// Bytes of a digest.
    var size: Int {
        switch self {
        case .sha256: 32
        case .sha384: 48
        case .sha512: 64
        }
    }

    /// OpenSSL's name.
    var name: String {
        switch self {
        case .sha256: "SHA256"
        case .sha384: "SHA384"
        case .sha512: "SHA512"
        }
    }

    /// The fetched `EVP_MD`. `EVP_sha256()` and its sisters look the implementation up anew in every operation, under a lock.
    var digest: OpaquePointer? {
        switch self {
        case .sha256: FetchedDigest.sha256.pointer
        case .sha384: FetchedDigest.sha384.pointer
        case .sha512: FetchedDigest.sha512.pointer
        }
    }

    /// The digest, given to `body` on the stack. False from here means that libcrypto has failed, or what `body` said.
    func withDigest(of bytes: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Bool) -> Bool {
        withUnsafeTemporaryAllocation(byteCount: Int(EVP_MAX_MD_SIZE), alignment: 8) { output in
            guard let start = output.baseAddress else { return false }
            var written: UInt32 = 0
            guard EVP_Digest(bytes.baseAddress, bytes.count, start.assumingMemoryBound(to: UInt8.self), &written, digest, nil) == 1 else {
                ERR_clear_error()
                return false
            }
            return body(UnsafeRawBufferPointer(start: start, count: Int(written)))
        }
    }
}

/// An implementation that is fetched once and kept for the life of the process.
private struct FetchedDigest: @unchecked Sendable {
    // @unchecked: an EVP_MD never changes after it has been fetched, and its reference count is atomic.
    let pointer: OpaquePointer?

    static let sha256 = FetchedDigest(pointer: EVP_MD_fetch(nil, HashFunction.sha256.name, nil))
    static let sha384 = FetchedDigest(pointer: EVP_MD_fetch(nil, HashFunction.sha384.name, nil))
    static let sha512 = FetchedDigest(pointer: EVP_MD_fetch(nil, HashFunction.sha512.name, nil))
}
