// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Logging
import NIOCore
import Synchronization

/// One event loop's connections to the primaries: a `RedisClient` for each, made and closed as the topology changes.
///
/// In a cluster commands follow MOVED, ASK and TRYAGAIN until `commandTimeout` after they were first sent; each single command for itself, as while
/// a slot moves one of its keys may be here and another there. Elsewhere a command goes straight to the one client.
///
/// While no primary is known commands fail at once as unavailable; but for the very first attempt to find one, in which they wait.
///
/// `@unchecked Sendable`: everything mutable is confined to `eventLoop`, which `send` asserts; what may be called from elsewhere says so, and hops.
package final class RedisConnections: @unchecked Sendable {
    /// A server and the client for it.
    final class Node {
        let address: RedisConfiguration.Address
        let client: RedisClient

        init(_ address: RedisConfiguration.Address, _ client: RedisClient) {
            self.address = address
            self.client = client
        }

        func send(_ command: RedisCommand, asking: Bool, _ request: RedisRequest) {
            if asking { client.sendAsking(command, request) } else { client.send(command, request) }
        }
    }

    /// A node that a redirection has named and no map: it has no slot yet, or the map is late.
    private struct Guest {
        let node: Node
        var usedAt: NIODeadline
    }

    package let eventLoop: any EventLoop
    package let topology: RedisTopology
    /// May be read from any thread.
    package let status = RedisConnectionsStatus()

    private let configuration: RedisConfiguration
    private let logger: Logger
    private let onStateChange: @Sendable (_ isConnected: Bool) -> Void

    private var primaries = RedisPrimaries.unknown
    /// In the order of `primaries.nodes`.
    private var nodes: [Node] = []
    /// The only node, where there are no slots.
    private var single: RedisClient?
    private var guests: [RedisConfiguration.Address: Guest] = [:]
    /// Of the last connections that were given up by `reconnect`, by the server to which they should have led: to which they did. One for each primary.
    private var misled: [UInt64: UInt64] = [:]
    /// Commands that came before anybody was known for the first time, oldest first.
    private var early = CircularBuffer<RoutedRequest>()
    private var spare: [RoutedRequest] = []
    private var observer: EventLoopFuture<RedisTopology.ObserverID>?
    private var isClosed = false

    /// A node that only redirections name is let go after that long without one.
    private static let guestTime = TimeAmount.seconds(60)
    /// Routed requests kept for use again.
    private static let spareLimit = 4096

    /// Any thread. Nothing happens before `start`.
    ///
    /// - Parameters:
    ///   - configuration: of every server; the address is that of the topology.
    ///   - onStateChange: told on the event loop when all primaries have become usable, and when one has ceased to be.
    package init(
        eventLoop: any EventLoop, topology: RedisTopology, configuration: RedisConfiguration, logger: Logger,
        onStateChange: @escaping @Sendable (_ isConnected: Bool) -> Void = { _ in }
    ) {
        self.eventLoop = eventLoop
        self.topology = topology
        self.configuration = configuration
        self.logger = logger
        self.onStateChange = onStateChange
    }

    /// From the first sending of a command to its reply, redirections included.
    var commandTimeout: TimeAmount { configuration.commandTimeout }

    /// Whether commands go out to every primary now. Any thread.
    package var isConnected: Bool { status.isConnected }
    /// Whether that was ever so. Any thread.
    package var wasEverConnected: Bool { status.wasEverConnected }

    /// Connects to what the topology knows, now and later. Any thread; further calls do nothing.
    package func start() {
        onLoop { [self] in
            guard observer == nil, !isClosed else { return }
            observer = topology.observe(on: eventLoop) { [self] in apply($0) }
            // Standalone there is nothing to find out, and nothing to wait for.
            apply(topology.primaries)
        }
    }

    /// Sends a command to the primary that has the slot; `request` gets its outcome, exactly once. On the loop alone: the hot path.
    ///
    /// - Parameter slot: of the command's keys, which all have the same. Only a cluster looks at it.
    package func send(_ command: RedisCommand, slot: RedisSlot, _ request: RedisRequest) {
        eventLoop.assertInEventLoop()
        if let single { return single.send(command, request) }
        let routed = spare.popLast() ?? RoutedRequest(self)
        routed.begin(command, slot: slot, request)
        dispatch(routed)
    }

    /// Sends commands in one write to the one primary that has the slot. They are redirected together, as the first one is.
    func send(together commands: [RedisCommand], slot: RedisSlot, completion: @escaping ([RedisOutcome]) -> Void) {
        let routed = spare.popLast() ?? RoutedRequest(self)
        routed.begin(commands, slot: slot, completion)
        dispatch(routed)
    }

    /// Which server answers for the slot (`RedisClientStatus.serverID`); nil while nobody is known to have it. On the loop.
    package func serverID(of slot: RedisSlot) -> UInt64? {
        if let single { return single.status.serverID }
        return owner(of: slot)?.client.status.serverID
    }

    /// Makes a new connection to the slot's primary where the present one leads to another server than this: behind its address there is another one now.
    /// Returns false where the one that was made for that leads there again: then it is `serverID` that has the address no more. On the loop.
    package func reconnect(_ slot: RedisSlot, to serverID: UInt64) -> Bool {
        guard let client = single ?? owner(of: slot)?.client, client.isConnected, client.status.serverID != serverID else { return true }
        let found = client.status.serverID
        if misled[serverID] == found {
            misled[serverID] = nil
            return false
        }
        if misled.count >= max(1, nodes.count) { misled.removeAll() }
        misled[serverID] = found
        client.reconnect(reason: "another server has its address")
        return true
    }

    /// The client for a primary, which answers for that one alone and follows no redirection; nil when it is none any more. On the loop.
    package func client(of id: RedisPrimary.ID) -> RedisClient? {
        eventLoop.assertInEventLoop()
        return primaries.nodes.firstIndex { $0.id == id }.map { nodes[$0].client }
    }

    /// The client for the primary that has a slot; nil while nobody is known to have it. On the loop.
    package func client(for slot: RedisSlot) -> RedisClient? {
        eventLoop.assertInEventLoop()
        return owner(of: slot)?.client
    }

    /// Ends all connections for good; everything outstanding fails as unavailable. Any thread. The future succeeds when the sockets are closed.
    @discardableResult
    package func close() -> EventLoopFuture<Void> {
        eventLoop.flatSubmit { [self] in
            guard !isClosed else { return eventLoop.makeSucceededVoidFuture() }
            isClosed = true
            observer?.whenSuccess { [topology] in topology.ignore($0) }
            let clients = nodes.map(\.client) + guests.values.map(\.node.client)
            nodes = []
            guests = [:]
            single = nil
            primaries = .unknown
            status.set([])
            stateChanged()
            releaseEarly()
            return EventLoopFuture.andAllSucceed(clients.map { $0.close() }, on: eventLoop)
        }
    }

    // MARK: For requests on their way

    func owner(of slot: RedisSlot) -> Node? { primaries.index(of: slot).map { nodes[$0] } }

    /// The node at an address that a redirection names; nil if there are too many of them.
    func node(at address: RedisConfiguration.Address) -> Node? {
        if let index = primaries.nodes.firstIndex(where: { $0.address == address }) { return nodes[index] }
        if let guest = guests[address] {
            guests[address]?.usedAt = .now()
            return guest.node
        }
        guard !isClosed, guests.count < configuration.limits.guests else { return nil }
        let guest = Guest(node: makeNode(address), usedAt: .now())
        guests[address] = guest
        scheduleLeave(address, in: Self.guestTime)
        guest.node.client.start()
        return guest.node
    }

    /// It does not wait for the first primary any more.
    func release(_ request: RoutedRequest) {
        if let index = early.firstIndex(where: { $0 === request }) { early.remove(at: index) }
    }

    func recycle(_ request: RoutedRequest) {
        if spare.count < Self.spareLimit { spare.append(request) }
    }

    // MARK: Changes

    private func dispatch(_ routed: RoutedRequest) {
        guard primaries.generation == 0, observer != nil, !isClosed, early.count < configuration.limits.pipelineDepth else { return routed.send() }
        routed.limitTime()
        early.append(routed)
    }

    private func apply(_ next: RedisPrimaries) {
        guard !isClosed, next.generation > primaries.generation else { return }
        let present = Dictionary(uniqueKeysWithValues: zip(primaries.nodes.map(\.id), nodes))
        let kept = Set(next.nodes.map(\.id))
        let gone = primaries.nodes.filter { !kept.contains($0.id) }.compactMap { present[$0.id]?.client }
        var fresh: [RedisClient] = []
        nodes = next.nodes.map { primary in
            if let node = present[primary.id] { return node }
            if let guest = guests.removeValue(forKey: primary.address) { return guest.node }
            let node = makeNode(primary.address)
            fresh.append(node.client)
            return node
        }
        primaries = next
        single = topology.isCluster ? nil : nodes.first?.client
        status.set(Array(zip(next.nodes, nodes.map(\.client.status))))
        // What is closed fails its requests, which may send again: by now to the new ones.
        for client in fresh { client.start() }
        for client in gone { client.close() }
        stateChanged()
        releaseEarly()
    }

    private func releaseEarly() {
        let waiting = early
        early.removeAll()
        for request in waiting { request.send() }
    }

    private func makeNode(_ address: RedisConfiguration.Address) -> Node {
        var configuration = configuration
        configuration.address = address
        let client = RedisClient(
            eventLoop: eventLoop, configuration: configuration, logger: logger,
            admission: { [topology, eventLoop] answer in topology.admit(address, on: eventLoop, answer) },
            onStateChange: { [self] isConnected in
                if !isConnected { topology.doubt() }
                stateChanged()
            })
        return Node(address, client)
    }

    private func stateChanged() {
        if let isConnected = status.update() { onStateChange(isConnected) }
    }

    private func scheduleLeave(_ address: RedisConfiguration.Address, in time: TimeAmount) {
        eventLoop.assumeIsolated().scheduleTask(in: time) { [weak self] in
            guard let self, let guest = guests[address] else { return }
            let rest = guest.usedAt + Self.guestTime - .now()
            if rest > .zero { return scheduleLeave(address, in: rest) }
            guests[address] = nil
            guest.node.client.close()
        }
    }

    func onLoop(_ task: @escaping @Sendable () -> Void) {
        if eventLoop.inEventLoop { task() } else { eventLoop.execute(task) }
    }
}
