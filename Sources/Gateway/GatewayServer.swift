// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Logging
import NIOCore
import NIOPosix
import NIOSSL
import Sessions
import Synchronization
import Tokens

/// The data plane as a whole: bind, reload, drain. Safe to use from any task; each change goes to the loops in one step each.
package final class GatewayServer: Sendable {
    private let loops: [NIOLoopBound<GatewayLoop>]
    private let group: MultiThreadedEventLoopGroup
    private let shared: GatewayShared
    private let accessLog: AccessLog?
    private let state: Mutex<State>

    private struct State {
        var configuration: GatewayConfiguration
        var plans: [UpstreamPlan]
        var listeners: [ListenerSockets] = []
        var isDraining = false
    }

    /// Prepares one data plane for each loop of the group. Binds nothing yet.
    ///
    /// - Parameter keyMiss: told the name of an issuer of which a key was asked for that its set lacks; called on a loop.
    /// - Throws: what NIOSSL finds wrong with a certificate.
    package init(
        configuration: GatewayConfiguration, group: MultiThreadedEventLoopGroup, store: any SessionStore, logger: Logger,
        accessLog: AccessLog?, keyMiss: @escaping @Sendable (String) -> Void
    ) async throws {
        let eventLoops = Array(group.makeIterator())
        let shared = GatewayShared(loopCount: eventLoops.count, logger: logger, keyMiss: keyMiss)
        let plans = try Self.plans(for: configuration, keeping: [])
        let snapshot = Snapshot(configuration)
        var loops: [NIOLoopBound<GatewayLoop>] = []
        for (index, eventLoop) in eventLoops.enumerated() {
            let loop = eventLoop.submit {
                let loop = GatewayLoop(
                    index: index, eventLoop: eventLoop, shared: shared, lookup: store.lookup(on: eventLoop), snapshot: snapshot,
                    accessLog: accessLog?.buffer(on: eventLoop))
                loop.use(snapshot, plans: plans)
                return NIOLoopBound(loop, eventLoop: eventLoop)
            }
            loops.append(try await loop.get())
        }
        shared.meet(loops)
        self.loops = loops
        self.group = group
        self.shared = shared
        self.accessLog = accessLog
        self.state = Mutex(State(configuration: configuration, plans: plans))
    }

    /// Listens on every configured address. Throws `BindProblem`.
    package func start() async throws {
        let listeners = state.withLock { $0.configuration.listeners }
        for listener in listeners {
            let sockets = try await ListenerSockets.bind(listener, tls: Self.context(of: listener), loops: loops, group: group)
            state.withLock { $0.listeners.append(sockets) }
        }
    }

    // MARK: Reload

    /// Puts a new configuration in force: all of it, or nothing. Ends no open exchange.
    ///
    /// - Throws: `BindProblem` for a new address that cannot be bound, or what NIOSSL finds wrong with a certificate; then nothing has changed.
    package func apply(_ configuration: GatewayConfiguration) async throws {
        let (current, oldPlans) = state.withLock { ($0.listeners, $0.plans) }
        let plans = try Self.plans(for: configuration, keeping: oldPlans)
        var contexts: [NIOSSLContext?] = []
        for listener in configuration.listeners { contexts.append(try Self.context(of: listener)) }

        var kept: [(ListenerSockets, NIOSSLContext?)] = []
        var opened: [ListenerSockets] = []
        for (listener, tls) in zip(configuration.listeners, contexts) {
            if let same = current.first(where: { $0.address == listener.address }) {
                kept.append((same, tls))
                continue
            }
            do {
                opened.append(try await ListenerSockets.bind(listener, tls: tls, loops: loops, group: group))
            } catch {
                for sockets in opened { await sockets.close() }
                throw error
            }
        }
        let snapshot = Snapshot(configuration)
        for loop in loops {
            try await loop.eventLoop.submit { loop.value.use(snapshot, plans: plans) }.get()
        }
        for (sockets, tls) in kept { sockets.use(tls: tls) }
        for sockets in current where !kept.contains(where: { $0.0 === sockets }) { await sockets.close() }
        state.withLock { state in
            state.configuration = configuration
            state.plans = plans
            state.listeners = kept.map(\.0) + opened
        }
    }

    /// New keys of one issuer (by its index): tokens verified under the old ones are verified anew.
    package func use(keys: KeySet, ofIssuer name: String) async throws {
        let (configuration, plans) = state.withLock { state in
            for index in state.configuration.issuers.indices
            where state.configuration.issuers[index].name == name && !state.configuration.issuers[index].isOwn {
                state.configuration.issuers[index].trusted.keys = keys
            }
            return (state.configuration, state.plans)
        }
        let snapshot = Snapshot(configuration)
        for loop in loops {
            try await loop.eventLoop.submit { loop.value.use(snapshot, plans: plans) }.get()
        }
    }

    private static func plans(for configuration: GatewayConfiguration, keeping old: [UpstreamPlan]) throws -> [UpstreamPlan] {
        try Snapshot.upstreams(of: configuration).map { upstream in
            if let same = old.first(where: { $0.serves(upstream) }) { return same }
            return try UpstreamPlan(upstream)
        }
    }

    private static func context(of listener: ListenerConfiguration) throws -> NIOSSLContext? {
        try listener.tls.map { try NIOSSLContext(configuration: $0) }
    }

    // MARK: Drain

    package var isDraining: Bool { state.withLock { $0.isDraining } }

    /// Accepts nothing new, ends idle connections and lets the others finish; what is left when the time is over is cut.
    /// Returns when no connection is left. Cancelling the task ends the waiting.
    package func drain() async {
        let (listeners, time) = state.withLock { state in
            state.isDraining = true
            defer { state.listeners = [] }
            return (state.listeners, state.configuration.drain)
        }
        for sockets in listeners { await sockets.close() }
        for loop in loops { try? await loop.eventLoop.submit { loop.value.beginDrain() }.get() }
        let end = NIODeadline.now() + time
        while await connectionCount() > 0, NIODeadline.now() < end {
            guard await pause() else { return }
        }
        for loop in loops { try? await loop.eventLoop.submit { loop.value.endDrain() }.get() }
        // What was told to end gets a moment to read it.
        let last = NIODeadline.now() + Self.farewell
        while await connectionCount() > 0, NIODeadline.now() < last {
            guard await pause() else { return }
        }
        for loop in loops { try? await loop.eventLoop.submit { loop.value.closeAll() }.get() }
    }

    /// How often a drain looks whether it is done, and how long the last answers and close frames may take to leave.
    private static let drainInterval = TimeAmount.milliseconds(20)
    private static let farewell = TimeAmount.milliseconds(500)

    /// False when the task was cancelled meanwhile.
    private func pause() async -> Bool {
        (try? await Task.sleep(nanoseconds: UInt64(Self.drainInterval.nanoseconds))) != nil
    }

    private func connectionCount() async -> Int {
        var count = 0
        for loop in loops { count += (try? await loop.eventLoop.submit { loop.value.connectionCount }.get()) ?? 0 }
        return count
    }

    // MARK: For the control plane

    /// The counters of all loops, added up.
    package func metrics() async -> GatewayMetrics {
        var sum = GatewayMetrics()
        for loop in loops {
            if let one = try? await loop.eventLoop.submit({ loop.value.counters.metrics() }).get() { sum.add(one) }
        }
        return sum
    }
}
