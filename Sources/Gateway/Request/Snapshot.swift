// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Tokens

/// One configuration, compiled for serving requests: what all loops read and nobody changes. A reload makes a new one; an exchange
/// keeps the one that it began with.
final class Snapshot: Sendable {
    let configuration: GatewayConfiguration
    let verifier: TokenVerifier
    /// In the configuration's order; then, if there is one, the session API's.
    let routes: [Route]
    let matcher: RouteTable
    let credentials: CredentialRules
    let cleaning: Cleaning
    let identity: IdentityRules
    let trustedProxies: [AddressRange]
    let limits: Limits
    let headLimits: HeadLimits
    let accessLog: Bool
    /// The shortest of the times that a connection may take for anything: how early its one timer has to look.
    let shortestTimeout: TimeAmount

    /// Stands for the session API in metrics and logs, as its route and as its upstream. No path and no name of an upstream can be the same.
    static let sessionAPIName = "(session api)"
    /// For requests that have no route.
    static let noRouteName = "(none)"

    init(_ configuration: GatewayConfiguration) {
        self.configuration = configuration
        verifier = TokenVerifier(issuers: configuration.issuers.map(\.trusted), tokenByteLimit: configuration.limits.tokenBytes)
        routes = Self.routes(of: configuration)
        matcher = RouteTable(configuration.routes, sessionAPI: configuration.sessionAPI)
        credentials = CredentialRules(configuration)
        cleaning = Cleaning(configuration, credentials: credentials)
        identity = IdentityRules(configuration)
        trustedProxies = configuration.trustedProxies
        limits = configuration.limits
        headLimits = HeadLimits(
            headerBytes: configuration.limits.headerBytes, headerCount: configuration.limits.headerCount,
            targetBytes: configuration.limits.targetBytes)
        accessLog = configuration.accessLog
        let timeouts = [configuration.limits.headTimeout, configuration.limits.idleTimeout, configuration.limits.streamIdleTimeout]
        shortestTimeout = routes.reduce(timeouts.min() ?? .seconds(10)) { min($0, $1.responseTimeout) }
    }

    /// The configured upstreams; then, if there is one, the control plane's private socket.
    static func upstreams(of configuration: GatewayConfiguration) -> [UpstreamConfiguration] {
        guard let sessionAPI = configuration.sessionAPI else { return configuration.upstreams }
        let endpoint = Endpoint(address: .unix(path: sessionAPI.socketPath), name: sessionAPIName)
        return configuration.upstreams + [UpstreamConfiguration(name: sessionAPIName, endpoints: [endpoint])]
    }

    private static func routes(of configuration: GatewayConfiguration) -> [Route] {
        let upstreams = upstreams(of: configuration)
        let names = names(of: configuration.routes)
        var routes = configuration.routes.enumerated().map { index, route in
            let upstream = upstreams.firstIndex { $0.name == route.upstream } ?? -1
            let issuers = route.issuers.isEmpty ? [] : configuration.issuers.map { route.issuers.contains($0.name) }
            return Route(
                route, index: index, name: names[index], upstream: upstream, upstream < 0 ? nil : upstreams[upstream], issuers: issuers,
                revocation: configuration.revocation)
        }
        if configuration.sessionAPI != nil {
            var route = RouteConfiguration(path: "/", upstream: sessionAPIName)
            route.auth = .none
            route.forwardToken = true
            routes.append(
                Route(
                    route, index: routes.count, name: sessionAPIName, upstream: upstreams.count - 1, upstreams.last, issuers: [],
                    revocation: configuration.revocation, isSessionAPI: true))
        }
        return routes
    }

    /// A name for each route: its path; where several have the same, with whether it is exact, then with the hosts, then with the methods, at last with its place.
    private static func names(of routes: [RouteConfiguration]) -> [String] {
        var names = routes.map(\.path)
        func extend(_ extension: (Int) -> String) {
            let before = names
            for index in names.indices where before.filter({ $0 == before[index] }).count > 1 { names[index] += `extension`(index) }
        }
        extend { routes[$0].exact ? " exact" : "" }
        extend { routes[$0].hosts.isEmpty ? "" : " " + routes[$0].hosts.joined(separator: ",") }
        extend { routes[$0].methods.isEmpty ? "" : " " + routes[$0].methods.joined(separator: ",") }
        extend { " #\($0 + 1)" }
        return names
    }

    // MARK: Of a route, by its index; -1 while there is none

    func route(_ index: Int) -> Route? { routes.indices.contains(index) ? routes[index] : nil }

    func upstreamIndex(_ route: Int) -> Int { self.route(route)?.upstream ?? -1 }

    func retries(_ route: Int) -> Int { self.route(route)?.retries ?? 0 }

    func responseTimeout(_ route: Int) -> TimeAmount { self.route(route)?.responseTimeout ?? .seconds(30) }

    func loginRedirect(_ route: Int) -> [UInt8]? { self.route(route)?.loginRedirect }
}
