// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// A compact JWS (RFC 7515 §7.1) taken apart, of which nothing may be believed yet. It never leaves this module: what comes out is a
/// `VerifiedToken`, a `LogoutToken` or a refusal.
struct UnverifiedToken {
    /// Nil: absent, no string, or none that we know.
    let algorithm: JOSEAlgorithm?
    /// Nil: absent.
    let keyID: String?
    let type: TokenType
    let claims: JSONObject
    let signature: [UInt8]
    /// What was signed: a part of the caller's bytes, valid as long as those are.
    let signingInput: UnsafeRawBufferPointer

    /// Throws `malformed` alone.
    init(_ token: UnsafeRawBufferPointer) throws(TokenRefusal) {
        guard let firstDot = token.firstIndex(of: UInt8(ascii: ".")),
            let secondDot = token[(firstDot + 1)...].firstIndex(of: UInt8(ascii: "."))
        else { throw .malformed }
        // A third dot is outside the alphabet of the signature.
        guard let headerBytes = Base64URL.decode(UnsafeRawBufferPointer(rebasing: token[..<firstDot])),
            let claimBytes = Base64URL.decode(UnsafeRawBufferPointer(rebasing: token[(firstDot + 1)..<secondDot])),
            let signature = Base64URL.decode(UnsafeRawBufferPointer(rebasing: token[(secondDot + 1)...]))
        else { throw .malformed }
        let header: JSONObject
        do {
            header = try JSONObject(parsing: headerBytes)
            claims = try JSONObject(parsing: claimBytes)
        } catch {
            throw .malformed
        }
        // RFC 7515 §4.1.11: we understand no extension, so none may be critical. All other members that we do not know, and those
        // that bring or point to keys (jwk, jku, x5c, x5u), are ignored.
        guard header["crit"] == nil else { throw .malformed }
        if let value = header["kid"] {
            guard let text = value.string else { throw .malformed }
            keyID = text
        } else {
            keyID = nil
        }
        algorithm = header["alg"]?.string.flatMap(JOSEAlgorithm.init(rawValue:))
        type = TokenType(header["typ"])
        self.signature = signature
        signingInput = UnsafeRawBufferPointer(rebasing: token[..<secondDot])
    }
}
