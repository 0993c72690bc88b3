// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOSSL
import Tokens

extension Settings {
    /// `sessions`: the gateway's own.
    package struct Sessions: Sendable {
        /// A normal path without a slash at its end; nil: no public session API.
        package var apiPath: String? = "/auth"
        package var issuer = "portcullis"
        /// At least one.
        package var audience = ["portcullis"]
        /// Without it no token is issued.
        package var signingKey: SigningKey?
        /// Still verified and published; the signing key is not among them.
        package var previousKeys: [SigningKey] = []
        package var accessTokenLifetime = Duration.seconds(5 * 60)
        package var refreshTokenLifetime = Duration.seconds(30 * 86_400)
        package var sessionLifetime = Duration.seconds(90 * 86_400)
        /// May be zero.
        package var refreshReuseWindow = Duration.seconds(10)
        package var maxPerUser = 100
        /// May be zero.
        package var retainRevoked = Duration.seconds(7 * 86_400)
        package var cookies = Cookies()
        /// Nil: nobody can log in here.
        package var login: Login?
        package init() {}
    }

    package struct Cookies: Sendable, Equatable {
        package enum SameSite: String, Sendable, CaseIterable { case lax, strict, none }
        package var enabled = true
        package var accessName = "__Host-portcullis"
        package var refreshName = "__Secure-portcullis-refresh"
        package var sameSite = SameSite.lax
        package var secure = true
        package init() {}
    }

    package enum Login: Sendable, Equatable {
        /// What the users file holds; `SettingsLoader` has had it checked.
        case usersFile([UInt8])
        /// No authorities: the system's.
        case verify(url: String, authorities: [NIOSSLCertificate])
    }
}
