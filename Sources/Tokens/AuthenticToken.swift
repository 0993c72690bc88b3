// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// A token that the issuer it names has signed. What it says may still be stale, or meant for others: see `VerifiedToken` and `LogoutToken`.
struct AuthenticToken: ~Copyable {
    let trust: Trust
    let issuerIndex: Int
    private let token: UnverifiedToken

    /// Checks the signature (RFC 7515 §5.2, RFC 8725 §3.1 and §3.2). The algorithm must be on the issuer's list before any key is
    /// looked for, and a key is asked only for what it fits.
    ///
    /// Throws `algorithm`, `keysUnavailable`, `keyUnknown` or `signature`.
    init(checking token: consuming UnverifiedToken, _ trust: Trust, index: Int) throws(TokenRefusal) {
        guard let algorithm = token.header.algorithm, trust.algorithms.contains(algorithm) else { throw .algorithm }
        guard let keys = trust.issuer.keys?.keys else { throw .keysUnavailable }
        var (isKnown, fits, holds) = (false, false, false)
        for key in keys where !holds {
            if !trust.issuer.ignoresKeyID, let wanted = token.header.keyID {
                guard let keyID = key.keyID, keyID.isIdentical(to: wanted) else { continue }
            }
            isKnown = true
            guard key.algorithms.contains(algorithm) else { continue }
            fits = true
            holds = token.signature.withUnsafeBytes { [input = token.signingInput] in key.isValid($0, over: input, algorithm: algorithm) }
        }
        guard isKnown else { throw .keyUnknown }
        guard fits else { throw .algorithm }
        guard holds else { throw .signature }
        self.trust = trust
        issuerIndex = index
        self.token = token
    }

    var claims: Claims {
        // Lent: a copy would count references for every check.
        _read { yield token.claims }
    }

    var type: TokenType { token.header.type }

    /// For the next ones that have the same.
    func remember(in headers: HeaderMemory?) {
        headers?.remember(token.encodedHeader, token.header)
    }

    // MARK: Claims that every kind of token has

    /// A time in Unix seconds. Nil when absent; throws `claims` for what is no finite number.
    func time(_ name: ClaimName) throws(TokenRefusal) -> Double? {
        guard let claim = claims.find(name) else { return nil }
        guard let value = claims.number(claim) else { throw .claims }
        return value
    }

    /// RFC 7519 §4.1.3: `aud` is a string or an array of strings, of which one is ours.
    var isMeantForUs: Bool {
        guard let audience = claims.find(.audience) else { return false }
        return claims.isOrHas(audience, oneOf: trust.audiences)
    }
}

extension Double {
    /// A time rounded down to seconds; one that no calendar has is the nearest that fits.
    var wholeSecond: Int64 { Int64(exactly: rounded(.down)) ?? (self < 0 ? .min : .max) }
}
