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
    /// Whether those that had a heartbeat when this gateway began to listen have been read.
    private(set) var isComplete = false

    /// What is assumed of one whose heartbeat says nothing: our own `max_staleness`.
    private let assumed: TimeAmount
    /// No heartbeat counts longer, whatever it says; contract §3 has no upper bound for `max_staleness`, an hour is beyond every use.
    static let longestStaleness = TimeAmount.hours(1)

    /// - Parameter former: views of primaries that this one may have taken over from: whoever had a lease there may still act.
    init(assumed: TimeAmount, former: [FleetView] = []) {
        self.assumed = assumed
        for view in former { edges.merge(view.edges) { $0.aliveUntil > $1.aliveUntil ? $0 : $1 } }
    }

    /// The push connection has been lost: who joins from now on is not heard of.
    mutating func lost() {
        isComplete = false
    }

    /// An invalidation of `edge:NAME`: written, renewed, removed or expired, which nobody tells. Returns whether it has to be asked about.
    mutating func heard(_ name: String, now: NIODeadline) -> Bool {
        if let edge = edges[name] {
            edges[name]?.aliveUntil = now + edge.staleness
            return false
        }
        edges[name] = Edge(staleness: assumed, aliveUntil: now + assumed)
        return unknown.insert(name).inserted
    }

    /// What its heartbeat says: how long it counts in all, and how long the key still lives.
    mutating func learned(_ name: String, staleness: TimeAmount?, left: TimeAmount, now: NIODeadline) {
        unknown.remove(name)
        let whole = min(max(staleness ?? assumed, left), Self.longestStaleness)
        let until = now + min(left, whole)
        edges[name] = Edge(staleness: whole, aliveUntil: max(until, edges[name]?.aliveUntil ?? until))
    }

    /// The key is gone: nothing more can be learned of it, and what was assumed stays.
    mutating func notFound(_ name: String) {
        unknown.remove(name)
    }

    /// All that had a heartbeat have been read.
    mutating func completed() {
        isComplete = true
    }

    /// It has said that it ends.
    mutating func left(_ name: String) {
        edges[name] = nil
        unknown.remove(name)
    }

    /// Those that may still act, with how long a fence has to wait for each; the others are forgotten. Nil: it is not known yet who they are.
    mutating func living(now: NIODeadline) -> [(edge: String, staleness: TimeAmount)]? {
        edges = edges.filter { $0.value.aliveUntil > now }
        unknown.formIntersection(edges.keys)
        guard isComplete, unknown.isEmpty else { return nil }
        return edges.map { ($0.key, $0.value.staleness) }
    }
}
