// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// One entry of `issuers`, or the gateway itself: whose tokens are trusted, and for what. Frozen; a reload or a new key set makes
/// another one.
package struct TrustedIssuer: Sendable {
    /// What the configuration calls it.
    package var name: String
    /// `iss`, byte for byte.
    package var issuer: String
    /// At least one must be in `aud`.
    package var audiences: [String]
    /// `aud` does not matter, and may be absent.
    package var anyAudience: Bool
    package var algorithms: Set<JOSEAlgorithm>
    /// Nil until the set has been had for the first time: tokens are `keysUnavailable`.
    package var keys: KeySet?
    /// With a `secret` or `public_key` there is nothing to choose from: `kid` is ignored.
    package var ignoresKeyID: Bool
    package var userClaim: String
    package var sessionClaim: String
    package var requiresSession: Bool
    /// Seconds that `nbf` and `iat` may be ahead of our clock.
    package var leeway: Double
    /// Seconds that `exp` may be behind it.
    package var expiryLeeway: Double
    /// Its logout tokens are obeyed (`issuers[].backchannel_logout`).
    package var sendsLogoutTokens: Bool

    package init(
        name: String, issuer: String, audiences: [String] = [], anyAudience: Bool = false, algorithms: Set<JOSEAlgorithm>, keys: KeySet?,
        ignoresKeyID: Bool = false, userClaim: String = "sub", sessionClaim: String = "sid", requiresSession: Bool = true,
        leeway: Double = 30, expiryLeeway: Double = 30, sendsLogoutTokens: Bool = false
    ) {
        self.name = name
        self.issuer = issuer
        self.audiences = audiences
        self.anyAudience = anyAudience
        self.algorithms = algorithms
        self.keys = keys
        self.ignoresKeyID = ignoresKeyID
        self.userClaim = userClaim
        self.sessionClaim = sessionClaim
        self.requiresSession = requiresSession
        self.leeway = leeway
        self.expiryLeeway = expiryLeeway
        self.sendsLogoutTokens = sendsLogoutTokens
    }
}
