// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import NIOSSL
import Tokens

/// Everything that the data plane is told, frozen. A reload makes a new one; nothing here changes in place.
package struct GatewayConfiguration: Sendable {
    package var listeners: [ListenerConfiguration] = []
    package var trustedProxies: [AddressRange] = []
    package var issuers: [IssuerConfiguration] = []
    package var tokenSources: [TokenSource] = [.authorization]
    package var accessCookie = "__Host-portcullis"
    package var refreshCookie = "__Secure-portcullis-refresh"
    package var identity = IdentityConfiguration()
    package var upstreams: [UpstreamConfiguration] = []
    package var routes: [RouteConfiguration] = []
    package var paths = PathConfiguration()
    package var limits = Limits()
    package var revocation = RevocationConfiguration()
    package var accessLog = true
    /// Where the session API is served: its path on the public listener and the Unix socket of the control plane; nil switches it off.
    package var sessionAPI: SessionAPIConfiguration?
    /// How long a drain may take before what is left is cut (`shutdown.drain`).
    package var drain: TimeAmount = .seconds(30)

    package init() {}
}

package struct SessionAPIConfiguration: Sendable, Equatable {
    /// `sessions.api_path`; nil: only `/.well-known/jwks.json`.
    package var path: String?
    package var socketPath: String
    package init(path: String?, socketPath: String) {
        self.path = path
        self.socketPath = socketPath
    }
}

package enum ListenAddress: Sendable, Hashable {
    /// `host` is an IPv4 or IPv6 address (without brackets).
    case inet(host: String, port: Int)
    case unix(path: String)
}

package struct ListenerConfiguration: Sendable {
    package var address: ListenAddress
    /// What the configuration calls it, for messages.
    package var name: String
    package var tls: TLSConfiguration?

    package init(address: ListenAddress, name: String, tls: TLSConfiguration? = nil) {
        self.address = address
        self.name = name
        self.tls = tls
    }
}

package enum TokenSource: Sendable, Equatable {
    case authorization
    case cookie
    case query(String)
    case field(String)
}

package enum SessionPolicy: Sendable, Equatable {
    case registered, revocable, unchecked
}

/// One issuer, the gateway itself included; `trusted` has what the verifier needs, in the same order as the verifier's issuers.
package struct IssuerConfiguration: Sendable {
    package var trusted: TrustedIssuer
    /// What `X-Auth-Issuer` says and what routes name.
    package var name: String
    package var namespace: String
    package var sessions: SessionPolicy
    /// The gateway's own tokens (`sessions.issuer`).
    package var isOwn: Bool

    package init(trusted: TrustedIssuer, name: String, namespace: String, sessions: SessionPolicy, isOwn: Bool) {
        self.trusted = trusted
        self.name = name
        self.namespace = namespace
        self.sessions = sessions
        self.isOwn = isOwn
    }
}

package struct IdentityConfiguration: Sendable {
    package var user = "X-Auth-User"
    package var session = "X-Auth-Session"
    package var issuer = "X-Auth-Issuer"
    /// Field name and claim, in the order of the configuration.
    package var claims: [(field: String, claim: String)] = []
    /// The field that carries a signed assertion, and the key that signs it.
    package var assertion: (field: String, key: SigningKey, issuer: String)?
    package init() {}
}

package struct UpstreamConfiguration: Sendable {
    package var name: String
    package var endpoints: [Endpoint]
    package var connectTimeout: TimeAmount = .seconds(1)
    package var responseTimeout: TimeAmount = .seconds(30)
    package var idleTimeout: TimeAmount = .seconds(60)
    /// Per endpoint and gateway.
    package var maxConnections = 1024
    package var retries = 1
    package var tls: UpstreamTLS?

    package init(name: String, endpoints: [Endpoint]) {
        self.name = name
        self.endpoints = endpoints
    }
}

package struct Endpoint: Sendable, Hashable {
    package enum Address: Sendable, Hashable {
        /// `host` may be a name.
        case inet(host: String, port: Int)
        case unix(path: String)

        /// What is connected to, for TLS; nil for a Unix socket.
        var host: String? {
            switch self {
            case .inet(let host, _): host
            case .unix: nil
            }
        }
    }
    package var address: Address
    /// As written in the configuration: the metric's label.
    package var name: String

    package init(address: Address, name: String) {
        self.address = address
        self.name = name
    }
}

package struct UpstreamTLS: Sendable {
    package var configuration: TLSConfiguration
    /// Sent as SNI and verified; nil: the endpoint's host or address is verified.
    package var serverName: String?
    package init(configuration: TLSConfiguration, serverName: String?) {
        self.configuration = configuration
        self.serverName = serverName
    }
}

package enum AuthRequirement: Sendable, Equatable {
    case required, optional, none
}

package enum WhenUnavailable: Sendable, Equatable {
    case reject, allowRecent
}

package struct RateLimitConfiguration: Sendable, Equatable {
    package enum Key: Sendable, Equatable { case user, session, address }
    package var requests: Int
    package var per: TimeAmount
    package var by: Key
    package init(requests: Int, per: TimeAmount, by: Key) {
        self.requests = requests
        self.per = per
        self.by = by
    }
}

package struct RouteConfiguration: Sendable {
    package var path: String
    package var exact = false
    package var hosts: [String] = []
    package var methods: [String] = []
    /// Name of an entry of `upstreams`.
    package var upstream: String
    package var auth: AuthRequirement = .required
    /// Names; empty: all.
    package var issuers: [String] = []
    package var scopes: [String] = []
    package var claims: [(claim: String, values: [String])] = []
    package var forwardToken = false
    package var stripPrefix = false
    package var loginRedirect: String?
    package var whenUnavailable: WhenUnavailable?
    package var rateLimit: RateLimitConfiguration?

    package init(path: String, upstream: String) {
        self.path = path
        self.upstream = upstream
    }
}

package struct PathConfiguration: Sendable, Equatable {
    package var mergeDuplicateSlashes = false
    package var keepEncodedSlashes = false
    package init() {}
}

/// Contract §3 `limits`, with its defaults.
package struct Limits: Sendable, Equatable {
    package var headerBytes = 32 << 10
    package var headerCount = 100
    package var targetBytes = 8 << 10
    package var tokenBytes = 8 << 10
    /// 0: no limit.
    package var bodyBytes: Int64 = 0
    package var connections = 10_000
    package var headTimeout: TimeAmount = .seconds(10)
    package var idleTimeout: TimeAmount = .seconds(75)
    package var streamIdleTimeout: TimeAmount = .minutes(5)
    package init() {}
}

package struct RevocationConfiguration: Sendable, Equatable {
    package var whenUnavailable: WhenUnavailable = .reject
    /// Counted from the last confirmation by the store.
    package var grace: TimeAmount = .zero
    /// How long the store may have been silent before it counts as such.
    package var maxStaleness: TimeAmount = .seconds(1)
    package init() {}
}
