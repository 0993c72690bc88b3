// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import Settings

@Suite("What a configuration means")
struct DefaultsTests {
    private let folder: ConfigurationFolder
    init() throws { folder = try ConfigurationFolder() }

    // MARK: Defaults

    @Test("{} is complete: listeners, admin and what surrounds them have the documented defaults")
    func server() throws {
        let settings = try folder.read("{}").settings
        #expect(settings.listeners.map(\.address.description) == ["127.0.0.1:8080"])
        #expect(settings.listeners.allSatisfy { !$0.proxyProtocol && $0.tls == nil && $0.protocols == [.http1] })
        #expect(settings.trustedProxies.isEmpty)
        #expect(settings.admin.address.description == "127.0.0.1:9180")
        #expect(settings.admin.token == nil)
        #expect(settings.workers == .auto)
        #expect(settings.paths.duplicateSlashes == .reject)
        #expect(settings.paths.encodedSlashes == .reject)
        #expect(settings.logging.level == .info)
        #expect(settings.logging.accessLog && settings.logging.auditStream == nil)
        #expect(settings.shutdown.drain == .seconds(30))
    }

    @Test("{} is complete: the store and revocation have the documented defaults")
    func store() throws {
        let settings = try folder.read("{}").settings
        guard case .redis(let redis) = settings.store else {
            Issue.record("the default store is Redis")
            return
        }
        #expect(redis.mode == .standalone)
        #expect(redis.addresses.map(\.description) == ["127.0.0.1:6379"])
        #expect(redis.sentinelMaster == nil && redis.username == nil && redis.password == nil && redis.tls == nil)
        #expect(redis.database == 0)
        #expect(redis.keyPrefix == "portcullis:")
        #expect(redis.connectTimeout == .seconds(1))
        #expect(redis.commandTimeout == .milliseconds(250))
        #expect(redis.waitReplicas == 0)
        #expect(settings.revocation.mode == .strict)
        #expect(settings.revocation.maxStaleness == .seconds(1))
        #expect(settings.revocation.whenUnavailable == .reject)
        #expect(settings.revocation.grace == .zero)
    }

    @Test("{} is complete: sessions and identity have the documented defaults")
    func sessions() throws {
        let settings = try folder.read("{}").settings
        let sessions = settings.sessions
        #expect(sessions.apiPath == "/auth")
        #expect(sessions.issuer == "portcullis")
        #expect(sessions.audience == ["portcullis"])
        #expect(sessions.signingKey == nil && sessions.previousKeys.isEmpty && sessions.login == nil)
        #expect(sessions.accessTokenLifetime == .seconds(5 * 60))
        #expect(sessions.refreshTokenLifetime == .seconds(30 * 86_400))
        #expect(sessions.sessionLifetime == .seconds(90 * 86_400))
        #expect(sessions.refreshReuseWindow == .seconds(10))
        #expect(sessions.maxPerUser == 100)
        #expect(sessions.retainRevoked == .seconds(7 * 86_400))
        #expect(sessions.cookies.enabled && sessions.cookies.secure && sessions.cookies.sameSite == .lax)
        #expect(sessions.cookies.accessName == "__Host-portcullis")
        #expect(sessions.cookies.refreshName == "__Secure-portcullis-refresh")
        #expect(settings.issuers.isEmpty && settings.upstreams.isEmpty && settings.routes.isEmpty)
        #expect(settings.tokenSources == [.authorization, .cookie])
        #expect(settings.identityHeaders.names == ["X-Auth-User", "X-Auth-Session", "X-Auth-Issuer"])
        #expect(settings.identityHeaders.assertion == nil)
    }

    @Test("{} is complete: limits have the documented defaults")
    func limits() throws {
        let limits = try folder.read("{}").settings.limits
        #expect(limits.headerBytes == 32 * 1024)
        #expect(limits.headerCount == 100)
        #expect(limits.targetBytes == 8 * 1024)
        #expect(limits.tokenBytes == 8 * 1024)
        #expect(limits.bodyBytes == 0)
        #expect(limits.connections == 10_000)
        #expect(limits.headTimeout == .seconds(10))
        #expect(limits.idleTimeout == .seconds(75))
        #expect(limits.streamIdleTimeout == .seconds(5 * 60))
    }

    @Test("What an upstream, a route and an issuer leave out has the documented defaults")
    func entries() throws {
        let settings = try folder.read(
            """
            issuers: [{name: idp, issuer: "https://idp.example", audiences: [api], algorithms: [RS256], jwks: {url: "https://idp.example/keys"}}]
            upstreams: {legacy: {endpoints: ["127.0.0.1:9001"]}}
            routes: [{path: /orders, upstream: legacy}]
            """
        ).settings
        let upstream = try #require(settings.upstreams.first)
        #expect(upstream.name == "legacy" && upstream.balance == .roundRobin && upstream.healthCheck == nil && upstream.tls == nil)
        #expect(upstream.connectTimeout == .seconds(1) && upstream.responseTimeout == .seconds(30) && upstream.idleTimeout == .seconds(60))
        #expect(upstream.maxConnections == 1024 && upstream.retries == 1)
        let route = try #require(settings.routes.first)
        #expect(route.path == "/orders" && route.upstream == "legacy" && !route.exact && route.hosts.isEmpty && route.methods.isEmpty)
        #expect(route.auth == .required && route.issuers.isEmpty && route.scopes.isEmpty && route.claims.isEmpty)
        #expect(!route.forwardToken && !route.stripPrefix)
        #expect(route.loginRedirect == nil && route.whenUnavailable == nil && route.rateLimit == nil)
        let issuer = try #require(settings.issuers.first)
        #expect(issuer.userClaim == "sub" && issuer.sessionClaim == "sid" && issuer.namespace == "idp" && issuer.sessions == .registered)
        #expect(issuer.leeway == .seconds(30) && !issuer.backchannelLogout && !issuer.anyAudience)
        guard case .url("https://idp.example/keys", refresh: .seconds(300), authorities: []) = issuer.keys else {
            Issue.record("the keys come from the URL every five minutes: \(issuer.keys)")
            return
        }
    }

    // MARK: Values

    @Test("Durations and sizes have the units of the documentation, quoted or not")
    func units() throws {
        let settings = try folder.read(
            """
            limits: {head_timeout: 250ms, idle_timeout: "7s", stream_idle_timeout: 10m, header_bytes: 512B, target_bytes: 2KiB, body_bytes: 10MiB}
            sessions: {access_token_lifetime: 12h, refresh_token_lifetime: 30d, refresh_reuse_window: 0s, retain_revoked: 0d}
            revocation: {grace: 0ms}
            shutdown: {drain: 0s}
            issuers: [{name: a, issuer: b, any_audience: true, algorithms: [RS256], jwks: {url: "http://a/"}, leeway: 0s}]
            """
        ).settings
        #expect(settings.limits.headTimeout == .milliseconds(250))
        #expect(settings.limits.idleTimeout == .seconds(7))
        #expect(settings.limits.streamIdleTimeout == .seconds(600))
        #expect(settings.limits.headerBytes == 512)
        #expect(settings.limits.targetBytes == 2048)
        #expect(settings.limits.bodyBytes == 10 * 1024 * 1024)
        #expect(settings.sessions.accessTokenLifetime == .seconds(12 * 3600))
        #expect(settings.sessions.refreshTokenLifetime == .seconds(30 * 86_400))
        #expect(settings.sessions.refreshReuseWindow == .zero && settings.sessions.retainRevoked == .zero)
        #expect(settings.revocation.grace == .zero && settings.shutdown.drain == .zero)
        #expect(settings.issuers.first?.leeway == .zero)
    }

    @Test("Null switches off what the documentation shows with null")
    func nulls() throws {
        let settings = try folder.read(
            """
            sessions: {api_path: null}
            logging: {audit_stream: null}
            upstreams: {a: {endpoints: ["127.0.0.1:1"]}}
            routes: [{path: /, upstream: a, login_redirect: ~, when_unavailable: null, rate_limit: }]
            """
        ).settings
        #expect(settings.sessions.apiPath == nil && settings.logging.auditStream == nil)
        #expect(settings.routes.count == 1)
        #expect(settings.routes.allSatisfy { $0.loginRedirect == nil && $0.whenUnavailable == nil && $0.rateLimit == nil })
    }

    @Test("An audit stream has defaults of its own")
    func auditStream() throws {
        let usual = try folder.read("logging: {audit_stream: {}}").settings.logging.auditStream
        #expect(usual?.maxEntries == 100_000 && usual?.retain == .seconds(30 * 86_400))
        let written = try folder.read("logging: {audit_stream: {max_entries: 5, retain: 1h}}").settings.logging.auditStream
        #expect(written?.maxEntries == 5 && written?.retain == .seconds(3600))
    }

    @Test("Everything that is written is taken over, in the order of the file")
    func written() throws {
        let settings = try folder.read(
            """
            listeners: [{address: "[::1]:1"}, {address: "unix:run/p.sock", protocols: [http/1.1]}]
            trusted_proxies: [10.0.0.0/8, "::1"]
            workers: 3
            store: {kind: memory}
            token_sources: [cookie, {query: access_token}, {header: X-Api-Token}]
            identity_headers: {user: X-U, session: X-S, issuer: X-I, claims: {X-Email: email, X-Role: role}}
            upstreams: {b: {endpoints: ["unix:/run/b", "B.example:80"], retries: 0}, a: {endpoints: ["127.0.0.1:1"]}}
            routes:
              - {path: /b, exact: true, hosts: ["*.Example.com"], methods: [GET, HEAD], upstream: b, auth: optional, issuers: [portcullis],
                 scopes: [read], claims: {role: [admin, 7, true]}, forward_token: true, strip_prefix: true, login_redirect: /login?next=1,
                 when_unavailable: allow_recent, rate_limit: {requests: 5, per: 1m, by: user}}
              - {path: /, upstream: a, auth: none}
            paths: {duplicate_slashes: merge, encoded_slashes: keep}
            logging: {level: trace, access_log: false}
            """
        ).settings
        #expect(settings.listeners.map(\.address.description) == ["[::1]:1", "unix:\(folder.path)/run/p.sock"])
        #expect(settings.trustedProxies == ["10.0.0.0/8", "::1"])
        #expect(settings.workers == .count(3))
        #expect(settings.store == .memory)
        #expect(settings.tokenSources == [.cookie, .query("access_token"), .header("X-Api-Token")])
        #expect(settings.identityHeaders.names == ["X-U", "X-S", "X-I", "X-Email", "X-Role"])
        #expect(settings.identityHeaders.claims.map(\.claim) == ["email", "role"])
        #expect(settings.upstreams.map(\.name) == ["b", "a"])
        #expect(settings.upstreams.first?.endpoints.map(\.description) == ["unix:/run/b", "b.example:80"])
        let route = try #require(settings.routes.first)
        #expect(route.exact && route.hosts == ["*.example.com"] && route.methods == ["GET", "HEAD"] && route.auth == .optional)
        #expect(route.issuers == ["portcullis"] && route.scopes == ["read"] && route.forwardToken && route.stripPrefix)
        #expect(route.claims.map(\.claim) == ["role"] && route.claims.first?.values == ["admin", "7", "true"])
        #expect(route.loginRedirect == "/login?next=1" && route.whenUnavailable == .allowRecent)
        #expect(route.rateLimit == Settings.RateLimit(requests: 5, per: .seconds(60), by: .user))
        #expect(settings.paths.duplicateSlashes == .merge && settings.paths.encodedSlashes == .keep)
        #expect(settings.logging.level == .trace && !settings.logging.accessLog)
    }
}
