// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Control
import Gateway
import Logging
import NIOCore
import Settings
import Tokens

/// One configuration as each module wants it. Data plane and control plane have the same issuers, in the same order.
struct Plan: Sendable {
    let settings: Settings
    /// SHA-256 of everything that was read for it.
    let digest: [UInt8]
    /// What is not used: lines as `check` prints them.
    let warnings: [String]
    private(set) var gateway: GatewayConfiguration
    private(set) var control: ControlConfiguration
    let adminAddress: ControlAddress
    let store: StorePlan
    let keySources: [KeySource]

    init(_ loaded: LoadedSettings) throws(SettingsProblems) {
        settings = loaded.settings
        digest = loaded.digest
        warnings = loaded.warnings.map(\.description)
        let issuers = IssuerPlan.all(of: settings)
        gateway = GatewayConfiguration(settings, issuers: issuers)
        do throws(UsersFileProblem) {
            control = try ControlConfiguration(settings, issuers: issuers)
        } catch {
            throw loaded.problem("sessions.login.users_file", error.description)
        }
        adminAddress = ControlAddress(settings.admin.address)
        do {
            store = try StorePlan(settings)
        } catch {
            throw loaded.problem("store.redis.tls", "cannot be used: \(error)")
        }
        keySources = issuers.compactMap(\.source)
    }

    var logLevel: Logger.Level { Logger.Level(rawValue: settings.logging.level.rawValue) ?? .info }

    /// Event loops of the data plane.
    var workers: Int {
        switch settings.workers {
        case .auto: System.coreCount
        case .count(let count): count
        }
    }

    /// A store that drops keys would let sessions in that were revoked.
    var mustNotEvict: Bool { settings.issuers.contains { $0.sessions == .revocable } }

    /// Where the control plane takes requests from the data plane.
    mutating func serveControl(at socketPath: String) {
        gateway.sessionAPI = SessionAPIConfiguration(path: settings.sessions.apiPath, socketPath: socketPath)
    }

    /// The key sets that have been fetched so far.
    mutating func use(keysOf fetcher: KeySetFetcher) {
        let sources = Dictionary(keySources.map { ($0.issuer, $0) }, uniquingKeysWith: { first, _ in first })
        var trusted = gateway.issuers.map(\.trusted)
        for index in trusted.indices where !gateway.issuers[index].isOwn {
            guard let source = sources[trusted[index].name] else { continue }
            trusted[index].keys = fetcher.keys(for: source)
            gateway.issuers[index].trusted.keys = trusted[index].keys
        }
        control.verifier = TokenVerifier(issuers: trusted, tokenByteLimit: settings.limits.tokenBytes)
    }
}

/// One issuer, the gateway itself included.
struct IssuerPlan {
    let trusted: TrustedIssuer
    let namespace: String
    let sessions: Settings.Issuer.Sessions
    let isOwn: Bool
    /// Where its keys are fetched from.
    let source: KeySource?

    /// The gateway first, if it signs.
    static func all(of settings: Settings) -> [IssuerPlan] {
        (IssuerPlan(own: settings.sessions).map { [$0] } ?? []) + settings.issuers.map(IssuerPlan.init)
    }

    private init?(own sessions: Settings.Sessions) {
        guard let signingKey = sessions.signingKey else { return nil }
        let keys = [signingKey] + sessions.previousKeys
        trusted = TrustedIssuer(
            name: sessions.issuer, issuer: sessions.issuer, audiences: sessions.audience, algorithms: Set(keys.map(\.algorithm)),
            keys: KeySet(signingKeys: keys), leeway: 30, expiryLeeway: 0)
        namespace = ""
        self.sessions = .registered
        isOwn = true
        source = nil
    }

    private init(_ issuer: Settings.Issuer) {
        let leeway = Double(issuer.leeway.inMilliseconds) / 1000
        var keys: KeySet?
        var ignoresKeyID = false
        var source: KeySource?
        switch issuer.keys {
        case .keySet(let set): keys = set
        case .single(let set):
            keys = set
            ignoresKeyID = true
        case .url(let url, let refresh, let authorities):
            source = KeySource(
                issuer: issuer.name, url: url, refresh: refresh.inMilliseconds, authorities: authorities, algorithms: issuer.algorithms)
        }
        trusted = TrustedIssuer(
            name: issuer.name, issuer: issuer.issuer, audiences: issuer.audiences, anyAudience: issuer.anyAudience, algorithms: issuer.algorithms,
            keys: keys, ignoresKeyID: ignoresKeyID, userClaim: issuer.userClaim, sessionClaim: issuer.sessionClaim,
            requiresSession: issuer.sessions != .unchecked, leeway: leeway, expiryLeeway: leeway,
            sendsLogoutTokens: issuer.backchannelLogout)
        namespace = issuer.namespace
        sessions = issuer.sessions
        isOwn = false
        self.source = source
    }
}
