// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import NIOEmbedded
import Sessions

@testable import RedisClient
@testable import RedisSessions

/// A gateway as a process: `FleetMachine` and `PushMachine` as they are, performed as `FleetLink` and `RedisPush` do it, over a simulated network, by
/// threads of its own, with a clock of its own. It may be stopped; its clock goes on.
final class SimulatedGateway {
    let name: String
    let simulation: Simulation
    let world: World
    let settings: WorldSettings
    private(set) var machine: FleetMachine
    private var push: PushMachine
    private var pushConnection: SimulatedConnection?
    private(set) var client: SimulatedClient!
    private(set) var loops: [SimulatedLookup] = []
    private(set) var leaseEnd = NIODeadline.uptimeNanoseconds(0)
    private(set) var memoryEnd = NIODeadline.uptimeNanoseconds(0)
    private(set) var isGone = false
    private var isClosing = false
    private var timer: SimulatedTime?
    private var pushTimer: SimulatedTime?
    private var isFlushScheduled = false
    private var logouts: [UInt64: (Bool) -> Void] = [:]

    private let clockStart: SimulatedTime
    /// In a thousandth of a thousandth: at most one in a thousand, together with Redis' and the others'.
    private let drift: Int64
    private var stoppedUntil: SimulatedTime = 0
    private var waiting: [() -> Void] = []
    private var isWaking = false
    /// What is to be done on the loops: how much has been ordered, and how much each has done.
    private var ordered = 0
    private var underWay: [Int: Int] = [:]
    private var awaited: [(order: Int, body: () -> Void)] = []
    private var beliefs: [ObjectIdentifier: SimulatedPath] = [:]

    init(_ name: String, _ world: World) {
        self.name = name
        self.world = world
        simulation = world.simulation
        settings = world.settings
        machine = FleetMachine(
            FleetMachine.Settings(
                edge: name, staleness: .nanoseconds(settings.staleness), commandTimeout: .nanoseconds(settings.commandTimeout),
                connectTimeout: .nanoseconds(settings.connectTimeout)), keys: world.keys,
            fleetKeys: world.fleetKeys)
        push = PushMachine(
            PushMachine.Settings(greeting: [.role], channels: 3, connectTimeout: .nanoseconds(settings.connectTimeout)),
            seed: simulation.random.next())
        clockStart = simulation.between(0, .milliseconds(1_000_000))
        drift = Int64(simulation.random.next() % 1000) - 500
        client = SimulatedClient(self)
        loops = (0..<settings.loops).map { SimulatedLookup(self, number: $0) }
        client.connect()
        for loop in loops { loop.client.connect() }
        perform(push.start(now: now))
    }

    /// Its own clock.
    var now: NIODeadline { .uptimeNanoseconds(UInt64(clockStart + simulation.now + simulation.now / 1_000_000 * drift)) }

    private func simulated(_ deadline: NIODeadline) -> SimulatedTime {
        let left = Int64(bitPattern: deadline.uptimeNanoseconds) - Int64(bitPattern: now.uptimeNanoseconds)
        return simulation.now + max(0, left) + max(0, left) / 900 + 1
    }

    var isFresh: Bool { now < leaseEnd || settings.mutant == .leaseNotChecked }

    // MARK: The process

    /// Everything that happens in it: later, if it is stopped, and in order.
    func enter(_ body: @escaping () -> Void) {
        guard !isGone else { return }
        guard simulation.now < stoppedUntil || !waiting.isEmpty else { return body() }
        waiting.append(body)
        wake()
    }

    private func wake() {
        guard !isWaking else { return }
        isWaking = true
        simulation.at(stoppedUntil) { [self] in
            isWaking = false
            guard simulation.now >= stoppedUntil else { return wake() }
            let all = waiting
            waiting.removeAll()
            for body in all { if isGone { return } else { body() } }
        }
    }

    func stop(for time: SimulatedTime) { stoppedUntil = max(stoppedUntil, simulation.now + time) }
    var isStopped: Bool { simulation.now < stoppedUntil || !waiting.isEmpty }

    func die() {
        isGone = true
        pushConnection?.cut()
    }

    /// The simulation is over.
    func end() {
        isGone = true
        for loop in loops {
            loop.dropEverything()
            loop.client.end()
        }
        client.end()
        loops.removeAll()
        logouts.removeAll()
        waiting.removeAll()
        awaited.removeAll()
        pushConnection = nil
    }

    /// A proper end, in the order in which `FleetLink.close` does it.
    func close() {
        enter { [self] in
            isClosing = true
            for loop in loops { loop.dropEverything() }
            client.send(.removeEdge(name)) { [self] _ in
                client.send(publish(.farewell(edge: name), to: nil)) { [self] _ in die() }
            }
        }
    }

    // MARK: The network

    func path(to redis: SimulatedRedis) -> SimulatedPath {
        if let known = beliefs[ObjectIdentifier(redis)] { return known }
        let path = SimulatedPath(to: redis)
        beliefs[ObjectIdentifier(redis)] = path
        return path
    }

    func reach(_ wanted: SimulatedRedis?, _ body: @escaping (SimulatedPath?) -> Void) {
        let path = path(to: wanted ?? world.primary(for: self))
        let arrival = max(simulation.now, path.blockedUntil) + 2 * simulation.between(settings.latency.0, settings.latency.1)
        let isLate = arrival > simulation.now + settings.connectTimeout
        simulation.at(isLate ? simulation.now + settings.connectTimeout : arrival) { [self] in
            enter { body(isLate || !path.redis.isPrimary ? nil : path) }
        }
    }

    func losePush() { pushConnection?.cut() }

    // MARK: RedisPush

    private func perform(_ action: PushMachine.Action) {
        switch action {
        case .ignore: return
        case .connect(let id):
            reach(nil) { [self] path in
                guard let path else { return perform(push.lost(id, reason: "", now: now)) }
                let connection = SimulatedConnection(simulation, path, latency: settings.latency) { [self] reply in
                    enter { [self] in if case .push(let push) = reply { perform(self.push.reply(push, from: id, now: now)) } }
                } onCut: { [self] in
                    enter { [self] in perform(push.lost(id, reason: "", now: now)) }
                }
                let action = push.connected(id)
                guard action == .greet else { return connection.close() }
                pushConnection = connection
                perform(action)
            }
        case .greet: pushConnection?.send(.greet)
        case .track: pushConnection?.send(.track)
        case .subscribe: pushConnection?.send(.subscribe([world.fleetKeys.fences, world.fleetKeys.acknowledgements(to: name)]))
        case .opened(let tracks): heard(.opened(tracks: tracks, serverID: 1))
        case .invalidated(let keys): heard(.invalidated(keys))
        case .message(let channel, let payload): heard(.message(channel: channel, payload: payload))
        case .pong: heard(.pong)
        case .lost:
            pushConnection?.close()
            pushConnection = nil
            heard(.lost)
        }
        guard let due = push.due.map(simulated), pushTimer.map({ due < $0 }) ?? true else { return }
        pushTimer = due
        simulation.at(due) { [self] in
            enter { [self] in
                if pushTimer == due { pushTimer = nil }
                perform(push.tick(now: now))
            }
        }
    }

    // MARK: FleetLink

    private func heard(_ event: RedisPushEvent) {
        guard !isClosing else { return }
        if settings.mutant == .othersNotHeard, case .message(let channel, _) = event, channel == world.fleetKeys.fences, !isOwn(event) { return }
        perform(machine.heard(event, now: now))
    }

    private func isOwn(_ event: RedisPushEvent) -> Bool {
        guard case .message(_, let payload) = event, case .fence(name, _)? = FleetMessage(payload) else { return false }
        return true
    }

    private func after(_ next: @escaping (inout FleetMachine, NIODeadline) -> [FleetMachine.Action]) {
        enter { [self] in if !isClosing { perform(next(&machine, now)) } }
    }

    func perform(_ actions: [FleetMachine.Action]) {
        leaseEnd = machine.leaseEnd
        memoryEnd = settings.mutant == .memorySurvivesLoss ? machine.leaseEnd : machine.memoryEnd
        for action in actions { perform(action) }
        world.noteSize(machine.size)
        if machine.needsFlush, !isFlushScheduled {
            isFlushScheduled = true
            simulation.after(simulation.between(0, settings.hop / 4)) { [self] in
                after { [self] machine, _ in
                    isFlushScheduled = false
                    return machine.flush()
                }
            }
        }
        guard let due = machine.due.map(simulated), timer.map({ due < $0 }) ?? true else { return }
        timer = due
        simulation.at(due) { [self] in
            after { [self] machine, now in
                if timer == due { timer = nil }
                return machine.tick(now: now)
            }
        }
    }

    private func perform(_ action: FleetMachine.Action) {
        simulation.tell("\(name) \(action)")
        switch action {
        case .verify(let number):
            if settings.mutant != .dataElsewhere, let redis = pushConnection?.redis { for loop in loops { loop.client.moveTo(redis) } }
            verify(number)
        case .ping:
            if settings.mutant == .pongNotAwaited { heard(.pong) } else { pushConnection?.send(.ping) }
        case .reconnect: perform(push.lost(push.connection, reason: "", now: now))
        case .beat(let beat, let isNew): sendBeat(beat, isNew)
        case .readFleet(let number):
            client.send(.readFleet) { [self] reply in
                var fleet: (edges: [Edge], undisturbed: TimeAmount)?
                if case .fleet(let edges, let undisturbed) = reply { fleet = (edges, .nanoseconds(undisturbed)) }
                if settings.mutant == .fleetNotRead { fleet?.edges = [] }
                if settings.mutant == .joinedViewIsComplete { fleet?.undisturbed = .hours(1) }
                after { [fleet] in $0.fleetRead(number, fleet, now: $1) }
            }
        case .read(let edge):
            client.send(.readEdge(edge)) { [self] reply in
                var reading = FleetMachine.Reading.unanswered
                if case .edge(let found) = reply { reading = found.map { .there($0) } ?? .gone }
                after { [reading] in $0.edgeRead(edge, reading, now: $1) }
            }
        case .forgetRemembered: if settings.mutant != .memorySurvivesLoss { onLoops { $0.forgetRemembered() } }
        case .flushed, .forgetEverything: onLoops { $0.forgetEverything() }
        case .changed(let users): onLoops { loop in for user in users { loop.changed(user) } }
        case .end(let session, let user): onLoops { $0.end(session, of: user, .revoked) }
        case .allEnded(let user): onLoops(waiting: { $0.allEnded(of: user, $1) })
        case .storeFellSilent: onLoops { $0.storeFellSilent() }
        case .whenApplied(let what):
            if settings.mutant == .acknowledgedBeforeApplied { return after { $0.applied(what, now: $1) } }
            awaited.append((ordered, { [self] in after { $0.applied(what, now: $1) } }))
            settleLoops()
        case .publish(let message, let edge):
            if settings.mutant == .echoNotAwaited, case .fence = message { heard(.message(channel: world.fleetKeys.fences, payload: message.bytes)) }
            client.send(publish(message, to: edge)) { _ in }
        case .confirmed(let sequence): logouts.removeValue(forKey: sequence)?(true)
        case .unknown(let sequence): logouts.removeValue(forKey: sequence)?(false)
        }
    }

    private func publish(_ message: FleetMessage, to edge: String?) -> SimulatedCommand {
        .publish(channel: edge.map(world.fleetKeys.acknowledgements) ?? world.fleetKeys.fences, message.bytes)
    }

    private func verify(_ number: UInt64) {
        var left = loops.count
        for loop in loops {
            hop { [self] in
                loop.verify { [self] in
                    hop { [self] in
                        left -= 1
                        guard left == 0 else { return }
                        after { [self] machine, now in
                            machine.verified(settings.mutant == .staleVerification ? latestVerification : number, now: now)
                        }
                    }
                }
            }
        }
        latestVerification = number
        if settings.mutant == .notVerified { after { $0.verified(number, now: $1) } }
    }
    private var latestVerification: UInt64 = 0

    private func sendBeat(_ beat: UInt64, _ isNew: Bool) {
        let description = EdgeDescription(id: name, address: "", version: "1")
        let sent = now
        let command = SimulatedCommand.beat(
            edge: name, value: description.heartbeat(staleness: .nanoseconds(settings.staleness)), lives: settings.staleness, isNew: isNew,
            channel: world.fleetKeys.acknowledgements(to: name), message: FleetMessage.heartbeat(edge: name, beat).bytes)
        client.send(command, replicas: settings.waitReplicas) { [self] reply, isReplicated in
            var wasThere: Bool?
            if case .integer(let was) = reply { wasThere = was == 1 }
            if !isReplicated, settings.mutant != .replicasNotAwaited { wasThere = nil }
            if settings.mutant == .beatNotHeard { after { $0.applied(.beat(beat), now: $1) } }
            after { [wasThere] in $0.beatAnswered(beat, isNew: isNew, wasThere: wasThere, sent: sent, now: $1) }
        }
    }

    // MARK: Threads

    func hop(_ body: @escaping () -> Void) {
        simulation.after(simulation.between(0, simulation.chance(2) ? 100 * settings.hop * world.slowness : settings.hop)) { [self] in enter(body) }
    }

    private func onLoops(_ body: @escaping (SimulatedLookup) -> Void) {
        onLoops(waiting: { loop, done in
            body(loop)
            done()
        })
    }

    private func onLoops(waiting body: @escaping (SimulatedLookup, _ done: @escaping () -> Void) -> Void) {
        ordered += 1
        let order = ordered
        underWay[order] = loops.count
        for loop in loops {
            loop.inTurn { [self] in
                body(loop) { [self] in
                    hop { [self] in
                        underWay[order, default: 1] -= 1
                        if underWay[order] == 0 { underWay[order] = nil }
                        settleLoops()
                    }
                }
            }
        }
    }

    private func settleLoops() {
        let done = (underWay.keys.min() ?? ordered + 1) - 1
        while let first = awaited.first, first.order <= done { awaited.removeFirst().body() }
    }

    // MARK: Logouts, as `RedisSessionStore` does them

    func logOut(user: Int, _ session: SimulatedSession?, _ answer: @escaping (Bool) -> Void) {
        client.send(.remove(user: user, session), replicas: settings.waitReplicas) { [self] reply, isReplicated in
            guard case .integer = reply, isReplicated || settings.mutant == .replicasNotAwaited else { return answer(false) }
            var left = loops.count
            let id = session.map(SimulatedLookup.name), user = SimulatedRedis.user(user)
            for loop in loops {
                loop.endAsked(id, of: user) { [self] in
                    hop { [self] in
                        left -= 1
                        guard left == 0 else { return }
                        guard !isClosing else { return answer(false) }
                        let opened = simulation.now
                        let sequence = machine.open(id, of: user, .logout, now: now)
                        logouts[sequence] = { [self] isConfirmed in
                            if isConfirmed { world.noteConfirmation(simulation.now - opened, ofAll: session == nil) }
                            answer(isConfirmed)
                        }
                        if settings.mutant == .silentNotAwaited { logouts.removeValue(forKey: sequence)?(true) }
                        perform([])
                    }
                }
            }
        }
    }
}
