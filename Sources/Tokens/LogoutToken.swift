// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// An identity provider's word that a session, or all sessions of a user, have ended (OpenID Connect Back-Channel Logout 1.0), with
/// everything checked that can be without the sessions: the one way to such a logout. Only the verifier can make one; it never changes.
///
/// That it has not been used before is for its user to find out: see `tokenID`.
package struct LogoutToken: Sendable {
    /// How old one may be, in seconds, beside the issuer's leeway: it is sent at once, so an older one has been kept by somebody. Bounds how long
    /// used ones have to be remembered, too.
    package static let ageLimit = 300.0

    /// The member of `events` that makes it a logout token (§2.4).
    static let event = "http://schemas.openid.net/event/backchannel-logout"

    /// Index into the verifier's issuers.
    package let issuer: Int
    /// See `IdentifierRules`.
    package let user: String
    /// Nil: all sessions of the user.
    package let session: String?
    /// `jti`: the issuer gives each to one token. Bounded like a session id.
    package let tokenID: String
    /// `iat` rounded down, Unix seconds.
    package let issuedAtSecond: Int64
    /// The token counts before this moment, Unix seconds: what comes first of the ends by `exp` and by age, with the leeway.
    package let acceptUntil: Double

    /// Checks the claims of a token that its issuer has signed (§2.6; RFC 7519 §4.1).
    ///
    /// User and session are named by the claims that name them in the issuer's access tokens, or they would be others. A token that names its
    /// session in `sid`, where access tokens do it in another claim, is refused: it must not pass for one that ends all sessions.
    init(checking token: borrowing AuthenticToken, now: Double) throws(TokenRefusal) {
        let trust = token.trust.issuer
        let claims = token.claims
        guard token.type == .unsaid || token.type == .logoutToken, LogoutToken.isMeant(by: claims), claims.find(.nonce) == nil else { throw .claims }
        guard let expiresAt = try token.time(.expiry), let issuedAt = try token.time(.issuedAt) else { throw .claims }
        let notBefore = try token.time(.notBefore)
        // It says for whom it is even where anybody will do (§2.4).
        guard trust.anyAudience ? claims.find(.audience) != nil : token.isMeantForUs else { throw .audience }
        acceptUntil = min(expiresAt + trust.expiryLeeway, issuedAt + LogoutToken.ageLimit + trust.leeway)
        guard now < acceptUntil else { throw .expired }
        guard max(issuedAt, notBefore ?? issuedAt) <= now + trust.leeway else { throw .notYetValid }
        guard let tokenID = claims["jti"]?.string, IdentifierRules.isSession(tokenID) else { throw .claims }
        self.tokenID = tokenID

        let subject = try LogoutToken.name("sub", of: claims, IdentifierRules.isUser)
        let sessionID = try LogoutToken.name("sid", of: claims, IdentifierRules.isSession)
        let user = trust.userClaim.isIdentical(to: "sub") ? subject : try LogoutToken.name(trust.userClaim, of: claims, IdentifierRules.isUser)
        session =
            trust.sessionClaim.isIdentical(to: "sid")
            ? sessionID : try LogoutToken.name(trust.sessionClaim, of: claims, IdentifierRules.isSession)
        // Sessions are found by their user, so `sid` alone, which the specification allows, does not say enough (contract §5, Back-channel).
        guard let user, subject != nil, session != nil || sessionID == nil else { throw .claims }
        self.user = user
        issuer = token.issuerIndex
        issuedAtSecond = issuedAt.wholeSecond
    }

    /// Whether `events` says that this is a logout. The event's value is an object, whatever is in it (§2.4).
    static func isMeant(by claims: Claims) -> Bool {
        guard let events = claims.find(.events) else { return false }
        return claims.value(events)?.object?[event]?.object != nil
    }

    /// Nil when absent; throws `claims` for what is there and is none.
    private static func name(_ claim: String, of claims: Claims, _ rule: (String) -> Bool) throws(TokenRefusal) -> String? {
        guard let value = claims[claim] else { return nil }
        guard let text = value.string, rule(text) else { throw .claims }
        return text
    }
}
