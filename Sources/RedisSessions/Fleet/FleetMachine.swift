// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import RedisClient
import Sessions

/// A gateway's part in the fleet over one Redis: puts `LeaseMachine`, `FleetView` and `FenceBook` together and decides what is done with what is
/// heard. Knows no socket, no clock and no event loop: `FleetLink` performs, and so does the simulation (`Tests/SimulationTests`).
///
/// Every event returns what has to be done, in this order; then `leaseEnd` and `memoryEnd` have to be shown to the loops, at once.
struct FleetMachine {
    struct Settings {
        /// Our own id.
        var edge: String
        /// `revocation.max_staleness`.
        var staleness: TimeAmount
        var commandTimeout: TimeAmount
        var connectTimeout: TimeAmount

        /// How often what is not acknowledged is published again.
        var resend: TimeAmount { min(.milliseconds(100), .nanoseconds(staleness.nanoseconds / 4)) }
        var patience: TimeAmount { staleness + commandTimeout + connectTimeout }
    }

    enum Action: Equatable {
        /// On every loop: drop what is remembered, ask again for all that is open; then `verified`, with this number.
        case verify(UInt64)
        /// Over the push connection.
        case ping
        /// Give the push connection up and make another.
        case reconnect
        /// Send the heartbeat's script (`isNew`: write it, else renew it), and call `beatAnswered`.
        case beat(UInt64, isNew: Bool)
        /// List those that have a heartbeat, and call `fleetRead` with this number.
        case readFleet(UInt64)
        /// Read this one's heartbeat, and call `edgeRead`.
        case read(edge: String)
        /// On every loop: nothing that is remembered counts.
        case forgetRemembered
        /// On every loop: the same, and what is open is asked for again.
        case forgetEverything
        /// On every loop: the same, and what was confirmed before lets nobody pass any more.
        case flushed
        /// On every loop: something of these users has changed.
        case changed([UserID])
        /// On every loop: end what is open of the session.
        case end(String, of: UserID)
        /// On every loop: all of the user's sessions have been ended. Others may have begun since, and a fence comes more than once: what is open is
        /// asked for again.
        case allEnded(UserID)
        /// On every loop: the lease is over.
        case storeFellSilent
        /// Call `applied` when what has to be done on the loops so far has been done on every one.
        case whenApplied(Applied)
        /// To all gateways (nil), or to one.
        case publish(FleetMessage, to: String?)
        /// Of our own logouts: every gateway has applied it, or can act no more.
        case confirmed(UInt64)
        /// Nobody can know whether every gateway has.
        case unknown(UInt64)
    }

    /// What waits until the loops have done what came before.
    enum Applied: Equatable, Sendable {
        case pong
        case beat(UInt64)
        case fences(origin: String, upTo: UInt64)
    }

    private let settings: Settings
    private let keys: SessionKeys
    private let fleetKeys: FleetKeys
    private var lease: LeaseMachine
    private(set) var view: FleetView
    private var book: FenceBook
    private var outbox: [FleetMessage.Fence] = []
    /// Highest fence of each origin that has been applied here and not been acknowledged.
    private var owed: [String: UInt64] = [:]
    /// When it has to be looked whether the lease has run out; nil: there was none, or it has.
    private var silence: NIODeadline?
    /// What could not be read, and when that is tried again.
    private var unread = (at: NIODeadline.distantFuture, fleet: false, edges: Set<String>())
    private var subscription: UInt64 = 0
    /// When what is open is asked for again, where Redis does not track.
    private var nextLook = NIODeadline.uptimeNanoseconds(0)

    /// More are several messages: at 2 KiB for the largest fence they stay far below `FleetMessage.byteLimit`.
    static let fencesPerMessage = 256
    /// Between two attempts to read something of the fleet.
    private static let rereadPause = TimeAmount.milliseconds(100)

    /// - Parameters:
    ///   - former: as `FleetView` takes them.
    ///   - inherited: as `LeaseMachine` takes it.
    init(
        _ settings: Settings, keys: SessionKeys, fleetKeys: FleetKeys, former: [FleetView] = [], inherited: NIODeadline = .uptimeNanoseconds(0)
    ) {
        self.settings = settings
        self.keys = keys
        self.fleetKeys = fleetKeys
        lease = LeaseMachine(LeaseMachine.Settings(staleness: settings.staleness, patience: settings.commandTimeout), inherited: inherited)
        silence = inherited > .uptimeNanoseconds(0) ? inherited : nil
        view = FleetView(assumed: settings.staleness, former: former)
        book = FenceBook(FenceBook.Settings(resend: settings.resend, patience: settings.patience))
    }

    var leaseEnd: NIODeadline { lease.leaseEnd }
    var memoryEnd: NIODeadline { lease.memoryEnd }
    var proven: NIODeadline { lease.proven }

    /// How many entries it keeps: as many as there are gateways and logouts under way.
    var size: Int { view.size + book.size + outbox.count + owed.count + unread.edges.count }

    /// Whether `flush` has something to say: once for all that happens in one tick of the event loop.
    var needsFlush: Bool { !outbox.isEmpty || lease.isListening && !owed.isEmpty }

    // MARK: Logouts of this gateway

    /// Opens a fence; the caller hears of `sequence` by `confirmed` or `unknown`.
    mutating func open(_ session: String?, of user: UserID, _ reason: RevokeReason, now: NIODeadline) -> UInt64 {
        let fence = book.open(FleetMessage.Fence(sequence: 0, user: user, session: session, reason: reason), now: now)
        outbox.append(fence)
        return fence.sequence
    }

    /// Fences of one tick are one message, acknowledgements to one origin another; these not before what was missed has been made up for.
    mutating func flush() -> [Action] {
        var actions: [Action] = []
        for start in stride(from: 0, to: outbox.count, by: Self.fencesPerMessage) {
            let fences = Array(outbox[start..<min(start + Self.fencesPerMessage, outbox.count)])
            actions.append(.publish(.fence(origin: settings.edge, fences), to: nil))
        }
        outbox.removeAll()
        guard lease.isListening else { return actions }
        actions += owed.map { .publish(.acknowledgement(edge: settings.edge, upTo: $0.value), to: $0.key) }
        owed.removeAll()
        return actions
    }

    // MARK: What Redis pushes

    mutating func heard(_ event: RedisPushEvent, now: NIODeadline) -> [Action] {
        var actions: [Action]
        switch event {
        case .opened:
            view.subscribed(now: now)
            subscription += 1
            actions = [action(lease.subscribed()), .readFleet(subscription)]
        case .lost:
            lease.lost()
            view.lost()
            unread.fleet = false
            actions = [.forgetRemembered]
        case .invalidated(nil): actions = [.flushed]  // FLUSHALL, or nothing that can be understood
        case .invalidated(let names?): actions = invalidated(names, now)
        case .message(let channel, let payload):
            actions = FleetMessage(payload).map { heard($0, isForUs: channel != fleetKeys.fences) } ?? []
        case .pong: actions = [.whenApplied(.pong)]
        }
        return actions + settle(now)
    }

    private mutating func invalidated(_ names: [[UInt8]], _ now: NIODeadline) -> [Action] {
        var actions: [Action] = []
        var users: Set<UserID> = []
        var isUnknown = false
        for name in names {
            switch keys.meaning(of: name) {
            case .user(let user): users.insert(user)
            case .edge(settings.edge): lease.heardOwnBeat()
            case .edge(let edge): if view.heard(edge, now: now) { actions.append(.read(edge: edge)) }
            case nil: isUnknown = true
            }
        }
        // Spelled by somebody else: whom it concerns cannot be told, and it may be anybody.
        if isUnknown { actions.append(.forgetEverything) }
        return users.isEmpty ? actions : actions + [.changed(Array(users))]
    }

    private mutating func heard(_ message: FleetMessage, isForUs: Bool) -> [Action] {
        switch message {
        case .fence(settings.edge, let fences):
            for fence in fences { book.echoed(fence.sequence) }
        case .fence(let origin, let fences):
            guard let last = fences.map(\.sequence).max() else { break }
            let ends = fences.map { fence in fence.session.map { Action.end($0, of: fence.user) } ?? .allEnded(fence.user) }
            return ends + [.whenApplied(.fences(origin: origin, upTo: last))]
        case .acknowledgement(let edge, let upTo): if isForUs { book.heardAcknowledgement(edge, upTo: upTo) }
        case .heartbeat(let edge, let number): if isForUs, edge == settings.edge { return [.whenApplied(.beat(number))] }
        case .farewell(let edge):
            view.left(edge)
            book.heardFarewell(edge)
        }
        return []
    }

    /// On every loop what was to be done before `whenApplied` has been done.
    mutating func applied(_ what: Applied, now: NIODeadline) -> [Action] {
        var actions: [Action] = []
        switch what {
        case .pong: actions = lease.ponged(now: now).map { [action($0)] } ?? []
        case .beat(let number): lease.cameBack(beat: number)
        case .fences(let origin, let upTo): owed[origin] = max(owed[origin] ?? 0, upTo)
        }
        return actions + settle(now)
    }

    // MARK: What was asked for

    mutating func verified(_ verification: UInt64, now: NIODeadline) -> [Action] {
        (lease.verified(verification, now: now).map { [action($0)] } ?? []) + settle(now)
    }

    /// `wasThere`: whether the heartbeat was renewed, true for one that was written; nil: refused, not replicated, or not answered.
    /// `sent`: the moment before the script was sent.
    mutating func beatAnswered(_ beat: UInt64, isNew: Bool, wasThere: Bool?, sent: NIODeadline, now: NIODeadline) -> [Action] {
        var actions: [Action] = []
        switch wasThere {
        case nil: lease.failed(beat: beat, now: now)
        case _? where isNew: actions = lease.written(beat: beat, sent: sent, now: now).map { [action($0)] } ?? []
        case let wasThere?: actions = lease.renewed(beat: beat, wasThere: wasThere, now: now).map(action)
        }
        return actions + settle(now)
    }

    /// Those that have a heartbeat, and for how long none can have been lost; nil: they could not be read. Of an earlier subscription it says
    /// nothing: somebody may have joined between.
    mutating func fleetRead(_ number: UInt64, _ fleet: (edges: [Edge], undisturbed: TimeAmount)?, now: NIODeadline) -> [Action] {
        guard number == subscription else { return [] }
        if let fleet {
            for edge in fleet.edges where edge.description.id != settings.edge {
                view.learned(edge.description.id, staleness: edge.staleness, now: now)
            }
            view.completed(undisturbed: fleet.undisturbed)
        } else {
            unread.fleet = true
            unread.at = min(unread.at, now + Self.rereadPause)
        }
        return settle(now)
    }

    /// What a heartbeat was found to be.
    enum Reading: Equatable, Sendable { case there(Edge), gone, unanswered }

    mutating func edgeRead(_ name: String, _ reading: Reading, now: NIODeadline) -> [Action] {
        switch reading {
        case .there(let edge): view.learned(name, staleness: edge.staleness, now: now)
        case .gone: view.notFound(name)
        case .unanswered:
            unread.edges.insert(name)
            unread.at = min(unread.at, now + Self.rereadPause)
        }
        return settle(now)
    }

    // MARK: Time

    /// When `tick` has to be called at the latest; nil: there is nothing to wait for.
    var due: NIODeadline? {
        var due = unread.at
        if let lease = lease.due { due = min(due, lease) }
        if let fence = book.due { due = min(due, fence) }
        if let silence { due = min(due, silence) }
        return due == .distantFuture ? nil : due
    }

    mutating func tick(now: NIODeadline) -> [Action] {
        var actions = lease.tick(now: now).map { [action($0)] } ?? []
        view.forget(before: min(book.undecidedSince ?? now, now))
        outbox += book.resend(now: now)
        // When the lease has run out, what is open must not go on as if nothing had happened.
        if let due = silence, due <= now {
            silence = nil
            if lease.leaseEnd <= now { actions.append(.storeFellSilent) }
        }
        if unread.at <= now {
            if unread.fleet { actions.append(.readFleet(subscription)) }
            actions += unread.edges.filter(view.isUnknown).sorted().map { .read(edge: $0) }
            unread = (.distantFuture, false, [])
        }
        return actions + settle(now)
    }

    private mutating func settle(_ now: NIODeadline) -> [Action] {
        if silence == nil, lease.leaseEnd > now { silence = lease.leaseEnd }
        var actions: [Action] = []
        // Nobody tells what other programs change: it is asked for.
        if lease.isListening, !lease.hearsInvalidations, lease.leaseEnd > now, now >= nextLook {
            nextLook = now + settings.staleness
            actions.append(.forgetEverything)
        }
        guard !book.isEmpty else { return actions }
        if book.hasUndecided { book.decide(living: living(now), now: now) }
        let (confirmed, failed) = book.settle(now: now)
        return actions + confirmed.map { .confirmed($0) } + failed.map { .unknown($0) }
    }

    /// Who may act, as far as heartbeats are heard: a Redis that pushes no invalidations shows nobody who joins, so strangers are always waited for.
    private func living(_ now: NIODeadline) -> FleetView.Living? {
        // Without a lease of our own nothing says that this is still the Redis that counts; and until the first heartbeat of this connection has come
        // back, not whether others are heard.
        guard lease.isSettled, lease.leaseEnd > now, var living = view.living() else { return nil }
        if !lease.hearsInvalidations { living.knowsSince = .distantFuture }
        return living
    }

    private func action(_ action: LeaseMachine.Action) -> Action {
        switch action {
        case .verify(let verification): .verify(verification)
        case .ping: .ping
        case .renew(let beat): .beat(beat, isNew: false)
        case .write(let beat): .beat(beat, isNew: true)
        case .forget: .forgetEverything
        case .reconnect: .reconnect
        }
    }
}
