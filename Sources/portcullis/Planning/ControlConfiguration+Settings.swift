// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Control
import Sessions
import Settings
import Tokens

extension ControlConfiguration {
    init(_ settings: Settings, issuers: [IssuerPlan]) throws(UsersFileProblem) {
        self.init()
        let sessions = settings.sessions
        // The root is a path without a slash at its end, too: the empty one.
        apiPath = sessions.apiPath == "/" ? "" : sessions.apiPath
        issuer = sessions.issuer
        audience = sessions.audience
        signingKey = sessions.signingKey
        previousKeys = sessions.previousKeys
        accessTokenLifetime = sessions.accessTokenLifetime.inMilliseconds
        rules = SessionRules(
            sessionLifetime: sessions.sessionLifetime.inMilliseconds, refreshLifetime: sessions.refreshTokenLifetime.inMilliseconds,
            reuseWindow: sessions.refreshReuseWindow.inMilliseconds, retainRevoked: sessions.retainRevoked.inMilliseconds,
            maxPerUser: sessions.maxPerUser)
        cookies = CookieRules(sessions.cookies)
        switch sessions.login {
        case .usersFile(let bytes)?: login = .usersFile(try UsersFile(parsing: bytes))
        case .verify(let url, let authorities)?: login = .endpoint(LoginEndpoint(url: url, authorities: authorities))
        case nil: break
        }
        adminToken = settings.admin.token
        self.issuers = issuers.map { issuer in
            IssuerPolicy(name: issuer.trusted.name, namespace: issuer.namespace, sessions: IssuerSessions(issuer.sessions), isOwn: issuer.isOwn)
        }
        verifier = TokenVerifier(issuers: issuers.map(\.trusted), tokenByteLimit: settings.limits.tokenBytes)
        tokenByteLimit = settings.limits.tokenBytes
    }
}

extension CookieRules {
    fileprivate init(_ cookies: Settings.Cookies) {
        self.init()
        enabled = cookies.enabled
        accessName = cookies.accessName
        refreshName = cookies.refreshName
        switch cookies.sameSite {
        case .lax: sameSite = .lax
        case .strict: sameSite = .strict
        case .none: sameSite = .none
        }
        secure = cookies.secure
    }
}

extension IssuerSessions {
    fileprivate init(_ sessions: Settings.Issuer.Sessions) {
        switch sessions {
        case .registered: self = .registered
        case .revocable: self = .revocable
        case .unchecked: self = .unchecked
        }
    }
}

extension ControlAddress {
    init(_ address: Settings.Address) {
        switch address {
        case .inet(let host, let port): self = .tcp(host: host, port: port)
        case .unix(let path): self = .unix(path: path)
        }
    }
}
