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
    /// Whether those that had a heartbeat when this gateway began to listen have been read, and all that may still act were among them.
    private var isRead = false

    /// What is assumed of one whose heartbeat says nothing: our own `max_staleness`.
    private let assumed: TimeAmount
    /// No heartbeat counts longer, whatever it says; contract §3 has no upper bound for `max_staleness`, an hour is beyond every use.
    static let longestStaleness = TimeAmount.hours(1)

    /// - Parameter former: views of primaries that this one may have taken over from: whoever had a lease there may still act.
    init(assumed: TimeAmount, former: [FleetView] = []) {
        self.assumed = assumed
        for view in former { edges.merge(view.edges) { $0.aliveUntil > $1.aliveUntil ? $0 : $1 } }
    }

    /// The push connection is subscribed.
    mutating func subscribed(now: NIODeadline) {
        listeningSince = now
        isRead = false
    }

    /// The push connection has been lost: who joins from now on is not heard of.
    mutating func lost() {
        listeningSince = nil
        isRead = false
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

    /// All that had a heartbeat have been read. `undisturbed`: for how long no heartbeat can have been lost (a flush, an empty Redis).
    mutating func completed(undisturbed: TimeAmount) {
        isRead = undisturbed >= assumed
    }

    /// When all that may still act are known: once read, or when whoever has not been heard of since the subscription has no lease left.
    private func isComplete(_ now: NIODeadline) -> Bool {
        listeningSince.map { isRead || $0 + assumed <= now } ?? false
    }

    /// When that is; nil: it is so already, or nobody can say.
    func due(now: NIODeadline) -> NIODeadline? { isComplete(now) ? nil : listeningSince.map { $0 + assumed } }

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

    /// Those that may act, or could not long ago, with how long a fence has to wait for each and until when it could. Nil: it is not known who they are.
    func living(now: NIODeadline) -> [(edge: String, staleness: TimeAmount, until: NIODeadline)]? {
        guard isComplete(now), unknown.isEmpty else { return nil }
        return edges.map { ($0.key, $0.value.staleness, $0.value.aliveUntil) }
    }
}
