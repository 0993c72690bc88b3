// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// What lies between a gateway and a Redis. A path that is blocked loses nothing, as TCP does not: what is under way comes late, or the connection is
/// given up.
final class SimulatedPath {
    let redis: SimulatedRedis
    var blockedUntil: SimulatedTime = 0

    init(to redis: SimulatedRedis) {
        self.redis = redis
    }
}

/// One connection of a gateway: in order in both directions, at its own speed.
final class SimulatedConnection {
    private let simulation: Simulation
    private let path: SimulatedPath
    private let latency: (SimulatedTime, SimulatedTime)
    private var thereAt: SimulatedTime = 0
    private var backAt: SimulatedTime = 0
    private var inbox: [SimulatedCommand] = []
    private var isBlocked = false
    private(set) var isOpen = true
    private let onReply: (SimulatedReply) -> Void
    private let onCut: () -> Void
    // What Redis knows of it.
    var tracks = false
    var channels: [[UInt8]] = []

    var redis: SimulatedRedis { path.redis }

    init(
        _ simulation: Simulation, _ path: SimulatedPath, latency: (SimulatedTime, SimulatedTime), onReply: @escaping (SimulatedReply) -> Void,
        onCut: @escaping () -> Void
    ) {
        self.simulation = simulation
        self.path = path
        self.latency = latency
        self.onReply = onReply
        self.onCut = onCut
        path.redis.add(self)
    }

    private func arrival(after last: SimulatedTime) -> SimulatedTime {
        let time = max(simulation.now, path.blockedUntil) + simulation.between(latency.0, latency.1)
        return max(last, time)
    }

    func send(_ command: SimulatedCommand) {
        thereAt = arrival(after: thereAt)
        simulation.at(thereAt) { [self] in
            guard isOpen else { return }
            inbox.append(command)
            work()
        }
    }

    private func work() {
        while !isBlocked, isOpen, !inbox.isEmpty { isBlocked = redis.execute(inbox.removeFirst(), from: self) }
    }

    /// Redis: what blocked it is over.
    func goOn() {
        isBlocked = false
        work()
    }

    /// Redis: an answer, or something pushed.
    func deliver(_ reply: SimulatedReply) {
        guard isOpen else { return }
        backAt = arrival(after: backAt)
        simulation.at(backAt) { [self] in if isOpen { onReply(reply) } }
    }

    /// By the gateway: nothing more is heard, and what is under way to Redis may still arrive or not.
    func close() {
        guard isOpen else { return }
        isOpen = false
        redis.remove(self)
    }

    /// By the network or Redis; the gateway hears of it.
    func cut() {
        guard isOpen else { return }
        close()
        simulation.at(arrival(after: backAt)) { [self] in onCut() }
    }
}

/// A client as the gateways have it: commands in order over one connection that is made anew; a late answer costs the connection, and without one
/// everything fails at once.
final class SimulatedClient {
    private unowned let gateway: SimulatedGateway
    private let simulation: Simulation
    private var connection: SimulatedConnection?
    private var outstanding: [(deadline: SimulatedTime, body: (SimulatedReply?) -> Void)] = []
    private var isTimed = false
    private var isConnecting = false

    init(_ gateway: SimulatedGateway) {
        self.gateway = gateway
        simulation = gateway.simulation
    }

    var redis: SimulatedRedis? { connection?.redis }

    /// To where the gateway believes the primary to be, or where it is told to go.
    func connect(to wanted: SimulatedRedis? = nil) {
        guard !isConnecting, connection == nil, !gateway.isGone else { return }
        isConnecting = true
        gateway.reach(wanted) { [self] path in
            isConnecting = false
            guard let path else { return retry() }
            connection = SimulatedConnection(simulation, path, latency: gateway.settings.latency) { [self] reply in
                gateway.enter { [self] in answered(reply) }
            } onCut: { [self] in
                gateway.enter { [self] in lost() }
            }
        }
    }

    private func retry() {
        simulation.after(simulation.between(.milliseconds(25), .milliseconds(50))) { [self] in connect() }
    }

    func send(_ command: SimulatedCommand, _ body: @escaping (SimulatedReply?) -> Void) {
        guard let connection else { return body(nil) }
        outstanding.append((simulation.now + gateway.settings.commandTimeout, body))
        connection.send(command)
        time()
    }

    /// One timer for the oldest.
    private func time() {
        guard !isTimed, let first = outstanding.first else { return }
        isTimed = true
        simulation.at(first.deadline) { [self] in
            gateway.enter { [self] in
                isTimed = false
                if let first = outstanding.first, first.deadline <= simulation.now { lost() } else { time() }
            }
        }
    }

    /// For commands whose answer matters only together.
    func send(_ command: SimulatedCommand, replicas: Int, _ body: @escaping (SimulatedReply?, _ replicated: Bool) -> Void) {
        guard replicas > 0 else { return send(command) { body($0, true) } }
        var first: SimulatedReply?
        send(command) { first = $0 }
        send(.wait(replicas: replicas, patience: gateway.settings.commandTimeout / 2)) { reply in
            if case .integer(let count) = reply { body(first, count >= Int64(replicas)) } else { body(nil, false) }
        }
    }

    private func answered(_ reply: SimulatedReply) {
        guard !outstanding.isEmpty else { return }
        outstanding.removeFirst().body(reply)
    }

    func lost() {
        guard let connection else { return }
        self.connection = nil
        connection.close()
        let failed = outstanding
        outstanding.removeAll()
        for request in failed { request.body(nil) }
        retry()
    }

    func end() {
        connection = nil
        outstanding.removeAll()
    }

    func moveTo(_ redis: SimulatedRedis) {
        guard let connection, connection.redis !== redis else { return }
        self.connection = nil
        connection.close()
        let failed = outstanding
        outstanding.removeAll()
        for request in failed { request.body(nil) }
        connect(to: redis)
    }
}
