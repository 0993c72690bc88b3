// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Logging
import NIOCore
import RedisClient
import Sessions
import Synchronization

/// How a process takes part in the fleet.
package struct FleetSettings: Sendable {
    package var edge: EdgeDescription
    /// `revocation.max_staleness`: no answer older than this is used, and no logout waits longer for a silent gateway.
    package var staleness: TimeAmount
    /// `revocation.mode: tracked`: answers are remembered until a change is pushed.
    package var remembers: Bool

    package init(edge: EdgeDescription, staleness: TimeAmount, remembers: Bool) {
        self.edge = edge
        self.staleness = staleness
        self.remembers = remembers
    }
}

/// This process among the gateways: a link for each primary, and which lease counts for which keys.
///
/// Primaries change: whoever takes over gets a link that knows whom the one before knew. Another `max_staleness` means to join anew under another id
/// and then to leave: others have learned for how long this gateway's heartbeats count, and wait for it that long and no longer.
///
/// `@unchecked Sendable`: everything mutable is confined to `eventLoop`, but for what is behind `shown`.
final class FleetMembership: @unchecked Sendable {
    /// How links are made.
    struct Surroundings: Sendable {
        var redis: RedisConfiguration
        var keys: SessionKeys
        var waitReplicas: Int
        var logger: Logger
    }

    private struct Link {
        let primary: RedisPrimary
        let tag: String?
        let link: FleetLink
    }

    /// What other threads may look at.
    private struct Shown {
        var settings: FleetSettings
        var links: [FleetLink] = []
        var map = LeaseMap.none
    }

    private let eventLoop: any EventLoop
    private let topology: RedisTopology
    private let loops: SessionLoops<RedisSessionLookup>
    private let surroundings: Surroundings
    private let shown: Mutex<Shown>
    private var primaries = RedisPrimaries.unknown
    /// In the order of `primaries.nodes`.
    private var links: [Link] = []
    /// Those that do not count yet, for settings that a reload has brought.
    private var joining: (settings: FleetSettings, links: [Link])?
    private var isClosed = false

    /// Until all new links have a lease, the old ones count; but not for ever, as one primary may be away.
    private static let joinPatience = TimeAmount.seconds(5)

    init(
        _ settings: FleetSettings, topology: RedisTopology, loops: SessionLoops<RedisSessionLookup>, surroundings: Surroundings,
        eventLoop: any EventLoop
    ) {
        self.topology = topology
        self.loops = loops
        self.surroundings = surroundings
        self.eventLoop = eventLoop
        shown = Mutex(Shown(settings: settings))
    }

    /// Which lease counts for which keys now.
    var map: LeaseMap { shown.withLock { $0.map } }
    var settings: FleetSettings { shown.withLock { $0.settings } }

    /// Of all primaries: the latest moments up to which everything is known, at worst.
    var leases: [FreshnessLease] { shown.withLock { $0.links }.map(\.lease) }

    /// Any thread. Redis need not be there yet.
    func start() {
        topology.observe(on: eventLoop) { [weak self] in self?.apply($0) }
    }

    func close() async {
        let all = try? await eventLoop.submit { [self] in
            isClosed = true
            return (links + (joining?.links ?? [])).map(\.link)
        }.get()
        for link in all ?? [] { await link.close(saysFarewell: true) }
    }

    // MARK: Logouts

    /// Returns when every gateway that may still act on what it knew before has applied the logout, or can act no more. Throws when that cannot be known.
    ///
    /// In a cluster all primaries are asked: while a slot moves, a gateway may know of it from another one than has the keys now. Only the answer
    /// over the primary that has them has to come.
    ///
    /// - Parameter server: which one has taken the logout. It has to be one of those that are listened to.
    func confirm(_ session: String?, of user: UserID, reason: RevokeReason, on server: UInt64) async throws(StoreUnavailable) {
        let slot = surroundings.keys.slot(of: user)
        let found = try? await eventLoop.submit { [self] () -> (owner: FleetLink?, others: [FleetLink]) in
            guard links.contains(where: { $0.link.lease.serverID == server }) else { return (nil, []) }
            let index = primaries.index(of: slot)
            return (index.map { links[$0].link }, links.indices.filter { $0 != index }.map { links[$0].link })
        }.get()
        let (owner, others) = found ?? (nil, [])
        guard let owner else { throw StoreUnavailable("nobody is listened to who has the user's keys") }
        async let best: Void = confirmWherePossible(others, session, user, reason)
        try await owner.confirm(session, of: user, reason: reason)
        await best
    }

    private func confirmWherePossible(_ links: [FleetLink], _ session: String?, _ user: UserID, _ reason: RevokeReason) async {
        await withTaskGroup(of: Void.self) { group in
            for link in links where link.lease.answersUntil > LeaseClock.now() {
                group.addTask { try? await link.confirm(session, of: user, reason: reason) }
            }
        }
    }

    /// Returns the server that has answered over the control plane's `connections`, if the fleet listens to it: what another one has been told nobody
    /// hears of, and nobody is asked there. The name of Redis has moved then, and not all connections with it.
    ///
    /// One that is about to be listened to is waited for, as the loops do.
    func expectListening(to server: UInt64?, _ slot: RedisSlot, over connections: RedisConnections) async throws(StoreUnavailable) -> UInt64 {
        let patienceEnd = LeaseClock.now() + surroundings.redis.commandTimeout
        while true {
            let map = map
            if let server, map.lease(ofServer: server) != nil { return server }
            guard LeaseClock.now() < patienceEnd, (try? await Task.sleep(for: .milliseconds(5))) != nil else {
                if let listened = map.lease(for: slot), listened.isListening {
                    connections.eventLoop.execute { [self] in
                        if !connections.reconnect(slot, to: listened.serverID) { lookAgain(from: listened.serverID) }
                    }
                }
                throw StoreUnavailable("another Redis has answered than the one that is listened to")
            }
        }
    }

    /// This server has its address no more: whoever listens to it goes where that leads now. Any thread.
    func lookAgain(from server: UInt64) {
        eventLoop.execute { [self] in
            for link in links + (joining?.links ?? []) { link.link.lookAgain(from: server) }
        }
    }

    /// Tells the others and does not wait: for what ends without anybody having logged out.
    func announce(_ session: String?, of user: UserID, reason: RevokeReason) {
        for link in shown.withLock({ $0.links }) { link.announce(session, of: user, reason: reason) }
    }

    /// Gateways that have a heartbeat on any primary, by id.
    func edges() async throws(StoreUnavailable) -> [Edge] {
        var byID: [String: Edge] = [:]
        for link in shown.withLock({ $0.links }) {
            for edge in try await link.currentEdges() where byID[edge.description.id].map({ $0.left < edge.left }) ?? true {
                byID[edge.description.id] = edge
            }
        }
        return byID.values.sorted { $0.description.id < $1.description.id }
    }

    // MARK: Changes

    private func apply(_ next: RedisPrimaries) {
        guard !isClosed, next.generation > primaries.generation else { return }
        let before = links
        primaries = next
        links = makeLinks(settings, keeping: before, inherits: true)
        if let (settings, waiting) = joining { join(settings, makeLinks(settings, keeping: waiting, inherits: false), abandoning: waiting) }
        publish()
        abandon(before, but: links, saysFarewell: false)
    }

    /// A reload. Returns at once: until the new heartbeat counts, the old one does.
    func use(_ new: FleetSettings) {
        eventLoop.execute { [self] in
            guard !isClosed else { return }
            let old = joining?.settings ?? settings
            if settings.remembers != new.remembers {
                shown.withLock { $0.settings.remembers = new.remembers }
                _ = loops.onEach(eventLoop) { $0.remember(new.remembers) }
            }
            guard old.staleness != new.staleness else { return }
            join(new, makeLinks(new, keeping: [], inherits: false), abandoning: joining?.links ?? [])
        }
    }

    private func join(_ new: FleetSettings, _ fresh: [Link], abandoning waiting: [Link]) {
        joining = (new, fresh)
        abandon(waiting, but: fresh, saysFarewell: true)
        let joins: @Sendable () -> Void = { [self] in
            guard !isClosed, let (settings, links) = joining, links.map(\.link.name) == fresh.map(\.link.name) else { return }
            let before = self.links
            self.links = links
            joining = nil
            shown.withLock { $0.settings = settings }
            // Every loop goes by the new leases before nobody waits for the old ones any more.
            publish().whenComplete { [self] _ in abandon(before, but: links, saysFarewell: true) }
        }
        let patience = eventLoop.scheduleTask(in: Self.joinPatience, joins)
        EventLoopFuture.andAllComplete(fresh.map(\.link.whenHeld), on: eventLoop).whenComplete { _ in
            patience.cancel()
            joins()
        }
    }

    /// A link for each primary; those that serve still are kept. `inherits`: a new one has the leases of those that it takes over from, to their ends.
    private func makeLinks(_ settings: FleetSettings, keeping old: [Link], inherits: Bool) -> [Link] {
        let tags = primaries.nodes.indices.map { primaries.isCluster ? FleetKeys.tag(of: $0, in: primaries) ?? "" : nil }
        let kept = zip(primaries.nodes, tags).map { primary, tag in old.first { $0.primary == primary && $0.tag == tag } }
        let gone = old.filter { one in !kept.contains { $0?.link === one.link } }
        let former = gone.map(\.link.view)
        // Users of a new primary may have been of any of these.
        let ends = (gone.isEmpty ? old : gone).map(\.link.lease.answersUntil)
        let inherited = inherits ? ends.min() ?? .uptimeNanoseconds(0) : .uptimeNanoseconds(0)
        return primaries.nodes.indices.map { index in
            if let link = kept[index] { return link }
            var redis = surroundings.redis
            redis.address = primaries.nodes[index].address
            let link = FleetLink(
                FleetLink.Configuration(
                    edge: settings.edge, tag: tags[index], inherited: inherited, staleness: settings.staleness,
                    waitReplicas: surroundings.waitReplicas),
                redis: redis, keys: surroundings.keys, loops: loops, former: former, eventLoop: eventLoop, logger: surroundings.logger,
                doubt: { [topology] in topology.doubt() })
            link.start()
            return Link(primary: primaries.nodes[index], tag: tags[index], link: link)
        }
    }

    /// Tells every loop which leases count now, also those that have been added. Any thread.
    func publishSoon() { eventLoop.execute { self.publish() } }

    /// Tells every loop which leases count now. On the loop; the future succeeds when all go by them.
    @discardableResult
    private func publish() -> EventLoopFuture<Void> {
        let map = LeaseMap(primaries: primaries, leases: links.map(\.link.lease))
        shown.withLock { ($0.links, $0.map) = (links.map(\.link), map) }
        return loops.onEach(eventLoop) { $0.use(map) }
    }

    private func abandon(_ old: [Link], but kept: [Link], saysFarewell: Bool) {
        let gone = old.filter { one in !kept.contains { $0.link === one.link } }.map(\.link)
        Task { for link in gone { await link.close(saysFarewell: saysFarewell) } }
    }
}
