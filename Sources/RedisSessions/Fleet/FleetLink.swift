// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Logging
import NIOCore
import RedisClient
import Sessions

/// This gateway's part in the fleet, over one Redis: it listens to what changes, keeps its lease, applies the logouts of others and has its own
/// confirmed. The machines decide (`LeaseMachine`, `FleetView`, `FenceBook`); this performs, on the control plane's event loop.
///
/// `@unchecked Sendable`: everything mutable is confined to `eventLoop`; what may be called from elsewhere hops.
final class FleetLink: @unchecked Sendable {
    struct Configuration: Sendable {
        var edge: EdgeDescription
        /// Which primary of a cluster; nil outside one.
        var tag: String?
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
    private let logger: Logger
    /// For heartbeats and messages; not shared, as WAIT holds up what comes after it.
    private let client: RedisClient
    private var push: RedisPush?

    private var machine: LeaseMachine
    /// For the link that takes over from this one.
    private(set) var view: FleetView
    private var book: FenceBook
    private var answers: [UInt64: (Result<Void, StoreUnavailable>) -> Void] = [:]
    private var outbox: [FleetMessage.Fence] = []
    /// Highest fence of each origin that has been applied here and not been acknowledged.
    private var owed: [String: UInt64] = [:]
    private var isFlushScheduled = false
    /// Done when everything that has been heard so far has been applied on every loop.
    private var applied: EventLoopFuture<Void>
    /// The server that `push` is connected to.
    private var serverID: UInt64 = 0
    /// Counts the subscriptions: what was asked for an earlier one does not tell who joined in between.
    private var subscription: UInt64 = 0
    private var timer: (due: NIODeadline, scheduled: Scheduled<Void>)?
    private var silence: Scheduled<Void>?
    private let held: EventLoopPromise<Void>
    private var isClosing = false

    init(
        _ configuration: Configuration, redis: RedisConfiguration, keys: SessionKeys, loops: SessionLoops<RedisSessionLookup>,
        former: [FleetView] = [], eventLoop: any EventLoop, logger: Logger
    ) {
        self.configuration = configuration
        self.redis = redis
        self.keys = keys
        fleetKeys = FleetKeys(prefix: keys.prefix, tag: configuration.tag)
        name = fleetKeys.name(configuration.edge.id)
        self.loops = loops
        self.eventLoop = eventLoop
        self.logger = logger
        client = RedisClient(eventLoop: eventLoop, configuration: redis, logger: logger)
        machine = LeaseMachine(LeaseMachine.Settings(staleness: configuration.staleness, patience: redis.commandTimeout))
        view = FleetView(assumed: configuration.staleness, former: former)
        book = FenceBook(
            FenceBook.Settings(
                resend: min(.milliseconds(100), .nanoseconds(configuration.staleness.nanoseconds / 4)),
                patience: configuration.staleness + redis.commandTimeout + redis.connectTimeout))
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
        }
    }

    /// A proper end: what is open has ended before. Takes the heartbeat away and tells the others, in this order: the invalidation of a heartbeat
    /// does not say whether it was written or removed, and a farewell that came before it would be undone by it.
    func close() async {
        // Logouts that wait for others are answered first.
        let end = LeaseClock.now() + configuration.staleness
        while let left = try? await eventLoop.submit({ self.answers.count }).get(), left > 0, LeaseClock.now() < end {
            guard (try? await Task.sleep(for: .milliseconds(20))) != nil else { break }
        }
        try? await eventLoop.submit { [self] in
            isClosing = true
            machine.lost()
            timer?.scheduled.cancel()
            silence?.cancel()
            settleAll(.failure(StoreUnavailable("the gateway ends")))
            held.succeed()
        }.get()
        _ = try? await client.callAll([
            RedisCommand([Array("DEL".utf8), fleetKeys.edge(name)]), RedisCommand([Array("SREM".utf8), fleetKeys.edges, Array(name.utf8)]),
        ])
        _ = try? await client.call(publish(.farewell(edge: name), to: fleetKeys.fences))
        try? await eventLoop.submit { [self] in push?.close() }.get()
        try? await client.close().get()
    }

    /// Returns when answers count for the first time, or the link is closed. Any task.
    func whenHeld() async {
        try? await eventLoop.flatSubmit { self.held.futureResult }.get()
    }

    // MARK: Logouts of this gateway

    /// Returns when every gateway that may still act on what it knew before has applied the logout, or can act no more.
    /// Throws when that cannot be known.
    func confirm(_ session: String?, of user: UserID, reason: RevokeReason) async throws(StoreUnavailable) {
        let result = await withCheckedContinuation { continuation in
            eventLoop.execute { [self] in
                guard !isClosing else {
                    return continuation.resume(returning: Result<Void, StoreUnavailable>.failure(StoreUnavailable("the gateway ends")))
                }
                let fence = open(session, of: user, reason)
                answers[fence.sequence] = { continuation.resume(returning: $0) }
            }
        }
        try result.get()
    }

    /// Tells the others and does not wait: for what ends without anybody having logged out.
    func announce(_ session: String?, of user: UserID, reason: RevokeReason) {
        eventLoop.execute { [self] in
            guard !isClosing else { return }
            _ = open(session, of: user, reason)
        }
    }

    private func open(_ session: String?, of user: UserID, _ reason: RevokeReason) -> FleetMessage.Fence {
        let fence = book.open(FleetMessage.Fence(sequence: 0, user: user, session: session, reason: reason), now: LeaseClock.now())
        outbox.append(fence)
        scheduleFlush()
        rearm()
        return fence
    }

    private func settleFences() {
        let (confirmed, failed) = book.settle(now: LeaseClock.now())
        for sequence in confirmed { answers.removeValue(forKey: sequence)?(.success(())) }
        for sequence in failed {
            answers.removeValue(forKey: sequence)?(.failure(StoreUnavailable("it is not known whether every gateway has applied the logout")))
        }
    }

    private func settleAll(_ result: Result<Void, StoreUnavailable>) {
        for answer in answers.values { answer(result) }
        answers.removeAll()
    }

    // MARK: What Redis pushes

    private func heard(_ event: RedisPushEvent) {
        guard !isClosing else { return }
        switch event {
        case .opened(let tracks, let serverID):
            self.serverID = serverID
            if !tracks { logger.warning("Redis does not track keys: sessions are asked for with every request") }
            perform(machine.subscribed())
            subscription += 1
            readFleet(subscription)
        case .lost:
            machine.lost()
            view.lost()
            onLoops { $0.forgetRemembered() }
        case .invalidated(nil): onLoops { $0.forgetEverything() }
        case .invalidated(let keys?): invalidated(keys)
        case .message(let channel, let payload):
            guard let message = FleetMessage(payload) else { break }
            heard(message, isForUs: channel != fleetKeys.fences)
        case .pong:
            applied.whenComplete { [self] _ in ponged() }
        }
        afterEvent()
    }

    private func ponged() {
        if let action = machine.ponged(now: LeaseClock.now()) { perform(action) }
        afterEvent()
    }

    private func invalidated(_ names: [[UInt8]]) {
        var users: Set<UserID> = []
        let now = LeaseClock.now()
        for name in names {
            switch keys.meaning(of: name) {
            case .user(let user): users.insert(user)
            case .edge(self.name): machine.heardOwnBeat()
            case .edge(let id): if view.heard(id, now: now) { ask(about: id) }
            case nil:
                // Spelled by somebody else: whom it concerns cannot be told.
                return onLoops { $0.forgetEverything() }
            }
        }
        guard !users.isEmpty else { return }
        let changed = Array(users)
        onLoops { lookup in
            for user in changed { lookup.changed(user) }
        }
    }

    private func heard(_ message: FleetMessage, isForUs: Bool) {
        switch message {
        case .fence(name, let fences):
            for fence in fences { book.echoed(fence.sequence) }
        case .fence(let origin, let fences):
            onLoops { lookup in
                for fence in fences { lookup.end(fence.session, of: fence.user, .revoked) }
            }
            guard let last = fences.map(\.sequence).max() else { return }
            applied.whenComplete { [self] _ in owe(origin, last) }
        case .acknowledgement(let edge, let upTo): if isForUs { book.heardAcknowledgement(edge, upTo: upTo) }
        case .farewell(let edge):
            view.left(edge)
            book.heardFarewell(edge)
        }
    }

    private func owe(_ origin: String, _ sequence: UInt64) {
        owed[origin] = max(owed[origin] ?? 0, sequence)
        scheduleFlush()
    }

    /// On every loop, in the order of the calls.
    private func onLoops(_ body: @escaping @Sendable (RedisSessionLookup) -> Void) {
        applied = loops.onEach(eventLoop, body)
    }

    // MARK: The lease

    private func perform(_ action: LeaseMachine.Action) {
        switch action {
        case .verify:
            loops.verify(on: eventLoop).whenComplete { [self] _ in verified() }
        case .ping: push?.ping()
        case .renew(let beat): sendHeartbeat(beat, FleetScripts.renew, [])
        case .write(let beat): sendHeartbeat(beat, FleetScripts.write, [configuration.edge.heartbeat(staleness: configuration.staleness)])
        case .forget:
            logger.notice("This gateway's heartbeat was gone: everything that is open is asked for again")
            onLoops { $0.forgetEverything() }
        case .reconnect: push?.reconnect(reason: "nothing came back over the connection that listens")
        }
    }

    private func verified() {
        guard !isClosing else { return }
        if let action = machine.verified(now: LeaseClock.now()) { perform(action) }
        afterEvent()
    }

    private func sendHeartbeat(_ beat: UInt64, _ script: RedisScript, _ value: [[UInt8]]) {
        let name = name, staleness = configuration.staleness.nanoseconds / 1_000_000
        let arguments = [Array(String(staleness).utf8), Array(name.utf8)] + value
        let patience = max(1, redis.commandTimeout.nanoseconds / 2_000_000)
        let wait = configuration.waitReplicas > 0 ? [RedisCommand("WAIT", String(configuration.waitReplicas), String(patience))] : []
        let sent = LeaseClock.now(), serverID = serverID
        Task { [client, fleetKeys, eventLoop, configuration] in
            let replies = try? await client.run(script, keys: [fleetKeys.edge(name), fleetKeys.edges], arguments: arguments, then: wait)
            var outcome = replies?.first.flatMap { reply -> Bool? in
                guard case .integer(let was) = reply, was == 0 || was == 1 else { return nil }
                return was == 1
            }
            // Too few replicas have it: this Redis may have been replaced without knowing.
            if !wait.isEmpty, (replies?.last?.integer ?? 0) < Int64(configuration.waitReplicas) { outcome = nil }
            // What listens has to be connected to the very server that has the heartbeat.
            if client.status.serverID != serverID { outcome = nil }
            eventLoop.execute { [outcome] in self.beatAnswered(beat, outcome: outcome, wrote: !value.isEmpty, sent: sent) }
        }
    }

    /// `outcome`: whether it was there; nil: nobody knows.
    private func beatAnswered(_ beat: UInt64, outcome: Bool?, wrote: Bool, sent: NIODeadline) {
        guard !isClosing else { return }
        let now = LeaseClock.now()
        if let wasThere = outcome {
            if wrote {
                if let action = machine.written(beat: beat, sent: sent, now: now) { perform(action) }
            } else {
                for action in machine.renewed(beat: beat, wasThere: wasThere, now: now) { perform(action) }
            }
        } else {
            machine.failed(beat: beat, now: now)
        }
        afterEvent()
    }

    // MARK: The fleet

    /// Those that have a heartbeat now; who joins from now on is heard of.
    private func readFleet(_ number: UInt64) {
        Task { [self] in
            let edges = try? await currentEdges()
            eventLoop.execute { [self] in
                guard !isClosing, number == subscription else { return }
                guard let edges else {
                    // As long as it is not known who has to confirm, nothing is confirmed.
                    if number == subscription { eventLoop.scheduleTask(in: .milliseconds(100)) { self.readFleet(number) } }
                    return
                }
                let now = LeaseClock.now()
                for edge in edges where fleetKeys.name(edge.description.id) != name {
                    view.learned(fleetKeys.name(edge.description.id), staleness: edge.staleness, left: edge.left, now: now)
                }
                view.completed()
                afterEvent()
            }
        }
    }

    private func ask(about id: String) {
        Task { [self] in
            let key = fleetKeys.edge(id)
            let replies = try? await client.callAll([RedisCommand([Array("GET".utf8), key]), RedisCommand([Array("PTTL".utf8), key])])
            eventLoop.execute { [self] in
                guard !isClosing else { return }
                if let value = replies?[0].bytes, case .integer(let left)? = replies?[1] {
                    let edge = Edge(id: id, value: value, left: left)
                    view.learned(id, staleness: edge.staleness, left: edge.left, now: LeaseClock.now())
                } else {
                    view.notFound(id)
                }
                afterEvent()
            }
        }
    }

    /// Gateways that have a heartbeat here, by their names here. Any task.
    func currentEdges() async throws(StoreUnavailable) -> [Edge] {
        let replies: [RedisReply]
        do throws(RedisFailure) {
            replies = try await client.run(FleetScripts.list, keys: [fleetKeys.edges], arguments: [fleetKeys.edgePrefix])
        } catch {
            throw StoreUnavailable("Redis did not list the gateways")
        }
        guard case .array(let entries)? = replies.first else { throw StoreUnavailable("Redis did not list the gateways") }
        return entries.compactMap { entry in
            guard let parts = entry.elements, parts.count == 3, let name = parts[0].bytes, let value = parts[1].bytes, let left = parts[2].integer
            else { return nil }
            return Edge(id: fleetKeys.id(ofName: String(decoding: name, as: UTF8.self)), value: value, left: left)
        }
    }

    // MARK: What leaves, and when

    private func afterEvent() {
        if !lease.wasEverHeld, machine.leaseEnd > .uptimeNanoseconds(0) { held.succeed() }
        lease.set(answersUntil: machine.leaseEnd, memoryUntil: machine.memoryEnd, proven: machine.proven, serverID: serverID)
        if !book.isEmpty {
            let now = LeaseClock.now()
            book.decide(living: view.living(now: now), now: now)
            settleFences()
        }
        if machine.isListening, !owed.isEmpty { scheduleFlush() }
        rearm()
    }

    private func scheduleFlush() {
        guard !isFlushScheduled else { return }
        isFlushScheduled = true
        eventLoop.execute { [self] in
            isFlushScheduled = false
            flush()
        }
    }

    /// Fences of one tick are one message, acknowledgements to one origin another.
    private func flush() {
        guard !isClosing else { return }
        if !outbox.isEmpty {
            send(.fence(origin: name, outbox), to: fleetKeys.fences)
            outbox.removeAll()
        }
        // Not before what was missed has been made up for.
        guard machine.isListening else { return }
        for (origin, sequence) in owed {
            send(.acknowledgement(edge: name, upTo: sequence), to: fleetKeys.acknowledgements(to: origin))
        }
        owed.removeAll()
    }

    private func send(_ message: FleetMessage, to channel: [UInt8]) {
        client.send(publish(message, to: channel), Unheeded())
    }

    private func publish(_ message: FleetMessage, to channel: [UInt8]) -> RedisCommand {
        RedisCommand([Array("PUBLISH".utf8), channel, message.bytes])
    }

    /// A timer that is due earlier than needed stays, and finds nothing.
    private func rearm() {
        let now = LeaseClock.now()
        if let due = [machine.due, book.due].compactMap(\.self).min(), timer.map({ due < $0.due }) ?? true {
            timer?.scheduled.cancel()
            let scheduled = eventLoop.scheduleTask(in: max(.zero, due - now)) { [self] in
                timer = nil
                tick()
            }
            timer = (due, scheduled)
        }
        if silence == nil, machine.leaseEnd > now {
            silence = eventLoop.scheduleTask(in: machine.leaseEnd - now) { [self] in
                silence = nil
                leaseMayHaveEnded()
            }
        }
    }

    /// When the lease has run out, what is open must not go on as if nothing had happened.
    private func leaseMayHaveEnded() {
        guard !isClosing else { return }
        if machine.leaseEnd <= LeaseClock.now() { onLoops { $0.storeFellSilent() } }
        rearm()
    }

    private func tick() {
        let now = LeaseClock.now()
        if let action = machine.tick(now: now) { perform(action) }
        outbox += book.resend(now: now)
        if !outbox.isEmpty { scheduleFlush() }
        afterEvent()
    }
}

/// A message is published once more where it matters; how Redis answers it tells nothing.
private final class Unheeded: RedisRequest {
    override func redisCompleted(_ outcome: RedisOutcome) {}
}
