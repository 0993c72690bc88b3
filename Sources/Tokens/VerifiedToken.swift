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
    /// `exp`, Unix seconds: finite, but as great as a Double can be.
    package let expiresAt: Double
    /// `exp` and the leeway: the token counts before this moment, whenever it is used.
    package let acceptUntil: Double
    /// `iat`, Unix seconds.
    package let issuedAt: Double?
    /// `nbf`, Unix seconds.
    package let notBefore: Double?
    /// All claims as they were signed.
    package let claims: Claims

    /// Checks the claims of a token that its issuer has signed (RFC 7519 §4.1, RFC 8725 §3.8 to §3.11).
    init(checking token: borrowing AuthenticToken, now: Double) throws(TokenRefusal) {
        let trust = token.trust
        // A logout token whose `typ` says nothing is no access token either: it has user and session, but was given to nobody to be let in with.
        guard token.type == .unsaid || token.type == .accessToken, !LogoutToken.isMeant(by: token.claims) else { throw .claims }
        guard let expiresAt = try token.time(.expiry) else { throw .claims }
        issuedAt = try token.time(.issuedAt)
        notBefore = try token.time(.notBefore)
        guard trust.issuer.anyAudience || token.isMeantForUs else { throw .audience }
        acceptUntil = expiresAt + trust.issuer.expiryLeeway
        guard now < acceptUntil else { throw .expired }
        let latest = now + trust.issuer.leeway
        guard notBefore ?? latest <= latest, issuedAt ?? latest <= latest else { throw .notYetValid }
        guard let user = token.claims.find(trust.userClaim).flatMap(token.claims.string), IdentifierRules.isUser(user) else { throw .claims }
        if let place = token.claims.find(trust.sessionClaim) {
            guard let session = token.claims.string(place), IdentifierRules.isSession(session) else { throw .claims }
            self.session = session
        } else {
            guard !trust.issuer.requiresSession else { throw .claims }
            session = nil
        }
        self.issuer = token.issuerIndex
        self.user = user
        self.expiresAt = expiresAt
        claims = token.claims
    }

    /// `iat` rounded down; a time that no calendar has is the nearest that fits.
    package var issuedAtSecond: Int64? { issuedAt?.wholeSecond }
}
