// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc

/// A compact JWS (RFC 7515 §7.1) taken apart, of which nothing may be believed yet. It never leaves this module: what comes out is a
/// `VerifiedToken`, a `LogoutToken` or a refusal.
struct UnverifiedToken: ~Copyable {
    let header: TokenHeader
    let claims: Claims
    let signature: [UInt8]
    /// The first part as it came, and what was signed: parts of the caller's bytes, valid as long as those are.
    let encodedHeader, signingInput: UnsafeRawBufferPointer

    /// Throws `malformed` alone.
    init(_ token: UnsafeRawBufferPointer, _ headers: HeaderMemory?) throws(TokenRefusal) {
        guard let firstDot = UnverifiedToken.dot(in: token, from: 0), let secondDot = UnverifiedToken.dot(in: token, from: firstDot + 1) else {
            throw .malformed
        }
        let encodedHeader = UnsafeRawBufferPointer(rebasing: token[..<firstDot])
        let header = if let known = headers?.find(encodedHeader) { known } else { try TokenHeader(encoded: encodedHeader) }
        // A third dot is outside the alphabet of the signature.
        guard let claimBytes = Base64URL.decode(UnsafeRawBufferPointer(rebasing: token[(firstDot + 1)..<secondDot])),
            let signature = Base64URL.decode(UnsafeRawBufferPointer(rebasing: token[(secondDot + 1)...])),
            let claims = try? Claims(parsing: claimBytes)
        else { throw .malformed }
        self.header = header
        self.claims = claims
        self.signature = signature
        self.encodedHeader = encodedHeader
        signingInput = UnsafeRawBufferPointer(rebasing: token[..<secondDot])
    }

    private static func dot(in token: UnsafeRawBufferPointer, from start: Int) -> Int? {
        guard let base = token.baseAddress, let found = memchr(base + start, Int32(UInt8(ascii: ".")), token.count - start) else { return nil }
        return UnsafeRawPointer(found) - base
    }
}
