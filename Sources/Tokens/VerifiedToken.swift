// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// A token whose signature and claims have been checked: the one way to an identity. Only the verifier can make one; it never changes.
package final class VerifiedToken: Sendable {
    /// Index into the verifier's issuers.
    package let issuer: Int
    /// See `IdentifierRules`.
    package let user: String
    /// Nil only where the issuer requires none.
    package let session: String?
    package let algorithm: JOSEAlgorithm
    /// `exp`, Unix seconds: finite, but as great as a Double can be.
    package let expiresAt: Double
    /// `exp` and the leeway: the token counts before this moment, whenever it is used.
    package let acceptUntil: Double
    /// `iat`, Unix seconds.
    package let issuedAt: Double?
    /// `nbf`, Unix seconds.
    package let notBefore: Double?
    /// `jti`; nil when it is absent or no string.
    package let tokenID: String?
    /// All claims as they were signed.
    package let claims: JSONObject

    /// Checks the claims of a token that its issuer has signed (RFC 7519 §4.1, RFC 8725 §3.8 to §3.11).
    init(checking token: borrowing AuthenticToken, now: Double) throws(TokenRefusal) {
        let issuer = token.issuer
        let claims = token.claims
        guard token.hasAcceptableType else { throw .claims }
        guard let expiresAt = try VerifiedToken.time("exp", of: claims) else { throw .claims }
        issuedAt = try VerifiedToken.time("iat", of: claims)
        notBefore = try VerifiedToken.time("nbf", of: claims)
        guard issuer.anyAudience || VerifiedToken.isMeant(claims["aud"], for: issuer.audiences) else { throw .audience }
        acceptUntil = expiresAt + issuer.expiryLeeway
        guard now < acceptUntil else { throw .expired }
        for moment in [notBefore, issuedAt] {
            if let moment, moment > now + issuer.leeway { throw .notYetValid }
        }
        guard let user = claims[issuer.userClaim]?.string, IdentifierRules.isUser(user) else { throw .claims }
        if let value = claims[issuer.sessionClaim] {
            guard let session = value.string, IdentifierRules.isSession(session) else { throw .claims }
            self.session = session
        } else {
            guard !issuer.requiresSession else { throw .claims }
            session = nil
        }
        self.issuer = token.issuerIndex
        self.user = user
        algorithm = token.algorithm
        self.expiresAt = expiresAt
        self.claims = claims
        tokenID = claims["jti"]?.string
    }

    /// Whether the token still counts; to be asked on every use of a remembered one.
    package func isAccepted(at now: Double) -> Bool {
        now < acceptUntil
    }

    /// Roughly what the token occupies, in bytes: for those who remember tokens and must bound how much. Walks over all claims.
    package var estimatedByteCount: Int {
        // The object itself, and names whose text may lie outside of it.
        256 + user.utf8.count + (session?.utf8.count ?? 0) + claims.estimatedByteCount
    }

    /// `iat` rounded down; a time that no calendar has is the nearest that fits.
    package var issuedAtSecond: Int64? {
        issuedAt.map { Int64(exactly: $0.rounded(.down)) ?? ($0 < 0 ? .min : .max) }
    }

    /// Nil when absent; `claims` for what is no finite number.
    private static func time(_ name: String, of claims: JSONObject) throws(TokenRefusal) -> Double? {
        guard let claim = claims[name] else { return nil }
        guard let value = claim.number?.value else { throw .claims }
        return value
    }

    /// RFC 7519 §4.1.3: a string or an array of strings, of which one is ours.
    private static func isMeant(_ claim: JSONValue?, for audiences: [String]) -> Bool {
        switch claim {
        case .string(let text):
            return isOne(text, of: audiences)
        case .array(let elements):
            return elements.allSatisfy { $0.string != nil } && elements.contains { $0.string.map { isOne($0, of: audiences) } ?? false }
        case .null, .boolean, .number, .object, nil:
            return false
        }
    }

    private static func isOne(_ text: String, of audiences: [String]) -> Bool {
        audiences.contains { $0.isIdentical(to: text) }
    }
}
