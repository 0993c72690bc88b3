// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Sessions
import Tokens
import WallTime

/// All that one event loop has: nothing of it is shared, so nothing of it is locked.
///
/// Confined to its loop, but for `index` and `eventLoop`.
final class GatewayLoop {
    let index: Int
    let eventLoop: any EventLoop
    let shared: GatewayShared
    let lookup: SessionLookup
    let tokens: TokenCache
    let counters: LoopCounters
    let accessLog: AccessLogBuffer?
    let recent: RecentSessions
    var ids: CorrelationSource
    /// Stands for "no bytes": the library's own empty buffer is one object that all threads would count references on.
    let noBytes = ByteBufferAllocator().buffer(capacity: 1)
    let lineEnd = ByteBuffer(staticString: "\r\n")
    let lastChunk = ByteBuffer(staticString: "0\r\n\r\n")
    let continueAnswer = ByteBuffer(staticString: "HTTP/1.1 100 Continue\r\n\r\n")

    private(set) var snapshot: Snapshot
    private(set) var requestScanner: RequestScanner
    private(set) var responseScanner: ResponseScanner
    private(set) var trailerScanner: TrailerScanner
    let normaliser = PathNormaliser()
    private(set) var isDraining = false
    /// Whether some route lets recently confirmed sessions pass, so that confirmations have to be remembered.
    private(set) var remembersConfirmations = false
    private var pools: [UpstreamPool] = []
    private var connections: [ObjectIdentifier: HTTP1Connection] = [:]
    private var looking: RepeatedTask?
    private var spareBuffers: [ByteBuffer] = []
    /// When what is being dealt with at once began; nil outside of turns.
    private(set) var turn: NIODeadline?

    init(index: Int, eventLoop: any EventLoop, shared: GatewayShared, lookup: SessionLookup, snapshot: Snapshot, accessLog: AccessLogBuffer?) {
        self.index = index
        self.eventLoop = eventLoop
        self.shared = shared
        self.lookup = lookup
        self.snapshot = snapshot
        self.accessLog = accessLog
        self.tokens = TokenCache(byteLimit: TokenCache.processByteLimit / shared.loopCount)
        self.counters = LoopCounters(snapshot: snapshot)
        self.recent = RecentSessions()
        self.ids = CorrelationSource()
        self.requestScanner = RequestScanner(limits: snapshot.headLimits)
        self.responseScanner = ResponseScanner(limits: snapshot.headLimits)
        trailerScanner = TrailerScanner(limits: snapshot.headLimits)
        self.spareBuffers.reserveCapacity(Self.spareLimit)
        // No grace for what has been seen revoked.
        lookup.onEnding = { [recent] user, session in recent.remove(user: user, session: session) }
        lookup.onFlush = { [recent] in recent.removeAll() }
        lookup.onChange = { [recent, unowned lookup] user in
            for reference in recent.doubt(user) { lookup.confirm(reference, Reconfirmation(recent, reference)) }
        }
    }

    // MARK: Time

    /// The moment of what is being dealt with: read once for all that follows at once from what one socket has brought.
    var now: NIODeadline { turn ?? .now() }

    /// To be ended before control goes back to the event loop: nothing else may find an old time.
    func beginTurn() { turn = .now() }

    func endTurn() { turn = nil }

    /// Unix time in seconds, for tokens.
    var unixTime: Double { systemSeconds() }

    // MARK: Buffers

    private static let spareLimit = 64
    private static let spareCapacity = 16 << 10

    /// An empty buffer to write a head into.
    func takeBuffer() -> ByteBuffer {
        guard var buffer = spareBuffers.popLast() else { return ByteBufferAllocator().buffer(capacity: 2048) }
        buffer.clear(minimumCapacity: 2048)
        return buffer
    }

    /// Gives back a buffer that is no longer read; if a socket still holds it, `clear` will find that out.
    func recycle(_ buffer: ByteBuffer) {
        guard spareBuffers.count < Self.spareLimit, buffer.capacity <= Self.spareCapacity, buffer.capacity >= 2048 else { return }
        spareBuffers.append(buffer)
    }

    // MARK: Connections

    /// Whether one more connection may be served; if so it counts until `leave`.
    func admit() -> Bool { shared.admit(limit: snapshot.limits.connections) }

    func leave() { shared.leave() }

    func add(_ connection: HTTP1Connection) {
        connections[ObjectIdentifier(connection)] = connection
        counters.connectionOpened()
        guard looking == nil else { return }
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        looking = eventLoop.scheduleRepeatedTask(initialDelay: Self.lookInterval, delay: Self.lookInterval) { _ in bound.value.lookAfterExchanges() }
    }

    func remove(_ connection: HTTP1Connection) {
        connections[ObjectIdentifier(connection)] = nil
        if connections.isEmpty {
            looking?.cancel()
            looking = nil
        }
        counters.connectionClosed()
        leave()
    }

    var connectionCount: Int { connections.count }

    func pool(_ upstream: Int) -> UpstreamPool { pools[upstream] }

    // MARK: Reload and drain

    /// From the next request on the new snapshot counts; exchanges that have begun end by the one that they began with.
    func use(_ snapshot: Snapshot, plans: [UpstreamPlan]) {
        self.snapshot = snapshot
        remembersConfirmations = snapshot.routes.contains { $0.whenUnavailable == .allowRecent }
        requestScanner = RequestScanner(limits: snapshot.headLimits)
        responseScanner = ResponseScanner(limits: snapshot.headLimits)
        trailerScanner = TrailerScanner(limits: snapshot.headLimits)
        // What was verified under other keys, issuers or names is verified anew; and claims that no route asked for have not been kept.
        tokens.removeAll()
        counters.use(snapshot)
        var old = pools
        pools = plans.map { plan in
            if let place = old.firstIndex(where: { $0.plan === plan }) { return old.remove(at: place) }
            return UpstreamPool(plan, loop: self)
        }
        for pool in old { pool.retire() }
    }

    func beginDrain() {
        isDraining = true
        for connection in Array(connections.values) { connection.drain() }
    }

    /// The drain's time is over: what is still open is cut; WebSockets are told (1001).
    func endDrain() {
        for connection in Array(connections.values) { connection.exchange.end(.draining) }
    }

    func closeAll() {
        for connection in Array(connections.values) { connection.close() }
        for pool in pools { pool.retire() }
    }

    // MARK: What is open for long

    /// How late an exchange may end with its token, or with its session's time.
    private static let lookInterval = TimeAmount.seconds(1)

    private func lookAfterExchanges() {
        let unixTime = unixTime
        for connection in Array(connections.values) { connection.exchange.lookAfter(unixTime: unixTime) }
    }
}

@available(*, unavailable)
extension GatewayLoop: Sendable {}
