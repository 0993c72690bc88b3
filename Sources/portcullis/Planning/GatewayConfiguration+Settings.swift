// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Gateway
import NIOCore
import Settings

extension GatewayConfiguration {
    init(_ settings: Settings, issuers: [IssuerPlan]) {
        self.init()
        listeners = settings.listeners.map { listener in
            ListenerConfiguration(
                address: ListenAddress(listener.address), name: listener.address.description,
                tls: listener.tls?.configuration(protocols: listener.protocols))
        }
        trustedProxies = settings.trustedProxies.compactMap(AddressRange.init)
        self.issuers = issuers.map { issuer in
            IssuerConfiguration(
                trusted: issuer.trusted, name: issuer.trusted.name, namespace: issuer.namespace, sessions: SessionPolicy(issuer.sessions),
                isOwn: issuer.isOwn)
        }
        tokenSources = settings.tokenSources.map { source in
            switch source {
            case .authorization: .authorization
            case .cookie: .cookie
            case .query(let name): .query(name)
            case .header(let name): .field(name)
            }
        }
        accessCookie = settings.sessions.cookies.accessName
        refreshCookie = settings.sessions.cookies.refreshName
        identity = IdentityConfiguration(settings)
        upstreams = settings.upstreams.map(UpstreamConfiguration.init)
        routes = settings.routes.map(RouteConfiguration.init)
        paths = PathConfiguration(settings.paths)
        limits = Limits(settings.limits)
        revocation.whenUnavailable = WhenUnavailable(settings.revocation.whenUnavailable)
        revocation.grace = TimeAmount(settings.revocation.grace)
        revocation.maxStaleness = TimeAmount(settings.revocation.maxStaleness)
        accessLog = settings.logging.accessLog
        drain = TimeAmount(settings.shutdown.drain)
    }
}

extension IdentityConfiguration {
    fileprivate init(_ settings: Settings) {
        self.init()
        user = settings.identityHeaders.user
        session = settings.identityHeaders.session
        issuer = settings.identityHeaders.issuer
        claims = settings.identityHeaders.claims
        if let field = settings.identityHeaders.assertion, let key = settings.sessions.signingKey {
            assertion = (field: field, key: key, issuer: settings.sessions.issuer)
        }
    }
}

extension UpstreamConfiguration {
    fileprivate init(_ upstream: Settings.Upstream) {
        self.init(name: upstream.name, endpoints: upstream.endpoints.map { Endpoint(address: Endpoint.Address($0), name: $0.description) })
        connectTimeout = TimeAmount(upstream.connectTimeout)
        responseTimeout = TimeAmount(upstream.responseTimeout)
        idleTimeout = TimeAmount(upstream.idleTimeout)
        maxConnections = upstream.maxConnections
        retries = upstream.retries
        tls = upstream.tls.map { UpstreamTLS(configuration: $0.configuration, serverName: $0.serverName) }
    }
}

extension RouteConfiguration {
    fileprivate init(_ route: Settings.Route) {
        self.init(path: route.path, upstream: route.upstream)
        exact = route.exact
        hosts = route.hosts
        methods = route.methods
        switch route.auth {
        case .required: auth = .required
        case .optional: auth = .optional
        case .none: auth = .none
        }
        issuers = route.issuers
        scopes = route.scopes
        claims = route.claims
        forwardToken = route.forwardToken
        stripPrefix = route.stripPrefix
        loginRedirect = route.loginRedirect
        whenUnavailable = route.whenUnavailable.map(WhenUnavailable.init)
        rateLimit = route.rateLimit.map(RateLimitConfiguration.init)
    }
}

extension RateLimitConfiguration {
    fileprivate init(_ limit: Settings.RateLimit) {
        let key: Key =
            switch limit.by {
            case .user: .user
            case .session: .session
            case .address: .address
            }
        self.init(requests: limit.requests, per: TimeAmount(limit.per), by: key)
    }
}

extension Limits {
    fileprivate init(_ limits: Settings.Limits) {
        self.init()
        headerBytes = limits.headerBytes
        headerCount = limits.headerCount
        targetBytes = limits.targetBytes
        tokenBytes = limits.tokenBytes
        bodyBytes = Int64(limits.bodyBytes)
        connections = limits.connections
        headTimeout = TimeAmount(limits.headTimeout)
        idleTimeout = TimeAmount(limits.idleTimeout)
        streamIdleTimeout = TimeAmount(limits.streamIdleTimeout)
    }
}

extension PathConfiguration {
    init(_ paths: Settings.Paths) {
        self.init()
        mergeDuplicateSlashes = paths.duplicateSlashes == .merge
        keepEncodedSlashes = paths.encodedSlashes == .keep
    }
}

extension WhenUnavailable {
    fileprivate init(_ choice: Settings.WhenUnavailable) {
        switch choice {
        case .reject: self = .reject
        case .allowRecent: self = .allowRecent
        }
    }
}

extension SessionPolicy {
    fileprivate init(_ sessions: Settings.Issuer.Sessions) {
        switch sessions {
        case .registered: self = .registered
        case .revocable: self = .revocable
        case .unchecked: self = .unchecked
        }
    }
}

extension ListenAddress {
    fileprivate init(_ address: Settings.Address) {
        switch address {
        case .inet(let host, let port): self = .inet(host: host, port: port)
        case .unix(let path): self = .unix(path: path)
        }
    }
}

extension Endpoint.Address {
    fileprivate init(_ address: Settings.Address) {
        switch address {
        case .inet(let host, let port): self = .inet(host: host, port: port)
        case .unix(let path): self = .unix(path: path)
        }
    }
}

extension TimeAmount {
    init(_ duration: Duration) { self = .milliseconds(duration.inMilliseconds) }
}
