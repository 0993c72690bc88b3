// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import RedisClient
import Sessions

/// The question about one session, ready to be sent: formatted once, when its token was verified. And the last answer, where that is remembered.
final class RedisSessionReference: SessionReference {
    let commands: SessionCommands

    /// The question of a request that is under way, which others join (`RedisSessionLookup.ask`).
    var question: SessionQuestion?
    /// What is remembered: nil for nothing.
    var answer: SessionAnswer?
    var version: UInt64 = 0
    var epoch: UInt64 = 0
    var until = NIODeadline.distantFuture

    /// The last question was answered with what one of its keys cannot be (contract §7), which asking again does not mend.
    var isKeyBroken = false

    /// A question about what is open of it waits to be sent, so that another one would say nothing more.
    var isRecheckQueued = false

    /// When the session's time is over, as far as that is known (`RedisSessionLookup.lookAfter`).
    var end = SessionEnd.unknown
    enum SessionEnd { case unknown, asked, none, at(NIODeadline) }

    init(sessions: UserSessions, session: String, kind: SessionKind, issuedAt: Int64?, keys: SessionKeys) {
        commands = SessionCommands(user: sessions.user, session: session, kind: kind, keys: keys)
        super.init(sessions: sessions, session: session, kind: kind, issuedAt: issuedAt)
    }
}

/// Asks Redis over its loop's own connection: for every request, or where answers are remembered for those that are not. Confined to the loop.
///
/// A remembered answer counts as long as nothing has been heard of its user since it was *asked for* (`UserSessions.version`), nothing has been
/// missed (`epoch`), the user's set lives, and the lease says that whatever there is to hear is heard (`FreshnessLease.memoryUntil`).
final class RedisSessionLookup: SessionLookup {
    /// Questions kept for use again. More than that are rarely under way at once on a loop.
    private static let spareLimit = 4096
    /// A user whose sessions change faster than Redis answers is asked about so often; then the answer is used, but not remembered.
    static let askLimit = 4

    let connections: RedisConnections
    /// How long a question waits for a lease: `store.redis.command_timeout`, as for a slow answer.
    let patience: TimeAmount
    /// Between two looks for it.
    private static let leasePause = TimeAmount.milliseconds(5)
    private var leases = LeaseMap.none
    private let keys: SessionKeys
    private let notes: UseNotes
    /// Whether answers are remembered: `revocation.mode: tracked`.
    private(set) var remembers: Bool
    /// Another number whenever something may have been missed.
    private(set) var epoch: UInt64 = 0
    private let endIsDue: @Sendable (UserID) -> Void
    private let isElsewhere: @Sendable (UInt64) -> Void
    private var spare: [SessionQuestion] = []
    private lazy var rechecks = RecheckQueue(self)

    /// - Parameters:
    ///   - endIsDue: told of a user of whom a session's time is over, so that it is taken out of the set.
    ///   - isElsewhere: told of a server that is listened to, while its address leads to another one.
    init(
        connections: RedisConnections, keys: SessionKeys, notes: UseNotes, patience: TimeAmount, remembers: Bool, eventLoop: any EventLoop,
        endIsDue: @escaping @Sendable (UserID) -> Void, isElsewhere: @escaping @Sendable (UInt64) -> Void
    ) {
        self.connections = connections
        self.patience = patience
        self.keys = keys
        self.notes = notes
        self.remembers = remembers
        self.endIsDue = endIsDue
        self.isElsewhere = isElsewhere
        super.init(eventLoop: eventLoop)
    }

    override func makeReference(_ sessions: UserSessions, session: String, kind: SessionKind, issuedAt: Int64?) -> SessionReference {
        RedisSessionReference(sessions: sessions, session: session, kind: kind, issuedAt: issuedAt, keys: keys)
    }

    override func ask(_ reference: SessionReference, _ waiter: SessionWaiter) {
        let reference = unsafeDowncast(reference, to: RedisSessionReference.self)
        if remembers, let answer = remembered(reference) {
            if answer == .active { notes.note(reference) }
            return waiter.sessionAnswered(answer, from: .cache)
        }
        // Where answers are remembered, one that is still to come serves as well, if it can be remembered: it is as young. So what has just been forgotten of everybody, as
        // after an outage, is asked for once a session, and not once a request.
        if remembers, let question = reference.question { return question.join(waiter) }
        send(reference, waiter)
    }

    override func confirm(_ reference: SessionReference, _ waiter: SessionWaiter) {
        send(unsafeDowncast(reference, to: RedisSessionReference.self), waiter, isUse: false)
    }

    override func isFresh(_ reference: SessionReference) -> Bool {
        let reference = unsafeDowncast(reference, to: RedisSessionReference.self)
        guard let lease = leases.lease(for: reference.commands.slot) else { return false }
        return LeaseClock.now() < lease.answersUntil
    }

    override func staleSince(_ reference: SessionReference) -> NIODeadline {
        let reference = unsafeDowncast(reference, to: RedisSessionReference.self)
        return leases.lease(for: reference.commands.slot)?.staleSince ?? LeaseClock.now()
    }

    /// Whether an answer that has just come counts: from the very server that the lease is of, as another one may have its address by now.
    ///
    /// `needsLease`: not where a lease is about to be had, and what is open has to be asked for before.
    func counts(_ reference: RedisSessionReference, needsLease: Bool) -> Bool {
        let slot = reference.commands.slot
        guard let server = connections.serverID(of: slot) else { return false }
        guard let lease = leases.lease(ofServer: server) else {
            // What is listened to is elsewhere: a name that has moved, while this connection has not, or while this one has alone.
            if let listened = leases.lease(for: slot), listened.isListening, !connections.reconnect(slot, to: listened.serverID) {
                isElsewhere(listened.serverID)
            }
            return false
        }
        return needsLease ? LeaseClock.now() < lease.answersUntil : lease.isListening
    }

    /// Whether a lease may be there in a moment: it has not been missing for longer than that.
    func awaitsLease(_ reference: RedisSessionReference) -> Bool {
        guard let lease = leases.lease(for: reference.commands.slot) else { return true }
        return LeaseClock.now() - lease.missingSince < patience
    }

    /// What is remembered of it, if that counts now.
    func remembered(_ reference: RedisSessionReference) -> SessionAnswer? {
        guard let answer = reference.answer, reference.version == reference.sessions.version, reference.epoch == epoch else { return nil }
        guard let lease = leases.lease(for: reference.commands.slot) else { return nil }
        let now = LeaseClock.now()
        return now < lease.memoryUntil && now < reference.until ? answer : nil
    }

    /// `isUse`: a request is made with the session.
    func send(_ reference: RedisSessionReference, _ waiter: SessionWaiter, needsLease: Bool = true, isUse: Bool = true) {
        let question = spare.popLast() ?? SessionQuestion(self)
        question.begin(reference, waiter, needsLease: needsLease, isUse: isUse)
        send(question, reference)
    }

    /// One question for all of them; or the one that is under way already.
    func ask(_ reference: RedisSessionReference, _ waiters: ArraySlice<SessionWaiter>) {
        guard let first = waiters.first else { return }
        if remembers, let question = reference.question {
            for waiter in waiters { question.join(waiter) }
            return
        }
        let question = spare.popLast() ?? SessionQuestion(self)
        question.begin(reference, first, joined: waiters.dropFirst(), needsLease: true, isUse: true)
        send(question, reference)
    }

    /// All leave in one write and are answered in order.
    func send(_ question: SessionQuestion, _ reference: RedisSessionReference) {
        let commands = reference.commands
        connections.send(commands.isMember, slot: commands.slot, question)
        if let revokedBefore = commands.revokedBefore { connections.send(revokedBefore, slot: commands.slot, question) }
        if remembers, let timeLeft = commands.timeLeft { connections.send(timeLeft, slot: commands.slot, question) }
    }

    func askLater(_ question: SessionQuestion) {
        let bound = NIOLoopBound(question, eventLoop: eventLoop)
        eventLoop.scheduleTask(in: Self.leasePause) { bound.value.lookForLease() }
    }

    func answered(_ question: SessionQuestion, _ reference: RedisSessionReference, _ answer: SessionAnswer, isUse: Bool) {
        if isUse, answer == .active { notes.note(reference) }
        if spare.count < Self.spareLimit { spare.append(question) }
    }

    // MARK: Ends

    override func lookAfter(_ sessions: UserSessions) {
        for reference in sessions.heldReferences() {
            let reference = unsafeDowncast(reference, to: RedisSessionReference.self)
            switch reference.end {
            case .unknown:
                // What is `revocable` ends with its token.
                guard let timeLeft = reference.commands.timeLeft else { continue }
                reference.end = .asked
                let question = EndQuestion(reference)
                let slot = reference.commands.slot
                let end = RedisCommand([Array("ZSCORE".utf8), keys.ends(reference.user), Array(reference.session.utf8)])
                connections.send(timeLeft, slot: slot, question)
                connections.send(end, slot: slot, question)
            case .at(let end) where end <= LeaseClock.now():
                // Out of the set first: that is what counts, and what everybody hears of.
                endIsDue(reference.user)
                rechecks.add(sessions, for: nil)
                reference.end = .unknown
            case .asked, .none, .at: continue
            }
        }
    }
}

// MARK: - What the link tells

extension RedisSessionLookup {
    /// A reload has changed `revocation.mode`.
    func remember(_ remembers: Bool) {
        epoch &+= 1
        self.remembers = remembers
    }

    /// From now on these leases count: primaries have changed, or `revocation.max_staleness`.
    func use(_ leases: LeaseMap) {
        epoch &+= 1
        let before = self.leases
        self.leases = leases
        // What was changed on a primary before it was listened to, nobody has told.
        for sessions in knownUsers where sessions.isHeld {
            let slot = keys.slot(of: sessions.user)
            if before.primary(of: slot) != leases.primary(of: slot) { rechecks.add(sessions, for: nil) }
        }
    }

    /// Nothing that was asked for before counts any more.
    func forgetRemembered() { epoch &+= 1 }

    /// The same, and what is open is asked for again.
    func forgetEverything() {
        epoch &+= 1
        for sessions in knownUsers where sessions.isHeld { rechecks.add(sessions, for: nil) }
    }

    /// As `forgetEverything`, where everything may have been removed.
    func flushed() {
        onFlush?()
        forgetEverything()
    }

    /// As `forgetEverything`; the future succeeds when everything that is open of this primary's users has an answer. Nil: there is one for all.
    func verify(_ primary: RedisConfiguration.Address?) -> EventLoopFuture<Void> {
        epoch &+= 1
        let promise = eventLoop.makePromise(of: Void.self)
        let verification = Verification(promise)
        for sessions in knownUsers where sessions.isHeld {
            // Others' may not answer, which must not keep this one's lease; what nobody has goes on nowhere, and is asked for when somebody has it.
            if let primary, leases.primary(of: keys.slot(of: sessions.user)) != primary { continue }
            rechecks.add(sessions, for: verification)
        }
        verification.began()
        return promise.futureResult
    }

    /// Something of the user's sessions has changed, nobody says what.
    func changed(_ user: UserID) {
        knownSessions(of: user)?.change()
        onChange?(user)
        if let sessions = knownSessions(of: user), sessions.isHeld { rechecks.add(sessions, for: nil) }
    }

    /// All of the user's sessions have been ended, and others may have begun since: whatever is open is asked for again, before all others, and ended
    /// where there is no answer, as nobody goes on waiting for one. The future succeeds when that is done.
    func allEnded(of user: UserID) -> EventLoopFuture<Void> {
        onEnding?(user, nil)
        guard let sessions = knownSessions(of: user) else { return eventLoop.makeSucceededVoidFuture() }
        sessions.change()
        let promise = eventLoop.makePromise(of: Void.self)
        let verification = Verification(promise, isPatient: false)
        rechecks.add(sessions, for: verification)
        verification.began()
        return promise.futureResult
    }

    /// The lease is over: nobody can say whether what is open may go on.
    func storeFellSilent() {
        epoch &+= 1
        for sessions in knownUsers {
            // In a cluster it is over for the users of one primary alone.
            guard let reference = sessions.heldReferences().first, !isFresh(reference) else { continue }
            sessions.tellHolders(of: nil, .storeSilent)
        }
    }
}

extension SessionLoops where Lookup == RedisSessionLookup {
    /// The future succeeds, on `eventLoop`, when everything that is open on any loop has an answer.
    func verify(_ primary: RedisConfiguration.Address?, on eventLoop: any EventLoop) -> EventLoopFuture<Void> {
        flatOnEach(eventLoop) { $0.verify(primary) }
    }

    /// As `RedisSessionLookup.allEnded`, on every loop.
    func allEnded(of user: UserID, on eventLoop: any EventLoop) -> EventLoopFuture<Void> {
        flatOnEach(eventLoop) { $0.allEnded(of: user) }
    }
}
