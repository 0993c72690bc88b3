// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// Why a token is refused. Each case is one code that clients see; `keysUnavailable` alone is our fault, a 503.
package enum TokenRefusal: Error, Sendable, Equatable, CaseIterable {
    /// No compact JWS around two JSON objects, too long, or a header that cannot be obeyed (`crit`, a `kid` that is no string).
    case malformed
    /// Unknown, not on the issuer's list, or not one that the key is for.
    case algorithm
    /// A `kid` that is not in the issuer's set.
    case keyUnknown
    case signature
    case issuer
    case audience
    case expired
    case notYetValid
    /// A claim that is needed is absent or is not what it must be; also the wrong `typ`.
    case claims
    /// The issuer's key set has never been had.
    case keysUnavailable

    /// The `code` of the answer.
    package var code: String {
        switch self {
        case .malformed: "token_malformed"
        case .algorithm: "token_algorithm"
        case .keyUnknown: "token_key_unknown"
        case .signature: "token_signature"
        case .issuer: "token_issuer"
        case .audience: "token_audience"
        case .expired: "token_expired"
        case .notYetValid: "token_not_yet_valid"
        case .claims: "token_claims"
        case .keysUnavailable: "keys_unavailable"
        }
    }
}
