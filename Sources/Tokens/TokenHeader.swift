// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// What counts of a token's header (RFC 7515 §4.1). Nothing of it may be believed before the signature has been checked.
struct TokenHeader {
    /// Nil: absent, no string, or none that we know.
    let algorithm: JOSEAlgorithm?
    /// Nil: absent.
    let keyID: String?
    let type: TokenType

    /// Of the token's first part as it is encoded. Throws `malformed` alone.
    init(encoded: UnsafeRawBufferPointer) throws(TokenRefusal) {
        guard let bytes = Base64URL.decode(encoded) else { throw .malformed }
        let header: JSONObject
        do {
            header = try JSONObject(parsing: bytes)
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
    }
}

/// What headers say that have been read before, by their exact bytes: an issuer writes the same one into all of its tokens, until it has another key.
///
/// Only headers of tokens whose signature held are remembered, so nobody else can push them out. It spares the reading alone: what a header says is
/// judged for each token anew, by the issuers and keys of that moment. Confined to one thread.
package final class HeaderMemory {
    /// Issuers use one or two keys at a time.
    private static let limit = 8
    /// Longer ones, in bytes as encoded, are read each time.
    private static let byteLimit = 512

    private var remembered: [(encoded: [UInt8], header: TokenHeader)] = []
    /// Whose place the next one gets.
    private var oldest = 0

    package init() {}

    func find(_ encoded: UnsafeRawBufferPointer) -> TokenHeader? {
        for index in remembered.indices where remembered[index].encoded.isSame(as: encoded) {
            return remembered[index].header
        }
        return nil
    }

    /// Does nothing for one that is there already.
    func remember(_ encoded: UnsafeRawBufferPointer, _ header: TokenHeader) {
        guard encoded.count <= Self.byteLimit, find(encoded) == nil else { return }
        if remembered.count < Self.limit {
            remembered.append((Array(encoded), header))
        } else {
            remembered[oldest] = (Array(encoded), header)
            oldest = (oldest + 1) % Self.limit
        }
    }
}

@available(*, unavailable)
extension HeaderMemory: Sendable {}
