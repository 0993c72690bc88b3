// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Logging
import NIOCore
import RedisClient
import Sessions

/// This gateway's part in the fleet, over one Redis: it listens to what changes, keeps its lease, applies the logouts of others and has its own
/// confirmed. `FleetMachine` decides; this performs, on the control plane's event loop.
///
/// `@unchecked Sendable`: everything mutable is confined to `eventLoop`; what may be called from elsewhere hops.
final class FleetLink: @unchecked Sendable {
    struct Configuration: Sendable {
        var edge: EdgeDescription
        /// Which primary of a cluster; nil outside one.
        var tag: String?
        /// Until when the primaries' leases count that this one has taken over from.
        var inherited: NIODeadline
        /// `revocation.max_staleness`.
        var staleness: TimeAmount
        /// `store.redis.wait_replicas`.
        var waitReplicas: Int
    }

    let eventLoop: any EventLoop
    let lease = FreshnessLease()
    private let configuration: Configuration
    private let redis: RedisConfiguration
    private let keys: SessionKeys
    private let fleetKeys: FleetKeys
    /// How this gateway is called here.
    let name: String
    private let loops: SessionLoops<RedisSessionLookup>
    private let doubt: @Sendable () -> Void
    private let logger: Logger
    /// For heartbeats and messages; not shared, as WAIT holds up what comes after it.
    private let client: RedisClient
    private var push: RedisPush?

    private var machine: FleetMachine
    private var answers: [UInt64: (Result<Void, StoreUnavailable>) -> Void] = [:]
    private var isFlushScheduled = false
    /// Done when everything that has been heard so far has been applied on every loop.
    private var applied: EventLoopFuture<Void>
    /// The server that `push` is connected to.
    private var serverID: UInt64 = 0
    private var isListening = false
    private let held: EventLoopPromise<Void>
    private var timer: (due: NIODeadline, scheduled: Scheduled<Void>)?
    /// Why Redis has refused the last heartbeat that it answered; nil: it has not.
    private var toldRefusal: String?
    private var isClosing = false

    /// - Parameter doubt: told when the server says that the keys are another's: somebody has to find out who has them now.
    init(
        _ configuration: Configuration, redis: RedisConfiguration, keys: SessionKeys, loops: SessionLoops<RedisSessionLookup>,
        former: [FleetView] = [], eventLoop: any EventLoop, logger: Logger, doubt: @escaping @Sendable () -> Void
    ) {
        self.configuration = configuration
        self.redis = redis
        self.keys = keys
        fleetKeys = FleetKeys(prefix: keys.prefix, tag: configuration.tag)
        name = fleetKeys.name(configuration.edge.id)
        self.loops = loops
        self.doubt = doubt
        self.eventLoop = eventLoop
        self.logger = logger
        client = RedisClient(eventLoop: eventLoop, configuration: redis, logger: logger)
        machine = FleetMachine(
            FleetMachine.Settings(
                edge: name, staleness: configuration.staleness, commandTimeout: redis.commandTimeout, connectTimeout: redis.connectTimeout),
            keys: keys, fleetKeys: fleetKeys, former: former, inherited: configuration.inherited)
        applied = eventLoop.makeSucceededVoidFuture()
        held = eventLoop.makePromise()
    }

    /// Any thread. Redis need not be there yet.
    func start() {
        client.start()
        let push = RedisPush(
            eventLoop: eventLoop, configuration: redis, prefixes: keys.trackedPrefixes,
            channels: [fleetKeys.fences, fleetKeys.acknowledgements(to: name)], logger: logger
        ) { [weak self] event in self?.heard(event) }
        eventLoop.execute { [self] in
            self.push = push
            push.start()
            perform([])
        }
    }

    /// `saysFarewell`: nothing acts on this link's lease any more. Then it takes the heartbeat away and tells the others, in this order: the invalidation
    /// of a heartbeat does not say whether it was written or removed, and a farewell that came before it would be undone by it. Else they wait for as
    /// long as it might: another link has inherited the lease.
    func close(saysFarewell: Bool) async {
        // Logouts that wait for others are answered first.
        let end = LeaseClock.now() + configuration.staleness
        while let left = try? await eventLoop.submit({ self.answers.count }).get(), left > 0, LeaseClock.now() < end {
            guard (try? await Task.sleep(for: .milliseconds(20))) != nil else { break }
        }
        try? await eventLoop.submit { [self] in
            isClosing = true
            perform(machine.heard(.lost, now: LeaseClock.now()))
            timer?.scheduled.cancel()
            settleAll(.failure(StoreUnavailable("the gateway ends")))
            held.succeed()
        }.get()
        if saysFarewell {
            _ = try? await client.callAll([
                RedisCommand([Array("DEL".utf8), fleetKeys.edge(name)]), RedisCommand([Array("SREM".utf8), fleetKeys.edges, Array(name.utf8)]),
            ])
            _ = try? await client.call(publish(.farewell(edge: name), to: fleetKeys.fences))
        }
        try? await eventLoop.submit { [self] in push?.close() }.get()
        try? await client.close().get()
    }

    /// For the link that takes over from this one. On the loop.
    var view: FleetView { machine.view }

    /// Succeeds when answers count for the first time by what this link has heard itself, or the link is closed.
    var whenHeld: EventLoopFuture<Void> { held.futureResult }

    // MARK: Logouts of this gateway

    /// Returns when every gateway that may still act on what it knew before has applied the logout, or can act no more.
    /// Throws when that cannot be known.
    func confirm(_ session: String?, of user: UserID, reason: RevokeReason) async throws(StoreUnavailable) {
        let result = await withCheckedContinuation { continuation in
            eventLoop.execute { [self] in
                guard !isClosing else {
                    return continuation.resume(returning: Result<Void, StoreUnavailable>.failure(StoreUnavailable("the gateway ends")))
                }
                let sequence = machine.open(session, of: user, reason, now: LeaseClock.now())
                let asked = serverID
                answers[sequence] = { [self] result in
                    // Acknowledgements that came over another server than the one that has the logout are of gateways that may not have heard of it.
                    let isSame = asked == 0 || asked == serverID
                    continuation.resume(returning: isSame ? result : .failure(StoreUnavailable("Redis is another server now")))
                }
                perform([])
            }
        }
        try result.get()
    }

    /// Tells the others and does not wait: for what ends without anybody having logged out.
    func announce(_ session: String?, of user: UserID, reason: RevokeReason) {
        eventLoop.execute { [self] in
            guard !isClosing else { return }
            _ = machine.open(session, of: user, reason, now: LeaseClock.now())
            perform([])
        }
    }

    private func settleAll(_ result: Result<Void, StoreUnavailable>) {
        for answer in answers.values { answer(result) }
        answers.removeAll()
    }

    private func settle(_ sequence: UInt64, _ result: Result<Void, StoreUnavailable>) {
        answers.removeValue(forKey: sequence)?(result)
    }

    // MARK: Performing

    private func heard(_ event: RedisPushEvent) {
        guard !isClosing else { return }
        if case .lost = event { isListening = false }
        if case .opened(let tracks, let server) = event {
            serverID = server
            isListening = true
            if !tracks { logger.warning("Redis does not track keys: sessions are asked for with every request") }
        }
        perform(machine.heard(event, now: LeaseClock.now()))
    }

    /// On the link's event loop, for every event: `next` asks the machine what has to be done.
    private func after(_ next: @escaping @Sendable (inout FleetMachine, NIODeadline) -> [FleetMachine.Action]) {
        eventLoop.execute { [self] in
            guard !isClosing else { return }
            perform(next(&machine, LeaseClock.now()))
        }
    }

    private func perform(_ actions: [FleetMachine.Action]) {
        if !lease.wasEverHeld, machine.proven > .uptimeNanoseconds(0) { held.succeed() }
        lease.set(
            answersUntil: machine.leaseEnd, memoryUntil: machine.memoryEnd, proven: machine.proven, serverID: serverID, isListening: isListening)
        for action in actions { perform(action) }
        if machine.needsFlush { scheduleFlush() }
        rearm()
    }

    private func perform(_ action: FleetMachine.Action) {
        switch action {
        case .verify(let number):
            loops.verify(configuration.tag == nil ? nil : redis.address, on: eventLoop).whenComplete { [self] _ in
                after { $0.verified(number, now: $1) }
            }
        case .ping: push?.ping()
        case .reconnect: push?.reconnect(reason: "nothing came back over the connection that listens")
        case .beat(let beat, let isNew): sendHeartbeat(beat, isNew: isNew)
        case .readFleet(let number): readFleet(number)
        case .read(let edge): read(edge)
        case .forgetRemembered: onLoops { $0.forgetRemembered() }
        case .flushed: onLoops { $0.flushed() }
        case .forgetEverything: onLoops { $0.forgetEverything() }
        case .changed(let users):
            onLoops { lookup in
                for user in users { lookup.changed(user) }
            }
        case .end(let session, let user): onLoops { $0.end(session, of: user, .revoked) }
        case .allEnded(let user): applied = applied.and(loops.allEnded(of: user, on: eventLoop)).map { _ in }
        case .storeFellSilent: onLoops { $0.storeFellSilent() }
        case .whenApplied(let what): applied.whenComplete { [self] _ in after { $0.applied(what, now: $1) } }
        case .publish(let message, let edge):
            client.send(publish(message, to: edge.map(fleetKeys.acknowledgements) ?? fleetKeys.fences), Unheeded())
        case .confirmed(let sequence): settle(sequence, .success(()))
        case .unknown(let sequence): settle(sequence, .failure(StoreUnavailable("it is not known whether every gateway has applied the logout")))
        }
    }

    /// On every loop, in the order of the calls.
    private func onLoops(_ body: @escaping @Sendable (RedisSessionLookup) -> Void) {
        applied = applied.and(loops.onEach(eventLoop, body)).map { _ in }
    }

    // MARK: What is asked of Redis

    private func sendHeartbeat(_ beat: UInt64, isNew: Bool) {
        let name = name, staleness = configuration.staleness.nanoseconds / 1_000_000
        let arguments =
            [
                Array(String(staleness).utf8), Array(name.utf8), fleetKeys.acknowledgements(to: name), FleetMessage.heartbeat(edge: name, beat).bytes,
                serverMark,
            ]
            + (isNew ? [configuration.edge.heartbeat(staleness: configuration.staleness)] : [])
        let patience = max(1, redis.commandTimeout.nanoseconds / 2_000_000)
        let wait = configuration.waitReplicas > 0 ? [RedisCommand("WAIT", String(configuration.waitReplicas), String(patience))] : []
        let sent = LeaseClock.now(), serverID = serverID
        Task { [self, client, fleetKeys, configuration, doubt] in
            let script = isNew ? FleetScripts.write : FleetScripts.renew
            let replies = try? await client.run(script, keys: [fleetKeys.edge(name), fleetKeys.edges], arguments: arguments, then: wait)
            var wasThere = replies?.first.flatMap { reply -> Bool? in
                guard case .integer(let was) = reply, was == 0 || was == 1 else { return nil }
                return was == 1
            }
            var refusal = replies?.first.flatMap(\.errorCode)
            // Too few replicas have it: this Redis may have been replaced without knowing.
            if !wait.isEmpty, (replies?.last?.integer ?? 0) < Int64(configuration.waitReplicas) {
                wasThere = nil
                if replies != nil { refusal = refusal ?? "too few replicas have it" }
            }
            if replies != nil { tell(refusal) }
            // It is no primary of a cluster any more, or has no slots.
            if refusal == "MOVED" { doubt() }
            // What listens has to be connected to the very server that has the heartbeat. If not, its name has moved, and both go where it leads now.
            if client.status.serverID != serverID {
                wasThere = nil
                if client.isConnected { eventLoop.execute { self.reconnect() } }
            }
            after { [wasThere] in $0.beatAnswered(beat, isNew: isNew, wasThere: wasThere, sent: sent, now: $1) }
        }
    }

    /// Once for each reason: a Redis that answers and does not write is no outage of a connection, which would be told elsewhere.
    private func tell(_ refusal: String?) {
        eventLoop.execute { [self] in
            guard refusal != toldRefusal else { return }
            toldRefusal = refusal
            if let refusal {
                logger.warning("Redis does not take the heartbeat: no session can be confirmed", metadata: ["reason": "\(refusal)"])
            } else {
                logger.notice("Redis takes the heartbeat again")
            }
        }
    }

    /// On the loop: the address of that server leads to another one.
    func lookAgain(from server: UInt64) {
        if isListening, serverID == server { reconnect() }
    }

    private func reconnect() {
        guard !isClosing else { return }
        client.reconnect(reason: "another server has its address")
        push?.reconnect(reason: "another server has its address")
    }

    /// Those that have a heartbeat now; who joins from now on is heard of.
    private func readFleet(_ number: UInt64) {
        Task { [self] in
            let fleet = try? await currentFleet()
            after { $0.fleetRead(number, fleet, now: $1) }
        }
    }

    private func read(_ id: String) {
        Task { [self] in
            let key = fleetKeys.edge(id)
            let replies = try? await client.callAll([RedisCommand([Array("GET".utf8), key]), RedisCommand([Array("PTTL".utf8), key])])
            var reading = FleetMachine.Reading.unanswered
            if let value = replies?[0].bytes, case .integer(let left)? = replies?[1] {
                reading = .there(Edge(id: id, value: value, left: left))
            } else if case .null? = replies?[0] {
                reading = .gone
            }
            after { [reading] in $0.edgeRead(id, reading, now: $1) }
        }
    }

    /// Gateways that have a heartbeat here, by their ids. Any task.
    func currentEdges() async throws(StoreUnavailable) -> [Edge] {
        try await currentFleet().edges.map { edge in
            var edge = edge
            edge.description.id = fleetKeys.id(ofName: edge.description.id)
            return edge
        }
    }

    /// Of the run of the server that is listened to. Any thread.
    private var serverMark: [UInt8] { Array(String(lease.serverID, radix: 36).utf8) }

    private func currentFleet() async throws(StoreUnavailable) -> (edges: [Edge], undisturbed: TimeAmount) {
        let replies: [RedisReply]
        do throws(RedisFailure) {
            replies = try await client.run(FleetScripts.list, keys: [fleetKeys.edges], arguments: [fleetKeys.edgePrefix, serverMark])
        } catch {
            throw StoreUnavailable("Redis did not list the gateways")
        }
        guard case .array(let entries)? = replies.first, let age = entries.first?.integer else {
            throw StoreUnavailable("Redis did not list the gateways")
        }
        let edges: [Edge] = entries.dropFirst().compactMap { entry in
            guard let parts = entry.elements, parts.count == 3, let id = parts[0].bytes, let value = parts[1].bytes, let left = parts[2].integer
            else {
                return nil
            }
            return Edge(id: String(decoding: id, as: UTF8.self), value: value, left: left)
        }
        return (edges, .milliseconds(min(max(0, age), Int64(Int32.max))))
    }

    // MARK: What leaves, and when

    private func scheduleFlush() {
        guard !isFlushScheduled else { return }
        isFlushScheduled = true
        eventLoop.execute { [self] in
            isFlushScheduled = false
            guard !isClosing else { return }
            perform(machine.flush())
        }
    }

    private func publish(_ message: FleetMessage, to channel: [UInt8]) -> RedisCommand {
        RedisCommand([Array("PUBLISH".utf8), channel, message.bytes])
    }

    /// A timer that is due earlier than needed stays, and finds nothing.
    private func rearm() {
        let now = LeaseClock.now()
        guard !isClosing, let due = machine.due, timer.map({ due < $0.due }) ?? true else { return }
        timer?.scheduled.cancel()
        let scheduled = eventLoop.scheduleTask(in: max(.zero, due - now)) { [self] in
            timer = nil
            guard !isClosing else { return }
            perform(machine.tick(now: LeaseClock.now()))
        }
        timer = (due, scheduled)
    }
}

/// A message is published once more where it matters; how Redis answers it tells nothing.
private final class Unheeded: RedisRequest {
    override func redisCompleted(_ outcome: RedisOutcome) {}
}
