// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// Which gateways of the fleet may still act on what they know, as seen over one Redis; knows no socket and no clock.
///
/// A gateway is in it from its first heartbeat until `staleness` after its last, counted from when that was *heard*, which is later than it
/// was written: so whoever still has a lease is in it. It forgets nobody because a key is gone: a flush, a failover or a restart of an empty
/// Redis takes away keys and no leases.
struct FleetView {
    private struct Edge {
        /// How long its heartbeats count.
        var staleness: TimeAmount
        var aliveUntil: NIODeadline
    }

    private var edges: [String: Edge] = [:]
    /// Heard of, but nobody has told yet for how long its heartbeats count.
    private var unknown: Set<String> = []
    /// Since when everything has been heard; nil: nothing is.
    private var listeningSince: NIODeadline?
    /// Since when all that may act have been known. Nil: those that had a heartbeat when this gateway began to listen have not been read yet.
    private var knowsSince: NIODeadline?

    /// Our own `max_staleness`.
    private let own: TimeAmount
    /// What is assumed of one of whom nothing has been read: that its heartbeats count for as long as anybody's that is known.
    private var assumed: TimeAmount { edges.values.reduce(own) { max($0, $1.staleness) } }
    /// No heartbeat counts longer, whatever it says; contract §3 has no upper bound for `max_staleness`, an hour is beyond every use.
    static let longestStaleness = TimeAmount.hours(1)

    /// How many entries it keeps.
    var size: Int { edges.count + unknown.count }

    /// - Parameters:
    ///   - assumed: our own `max_staleness`.
    ///   - former: views of primaries that this one may have taken over from: whoever had a lease there may still act.
    init(assumed: TimeAmount, former: [FleetView] = []) {
        own = assumed
        for view in former { edges.merge(view.edges) { $0.aliveUntil > $1.aliveUntil ? $0 : $1 } }
    }

    /// The push connection is subscribed.
    mutating func subscribed(now: NIODeadline) {
        listeningSince = now
        knowsSince = nil
    }

    /// The push connection has been lost: who joins from now on is not heard of.
    mutating func lost() {
        listeningSince = nil
        knowsSince = nil
    }

    /// An invalidation of `edge:NAME`: written, renewed, removed or expired, which nobody tells. Returns whether it has to be asked about.
    mutating func heard(_ name: String, now: NIODeadline) -> Bool {
        if let edge = edges[name] {
            edges[name]?.aliveUntil = now + edge.staleness
            return false
        }
        let assumed = assumed
        edges[name] = Edge(staleness: assumed, aliveUntil: now + assumed)
        return unknown.insert(name).inserted
    }

    /// What its heartbeat says: how long it counts in all. How long the key still lives is not believed: Redis' clock may have been set.
    mutating func learned(_ name: String, staleness: TimeAmount?, now: NIODeadline) {
        unknown.remove(name)
        let whole = min(staleness ?? assumed, Self.longestStaleness)
        let until = now + whole
        edges[name] = Edge(staleness: whole, aliveUntil: max(until, edges[name]?.aliveUntil ?? until))
    }

    /// The key is gone: nothing more can be learned of it, and what was assumed stays.
    mutating func notFound(_ name: String) {
        unknown.remove(name)
    }

    /// Nobody has answered the question about it: whether it has to be asked again.
    func isUnknown(_ name: String) -> Bool { unknown.contains(name) }

    /// All that had a heartbeat have been read. `undisturbed`: for how long none can have been lost (a flush, an empty Redis). If that is too short there
    /// may be a gateway that acts without one: whoever still does so `assumed` after the subscription has renewed it since, and been heard of.
    mutating func completed(undisturbed: TimeAmount) {
        guard let listeningSince else { return }
        let assumed = assumed
        knowsSince = undisturbed >= assumed ? .uptimeNanoseconds(0) : listeningSince + assumed
    }

    /// It has said that it ends.
    mutating func left(_ name: String) {
        edges[name] = nil
        unknown.remove(name)
    }

    /// Whoever could not act any more at `moment` is of no interest.
    mutating func forget(before moment: NIODeadline) {
        edges = edges.filter { $0.value.aliveUntil > moment }
        unknown.formIntersection(edges.keys)
    }

    /// Who may act, or could not long ago. Nil: it is not known yet who they are.
    func living() -> Living? {
        guard let knowsSince, unknown.isEmpty else { return nil }
        return Living(edges: edges.map { ($0.key, $0.value.staleness, $0.value.aliveUntil) }, knowsSince: knowsSince, assumed: assumed)
    }

    struct Living {
        /// With how long a fence has to wait for each, and until when it could act.
        var edges: [(edge: String, staleness: TimeAmount, until: NIODeadline)]
        /// Of what began before there may be others; they have no lease `assumed` after a fence.
        var knowsSince: NIODeadline
        var assumed: TimeAmount
    }
}
