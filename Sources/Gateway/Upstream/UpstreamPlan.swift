// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Logging
import Synchronization

/// The number of connections that all loops have open to one endpoint, and who waits for one to close.
///
/// Shared by the loops, and touched when a connection is opened, closed or, with somebody waiting, given back: never
/// for a request that finds an idle connection.
final class EndpointBudget: Sendable {
    private let open = Atomic<Int>(0)
    private let waiting = Atomic<Int>(0)
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    /// Takes one connection's place; false when there is none left.
    func take() -> Bool {
        var current = open.load(ordering: .relaxed)
        while current < limit {
            let (done, seen) = open.compareExchange(expected: current, desired: current + 1, ordering: .relaxed)
            if done { return true }
            current = seen
        }
        return false
    }

    func giveBack() { open.subtract(1, ordering: .relaxed) }

    /// Whether an exchange of some loop waits for a place: idle connections are then closed instead of kept.
    var isContended: Bool { waiting.load(ordering: .relaxed) > 0 }
    func beginWaiting() { waiting.add(1, ordering: .relaxed) }
    func endWaiting() { waiting.subtract(1, ordering: .relaxed) }
}

/// What the log tells of connecting to one endpoint: once why it fails, again only when the reason is another, and once that it works again.
///
/// Shared by the loops; touched when a connection has been opened or could not be.
final class EndpointReport: Sendable {
    private let upstream: String
    private let endpoint: String
    private let reason = Mutex<String?>(nil)

    init(upstream: String, endpoint: String) {
        self.upstream = upstream
        self.endpoint = endpoint
    }

    /// - Parameter reason: nothing that a peer has sent.
    func failed(_ reason: String, _ logger: Logger) {
        let isNews = self.reason.withLock { told in
            defer { told = reason }
            return told != reason
        }
        if isNews {
            logger.warning(
                "An upstream's endpoint cannot be connected to",
                metadata: ["upstream": "\(upstream)", "endpoint": "\(endpoint)", "reason": "\(reason)"])
        }
    }

    func reached(_ logger: Logger) {
        let isNews = reason.withLock { told in
            defer { told = nil }
            return told != nil
        }
        if isNews {
            logger.notice("An upstream's endpoint can be connected to again", metadata: ["upstream": "\(upstream)", "endpoint": "\(endpoint)"])
        }
    }
}

/// One upstream of a configuration, with what all loops share of it. Kept over a reload that does not change it.
final class UpstreamPlan: Sendable {
    let configuration: UpstreamConfiguration
    let connector: UpstreamConnector
    let budgets: [EndpointBudget]
    let reports: [EndpointReport]

    /// Throws what NIOSSL finds wrong with the certificates.
    init(_ configuration: UpstreamConfiguration) throws {
        self.configuration = configuration
        connector = try UpstreamConnector(configuration)
        budgets = configuration.endpoints.map { _ in EndpointBudget(limit: configuration.maxConnections) }
        reports = configuration.endpoints.map { EndpointReport(upstream: configuration.name, endpoint: $0.name) }
    }

    /// Whether connections made for this plan may serve the other configuration. Certificates may have changed under the same
    /// name, so TLS is always begun anew.
    func serves(_ other: UpstreamConfiguration) -> Bool {
        configuration.tls == nil && other.tls == nil && configuration.name == other.name && configuration.endpoints == other.endpoints
            && configuration.connectTimeout == other.connectTimeout && configuration.responseTimeout == other.responseTimeout
            && configuration.idleTimeout == other.idleTimeout && configuration.maxConnections == other.maxConnections
            && configuration.retries == other.retries
    }
}
