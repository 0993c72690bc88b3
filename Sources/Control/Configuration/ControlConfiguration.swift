// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import Tokens

/// Everything that the control plane is told, frozen. A reload makes a new one (`ControlPlane.update`); a call works with the one it began with.
package struct ControlConfiguration: Sendable {
    /// `sessions.api_path`, as `/auth` without a slash at its end (`""` for `/`); nil switches the public session API off.
    package var apiPath: String? = "/auth"
    /// `iss` of the tokens that the gateway signs.
    package var issuer = "portcullis"
    /// `aud` of the tokens that the gateway signs.
    package var audience = ["portcullis"]
    /// Without one nothing is issued: login and refresh are 404.
    package var signingKey: SigningKey?
    /// Still published, still proving where refresh tokens come from.
    package var previousKeys: [SigningKey] = []
    /// Milliseconds.
    package var accessTokenLifetime: Int64 = 300_000
    package var rules = SessionRules(
        sessionLifetime: 90 * 86_400_000, refreshLifetime: 30 * 86_400_000, reuseWindow: 10_000, retainRevoked: 7 * 86_400_000, maxPerUser: 100)
    package var cookies = CookieRules()
    /// Who vouches for those who log in; nil: login is 404.
    package var login: LoginMethod?
    /// Nil: the admin API is 404, health and metrics stay.
    package var adminToken: [UInt8]?
    /// One for each of `verifier.issuers`, in the same order: whose users they are and how their sessions are decided.
    package var issuers: [IssuerPolicy] = []
    /// Judges access tokens: the gateway's own and those of others, with the keys that are known now.
    package var verifier = TokenVerifier(issuers: [])
    /// `limits.token_bytes`: no token that is issued is longer.
    package var tokenByteLimit = TokenVerifier.defaultTokenByteLimit

    package init() {}
}

/// How an issuer's sessions are decided (contract §7, `issuers[].sessions`).
package enum IssuerSessions: Sendable, Equatable {
    case registered, revocable, unchecked

    /// The question for the store; nil where nobody is asked.
    var kind: SessionKind? {
        switch self {
        case .registered: .registered
        case .revocable: .revocable
        case .unchecked: nil
        }
    }
}

/// What the control plane has to know of an issuer beyond how to verify its tokens.
package struct IssuerPolicy: Sendable, Equatable {
    package var name: String
    /// `""`: its users are the gateway's own.
    package var namespace: String
    package var sessions: IssuerSessions
    /// The gateway itself.
    package var isOwn: Bool

    package init(name: String, namespace: String, sessions: IssuerSessions, isOwn: Bool = false) {
        self.name = name
        self.namespace = namespace
        self.sessions = sessions
        self.isOwn = isOwn
    }
}

/// `sessions.cookies`.
package struct CookieRules: Sendable, Equatable {
    package enum SameSite: String, Sendable, Equatable { case lax = "Lax", strict = "Strict", none = "None" }

    package var enabled = true
    package var accessName = "__Host-portcullis"
    package var refreshName = "__Secure-portcullis-refresh"
    package var sameSite = SameSite.lax
    package var secure = true

    package init() {}
}

/// Where the admin listener listens.
package enum ControlAddress: Sendable, Hashable, CustomStringConvertible {
    /// `host` is a name or an address (IPv6 without brackets).
    case tcp(host: String, port: Int)
    case unix(path: String)

    /// As the configuration spells it.
    package var description: String {
        switch self {
        case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        case .unix(let path): "unix:\(path)"
        }
    }
}

extension ControlConfiguration {
    /// The policy of a verified token's issuer.
    func policy(of token: VerifiedToken) -> IssuerPolicy? { policy(ofIssuer: token.issuer) }

    /// - Parameter index: into the verifier's issuers.
    func policy(ofIssuer index: Int) -> IssuerPolicy? { issuers.indices.contains(index) ? issuers[index] : nil }

    /// Whether any issuer's logout tokens are obeyed.
    var takesLogoutTokens: Bool { verifier.issuers.contains(where: \.sendsLogoutTokens) }

    /// Whether users can live under `namespace`: the own one, or one of an issuer's.
    func knowsNamespace(_ namespace: String) -> Bool {
        namespace.isEmpty || issuers.contains { $0.namespace.isIdentical(to: namespace) }
    }

    /// Whether tokens of a `revocable` issuer speak for users of `namespace`, so that ending all sessions has to revoke what was issued, too.
    func hasRevocable(in namespace: String) -> Bool {
        issuers.contains { $0.sessions == .revocable && $0.namespace.isIdentical(to: namespace) }
    }

    /// Whether an own user may have this name: nobody arrives at an upstream as `namespace/user` of another issuer (contract §8).
    func isOwnUser(_ name: String) -> Bool {
        IdentifierRules.isUser(name)
            && !issuers.contains { !$0.namespace.isEmpty && name.utf8.starts(with: Array($0.namespace.utf8) + [UInt8(ascii: "/")]) }
    }

    /// The signing key and those before it, newest first.
    var allKeys: [SigningKey] { (signingKey.map { [$0] } ?? []) + previousKeys }
}
