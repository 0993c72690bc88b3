// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Sessions

@testable import RedisClient
@testable import RedisSessions

/// A session of the simulated world.
struct SimulatedSession: Hashable {
    var user: Int
    var number: Int
}

enum SimulatedCommand {
    case isMember(SimulatedSession)
    case add(SimulatedSession)
    /// SREM of one, or DEL of all.
    case remove(user: Int, SimulatedSession?)
    case wait(replicas: Int, patience: SimulatedTime)
    case beat(edge: String, value: [UInt8], lives: SimulatedTime, isNew: Bool, channel: [UInt8], message: [UInt8])
    case removeEdge(String)
    case readFleet
    case readEdge(String)
    case publish(channel: [UInt8], [UInt8])
    // Over a push connection.
    case greet, track, subscribe([[UInt8]]), ping
}

enum SimulatedReply {
    case integer(Int64)
    case fleet([Edge], undisturbed: SimulatedTime)
    case edge(Edge?)
    case push(RedisReply)
}

/// One Redis with its event loop's cycles: what is published and answered leaves at the end of a cycle, and the invalidations of what it changed after
/// that. Its clock may be set.
final class SimulatedRedis {
    let simulation: Simulation
    let settings: WorldSettings
    let keys: SessionKeys
    /// Where this node's changes go, as long as it is its primary.
    var replica: SimulatedRedis?
    var clockOffset: SimulatedTime = 0
    var isPrimary: Bool
    /// Told of what is no session any more.
    var onRemoved: (Set<SimulatedSession>) -> Void = { _ in }

    private(set) var sets: [Int: Set<SimulatedSession>] = [:]
    private var beats: [String: (value: [UInt8], end: SimulatedTime)] = [:]
    /// Since when the set of ids has been there.
    private var edgesSince: SimulatedTime?
    private var listeners: [SimulatedConnection] = []
    private var changedUsers: Set<Int> = []
    private var changedEdges: Set<String> = []
    private var answers: [(SimulatedConnection, SimulatedReply)] = []
    private var isCycleRunning = false
    private var offset = 0
    private var replicated = 0
    private var replicationReady: SimulatedTime = 0
    private var waits: [(connection: SimulatedConnection, offset: Int)] = []
    /// For the figures of scale.
    private(set) var sentMessages = 0
    private(set) var sentBytes = 0
    private(set) var commands = 0

    init(_ simulation: Simulation, _ settings: WorldSettings, keys: SessionKeys, isPrimary: Bool) {
        self.simulation = simulation
        self.settings = settings
        self.keys = keys
        self.isPrimary = isPrimary
        expire()
    }

    private var clock: SimulatedTime { simulation.now + clockOffset }

    // MARK: Commands

    /// Returns whether the connection has to wait before the next one.
    func execute(_ command: SimulatedCommand, from connection: SimulatedConnection) -> Bool {
        beginCycle()
        commands += 1
        switch command {
        case .isMember(let session): answer(connection, .integer(sets[session.user]?.contains(session) ?? false ? 1 : 0))
        case .add(let session):
            apply(.add(session))
            answer(connection, .integer(1))
        case .remove(let user, let session):
            let was = session.map { sets[user]?.contains($0) ?? false } ?? !(sets[user]?.isEmpty ?? true)
            if was { apply(command) }
            answer(connection, .integer(was ? 1 : 0))
        case .wait(let count, let patience):
            let reached = replica == nil ? 0 : 1
            if count <= 0 || replicated >= offset && reached >= count {
                answer(connection, .integer(Int64(reached)))
                return false
            }
            waits.append((connection, offset))
            simulation.after(patience) { [self] in endWait(connection, enough: false) }
            return true
        case .beat(let edge, _, _, let isNew, let channel, let message):
            dropExpired()
            guard isNew || beats[edge] != nil else {
                answer(connection, .integer(0))
                return false
            }
            apply(command)
            publish(channel, message)
            answer(connection, .integer(1))
        case .removeEdge(let edge):
            if beats[edge] != nil { apply(.removeEdge(edge)) }
            answer(connection, .integer(1))
        case .readFleet:
            dropExpired()
            let edges = beats.sorted { $0.key < $1.key }.map { Edge(id: $0.key, value: $0.value.value, left: ($0.value.end - clock) / 1_000_000) }
            answer(connection, .fleet(edges, undisturbed: edgesSince.map { max(0, clock - $0) } ?? 0))
        case .readEdge(let edge):
            dropExpired()
            answer(connection, .edge(beats[edge].map { Edge(id: edge, value: $0.value, left: ($0.end - clock) / 1_000_000) }))
        case .publish(let channel, let message):
            publish(channel, message)
            answer(connection, .integer(1))
        case .greet:
            answer(connection, .push(.array([.bulk(Array((isPrimary ? "master" : "slave").utf8))])))
            answer(connection, .push(.integer(7)))
        case .track:
            connection.tracks = settings.tracks
            answer(connection, .push(settings.tracks ? .simple(Array("OK".utf8)) : .error(Array("NOPERM no tracking".utf8))))
        case .subscribe(let channels):
            connection.channels = channels
            listeners.append(connection)
            for channel in [Array("__redis__:invalidate".utf8)] + channels {
                answer(connection, .push(.array([.bulk(Array("subscribe".utf8)), .bulk(channel), .integer(1)])))
            }
        case .ping: answer(connection, .push(.array([.bulk(Array("pong".utf8)), .bulk([])])))
        }
        return false
    }

    private func publish(_ channel: [UInt8], _ message: [UInt8]) {
        let push = RedisReply.array([.bulk(Array("message".utf8)), .bulk(channel), .bulk(message)])
        for listener in listeners where listener.channels.contains(channel) { answer(listener, .push(push)) }
    }

    private func answer(_ connection: SimulatedConnection, _ reply: SimulatedReply) { answers.append((connection, reply)) }

    // MARK: Changes, here and at the replica

    private func apply(_ command: SimulatedCommand) {
        change(command)
        offset += 1
        guard let replica else { return }
        let mine = offset
        replicationReady = max(replicationReady, simulation.now + simulation.between(settings.latency.0, settings.latency.1))
        simulation.at(replicationReady) { [self] in
            guard self.replica === replica else { return }
            replica.change(command)
            simulation.after(simulation.between(settings.latency.0, settings.latency.1)) { [self] in
                guard self.replica === replica else { return }
                replicated = mine
                for wait in waits where wait.offset <= mine { endWait(wait.connection, enough: true) }
            }
        }
    }

    private func endWait(_ connection: SimulatedConnection, enough: Bool) {
        guard let place = waits.firstIndex(where: { $0.connection === connection }) else { return }
        waits.remove(at: place)
        beginCycle()
        answer(connection, .integer(enough ? 1 : 0))
        connection.goOn()
    }

    private func change(_ command: SimulatedCommand) {
        beginCycle()
        switch command {
        case .add(let session):
            sets[session.user, default: []].insert(session)
            changedUsers.insert(session.user)
        case .remove(let user, let session):
            onRemoved(session.map { [$0] } ?? sets[user] ?? [])
            if let session { sets[user]?.remove(session) } else { sets[user] = nil }
            changedUsers.insert(user)
        case .beat(let edge, let value, let lives, let isNew, _, _):
            beats[edge] = (isNew ? value : beats[edge]?.value ?? value, clock + lives)
            if edgesSince == nil { edgesSince = clock }
            changedEdges.insert(edge)
        case .removeEdge(let edge):
            beats[edge] = nil
            changedEdges.insert(edge)
        case .isMember, .wait, .readFleet, .readEdge, .publish, .greet, .track, .subscribe, .ping: break
        }
    }

    private func dropExpired() {
        guard isPrimary else { return }
        for (edge, beat) in beats where beat.end <= clock {
            beats[edge] = nil
            changedEdges.insert(edge)
        }
    }

    /// Redis looks for keys that are over ten times a second.
    private func expire() {
        beginCycle()
        dropExpired()
        simulation.after(.milliseconds(100)) { [weak self] in self?.expire() }
    }

    private func beginCycle() {
        guard !isCycleRunning else { return }
        isCycleRunning = true
        simulation.after(simulation.between(0, settings.cycle)) { [weak self] in self?.endCycle() }
    }

    private func endCycle() {
        isCycleRunning = false
        if !changedUsers.isEmpty || !changedEdges.isEmpty {
            let names =
                changedUsers.sorted().map { keys.sessions(Self.user($0)) }
                + changedEdges.sorted().map { FleetKeys(prefix: keys.prefix, tag: nil).edge($0) }
            push(.array(names.map { .bulk($0) }))
            changedUsers.removeAll()
            changedEdges.removeAll()
        }
        for (connection, reply) in answers {
            if case .push(let push) = reply { count(push) }
            connection.deliver(reply)
        }
        answers.removeAll()
    }

    /// After what was published in this cycle.
    private func push(_ names: RedisReply) {
        let message = RedisReply.array([.bulk(Array("message".utf8)), .bulk(Array("__redis__:invalidate".utf8)), names])
        for listener in listeners where listener.tracks { answers.append((listener, .push(message))) }
    }

    private func count(_ push: RedisReply) {
        sentMessages += 1
        sentBytes += Self.size(push)
    }

    // MARK: What befalls it

    func flush() {
        beginCycle()
        for set in sets.values { onRemoved(set) }
        sets.removeAll()
        beats.removeAll()
        edgesSince = nil
        changedUsers.removeAll()
        changedEdges.removeAll()
        push(.null)
        replica?.flush()
    }

    /// Ends with everything, and is back empty.
    func restart() {
        flush()
        answers.removeAll()
        changedUsers.removeAll()
        for connection in connections { connection.cut() }
    }

    /// The replica takes over; this one goes on for those that still reach it.
    func failOver() {
        replica?.isPrimary = true
        replica?.replica = nil
        replica = nil
    }

    func end() {
        connections.removeAll()
        listeners.removeAll()
        answers.removeAll()
        waits.removeAll()
        replica = nil
    }

    private var connections: [SimulatedConnection] = []
    func add(_ connection: SimulatedConnection) { connections.append(connection) }
    func remove(_ connection: SimulatedConnection) {
        connections.removeAll { $0 === connection }
        listeners.removeAll { $0 === connection }
        waits.removeAll { $0.connection === connection }
    }

    static func user(_ number: Int) -> UserID { UserID(name: "u\(number)") }

    /// As RESP2 spells it.
    static func size(_ reply: RedisReply) -> Int {
        switch reply {
        case .integer(let value): 3 + String(value).utf8.count
        case .simple(let bytes), .error(let bytes): 3 + bytes.count
        case .bulk(let bytes): 5 + String(bytes.count).utf8.count + bytes.count
        case .null: 5
        case .array(let elements): elements.reduce(3 + String(elements.count).utf8.count) { $0 + size($1) }
        }
    }
}
