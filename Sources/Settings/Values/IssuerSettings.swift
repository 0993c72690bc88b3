// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOSSL
import Tokens

extension Settings {
    /// One entry of `issuers`: somebody else whose tokens are trusted.
    package struct Issuer: Sendable {
        package enum Sessions: String, Sendable, CaseIterable { case registered, revocable, unchecked }

        package enum Keys: Sendable {
            /// A key set from a file: `kid` chooses the key.
            case keySet(KeySet)
            /// `secret` or `public_key`: `kid` is ignored.
            case single(KeySet)
            /// Fetched while the gateway runs. No authorities: the system's.
            case url(String, refresh: Duration, authorities: [NIOSSLCertificate])
        }

        package var name: String
        /// `iss`, exact.
        package var issuer: String
        /// Empty if and only if any audience will do.
        package var audiences: [String]
        package var anyAudience: Bool
        /// At least one.
        package var algorithms: Set<JOSEAlgorithm>
        package var keys: Keys
        package var userClaim = "sub"
        package var sessionClaim = "sid"
        /// `""`: its users are the gateway's own. Has no slash.
        package var namespace: String
        package var sessions = Sessions.registered
        /// For `exp`, `nbf` and `iat`. May be zero.
        package var leeway = Duration.seconds(30)
        package var backchannelLogout = false
    }

    /// `identity_headers`: the names of the fields that upstreams are told by. No two are alike without case and punctuation.
    package struct IdentityHeaders: Sendable {
        package var user = "X-Auth-User"
        package var session = "X-Auth-Session"
        package var issuer = "X-Auth-Issuer"
        /// Field name and claim, in the order of the file.
        package var claims: [(field: String, claim: String)] = []
        /// Only with a signing key.
        package var assertion: String?
        package init() {}
    }
}
