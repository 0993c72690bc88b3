// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

extension Settings {
    /// One entry of `upstreams`.
    package struct Upstream: Sendable, Equatable {
        package enum Balance: String, Sendable, CaseIterable {
            case roundRobin = "round_robin"
            case leastRequests = "least_requests"
            case hashUser = "hash_user"
        }

        package var name: String
        /// At least one, none twice.
        package var endpoints: [Address]
        package var balance = Balance.roundRobin
        package var connectTimeout = Duration.seconds(1)
        /// From the end of the request to the head of the response.
        package var responseTimeout = Duration.seconds(30)
        /// Of a pooled connection.
        package var idleTimeout = Duration.seconds(60)
        /// For each endpoint.
        package var maxConnections = 1024
        package var retries = 1
        /// Nil: nobody asks; endpoints are judged by what requests meet.
        package var healthCheck: HealthCheck?
        package var tls: ClientTLS?

        package init(name: String, endpoints: [Address]) {
            self.name = name
            self.endpoints = endpoints
        }
    }

    package struct HealthCheck: Sendable, Equatable {
        /// With its query, if it has one.
        package var path: String
        package var interval = Duration.seconds(2)
        package var timeout = Duration.seconds(1)
        package var unhealthyAfter = 3
        package var healthyAfter = 2
    }

    /// One entry of `routes`.
    package struct Route: Sendable {
        package enum Auth: String, Sendable, CaseIterable { case required, optional, none }

        /// Requests can have it: no dot segments, nothing that `paths` refuses. Not yet in its normal form: escapes are as in the file.
        package var path: String
        package var exact = false
        /// In lower case, without ports; `*.name` is everything below the name. Empty: any.
        package var hosts: [String] = []
        /// Empty: any.
        package var methods: [String] = []
        /// There is an upstream of this name.
        package var upstream: String
        package var auth = Auth.required
        /// Names of `issuers`, or `sessions.issuer`. Empty: all.
        package var issuers: [String] = []
        package var scopes: [String] = []
        /// Each claim must hold, or contain, one of its values; there is at least one.
        package var claims: [(claim: String, values: [String])] = []
        package var forwardToken = false
        package var stripPrefix = false
        /// A path or an http(s) URL.
        package var loginRedirect: String?
        /// Nil: as `revocation.when_unavailable`.
        package var whenUnavailable: WhenUnavailable?
        package var rateLimit: RateLimit?

        package init(path: String, upstream: String) {
            self.path = path
            self.upstream = upstream
        }
    }

    package struct RateLimit: Sendable, Equatable {
        package enum Key: String, Sendable, CaseIterable { case user, session, address }
        package var requests: Int
        package var per: Duration
        package var by: Key
    }
}
