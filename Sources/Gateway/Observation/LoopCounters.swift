// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Sessions
import Tokens

/// Why an exchange was ended from the gateway's side while it was open (contract §4.10).
enum ExchangeEnding: UInt8, CaseIterable {
    case revoked, draining, expired, storeSilent, idle

    var name: String {
        switch self {
        case .revoked: "revoked"
        case .draining: "draining"
        case .expired: "expired"
        case .storeSilent: "store_silent"
        case .idle: "idle"
        }
    }
}

/// Whether a token was remembered or its signature checked.
enum VerificationSource: Int, CaseIterable {
    case cache, signature
}

/// What one loop counts: plain numbers, without locks. Labels come from the configuration and from closed lists, never from a request.
///
/// Confined to its loop; `metrics()` makes a value that can leave it.
final class LoopCounters {
    /// The outcomes of verifications: `ok`, then the refusals.
    static let verificationOutcomes = ["ok"] + TokenRefusal.allCases.map(\.code)
    static let answers: [(answer: SessionAnswer, name: String)] = [(.active, "active"), (.revoked, "revoked"), (.unavailable, "unavailable")]

    /// The names of the routes, also of former ones; the first is that of requests without a route.
    private var routeNames = [Snapshot.noRouteName]
    private var upstreamNames: [String] = []
    /// For the routes and upstreams of the present snapshot, their places in the names.
    private var routeSlots: [Int] = []
    private var upstreamSlots: [Int] = []
    private var snapshot: Snapshot

    private var requests: ContiguousArray<UInt64> = []
    private var requestDurations: ContiguousArray<Histogram> = []
    private var upstreamDurations: ContiguousArray<Histogram> = []
    private var lookups = ContiguousArray<UInt64>(repeating: 0, count: 2 * LoopCounters.answers.count)
    private var lookupDurations = Histogram()
    private var verifications = ContiguousArray<UInt64>(
        repeating: 0, count: VerificationSource.allCases.count * LoopCounters.verificationOutcomes.count)
    private var streamsClosed = ContiguousArray<UInt64>(repeating: 0, count: ExchangeEnding.allCases.count)
    private var connections = 0
    private var activeRequests = 0

    init(snapshot: Snapshot) {
        self.snapshot = snapshot
        use(snapshot)
    }

    /// After a reload: routes and upstreams of the same name go on counting where they were.
    func use(_ snapshot: Snapshot) {
        self.snapshot = snapshot
        routeSlots = snapshot.routes.map { Self.slot(of: $0.name, in: &routeNames) }
        upstreamSlots = Snapshot.upstreams(of: snapshot.configuration).map { Self.slot(of: $0.name, in: &upstreamNames) }
        requests += Array(repeating: 0, count: routeNames.count * AccessRecord.Outcome.ordinals - requests.count)
        requestDurations += Array(repeating: Histogram(), count: routeNames.count - requestDurations.count)
        upstreamDurations += Array(repeating: Histogram(), count: upstreamNames.count - upstreamDurations.count)
    }

    private static func slot(of name: String, in names: inout [String]) -> Int {
        if let known = names.firstIndex(of: name) { return known }
        names.append(name)
        return names.count - 1
    }

    // MARK: Counting

    func requestBegan() { activeRequests += 1 }

    /// - Parameter snapshot: the one that the request began with; a reload may have come since.
    func requestEnded(route: Int, _ outcome: AccessRecord.Outcome, status: Int, after duration: TimeAmount, of snapshot: Snapshot) {
        activeRequests -= 1
        let slot = routeSlot(route, of: snapshot)
        requests[slot * AccessRecord.Outcome.ordinals + outcome.ordinal(status: status)] += 1
        requestDurations[slot].add(duration)
    }

    func upstreamAnswered(_ upstream: Int, after duration: TimeAmount, of snapshot: Snapshot) {
        guard upstream >= 0 else { return }
        if snapshot === self.snapshot {
            upstreamDurations[upstreamSlots[upstream]].add(duration)
        } else if let slot = upstreamNames.firstIndex(of: Snapshot.upstreams(of: snapshot.configuration)[upstream].name) {
            upstreamDurations[slot].add(duration)
        }
    }

    private func routeSlot(_ route: Int, of snapshot: Snapshot) -> Int {
        guard route >= 0 else { return 0 }
        if snapshot === self.snapshot { return routeSlots[route] }
        return snapshot.route(route).flatMap { routeNames.firstIndex(of: $0.name) } ?? 0
    }

    func sessionAnswered(_ answer: SessionAnswer, after duration: TimeAmount, source: SessionAnswerSource) {
        let place =
            switch answer {
            case .active: 0
            case .revoked: 1
            case .unavailable: 2
            }
        lookups[(source == .cache ? 0 : 1) * Self.answers.count + place] += 1
        lookupDurations.add(duration)
    }

    /// - Parameter refusal: nil: it was accepted.
    func tokenVerified(_ refusal: TokenRefusal?, source: VerificationSource) {
        var place = 0
        if let refusal, let index = TokenRefusal.allCases.firstIndex(of: refusal) { place = index + 1 }
        verifications[source.rawValue * Self.verificationOutcomes.count + place] += 1
    }

    func streamClosed(_ ending: ExchangeEnding) { streamsClosed[Int(ending.rawValue)] += 1 }

    func connectionOpened() { connections += 1 }
    func connectionClosed() { connections -= 1 }

    // MARK: Reading

    func metrics() -> GatewayMetrics {
        var metrics = GatewayMetrics()
        for (slot, name) in routeNames.enumerated() {
            for ordinal in 0..<AccessRecord.Outcome.ordinals {
                let count = requests[slot * AccessRecord.Outcome.ordinals + ordinal]
                if count > 0 { metrics.requests[.init(name, "\(AccessRecord.Outcome.name(ordinal))")] = count }
            }
            if requestDurations[slot].count > 0 { metrics.requestDurations[name] = requestDurations[slot] }
        }
        for (slot, name) in upstreamNames.enumerated() where upstreamDurations[slot].count > 0 {
            metrics.upstreamDurations[name] = upstreamDurations[slot]
        }
        for (index, source) in ["cache", "store"].enumerated() {
            for (place, answer) in Self.answers.enumerated() {
                metrics.lookups[.init(source, answer.name)] = lookups[index * Self.answers.count + place]
            }
        }
        metrics.lookupDurations = lookupDurations
        for source in VerificationSource.allCases {
            for (place, outcome) in Self.verificationOutcomes.enumerated() {
                metrics.verifications[.init("\(source)", outcome)] = verifications[source.rawValue * Self.verificationOutcomes.count + place]
            }
        }
        for ending in ExchangeEnding.allCases { metrics.streamsClosed[ending.name] = streamsClosed[Int(ending.rawValue)] }
        let active = max(0, min(activeRequests, connections))
        metrics.connections = ["active": active, "idle": max(0, connections - active)]
        metrics.endpoints = Set(snapshot.configuration.upstreams.flatMap { upstream in upstream.endpoints.map { .init(upstream.name, $0.name) } })
        return metrics
    }
}

@available(*, unavailable)
extension LoopCounters: Sendable {}
