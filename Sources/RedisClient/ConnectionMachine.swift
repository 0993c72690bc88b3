// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// Decides what happens on a client's connection; `RedisClient` performs. Knows no channel and no clock.
///
///              start            connected          last OK
///     initial ───────▶ connecting ───────▶ handshaking ───────▶ ready
///                       ▲     │                │                  │
///                 timer │     └────────────────┴──────────────────┘
///                       │            lost, refused, late, garbage │
///                       └──────────── backingOff ◀────────────────┘            close: any ──▶ closed
///
///     And ready ─▶ connecting at once, when a connection that was well is closed by the other side.
///
/// Enforced: replies are matched to commands in order, only to commands that were written, and never across connections (each has a number, and
/// what an older one says is ignored); a command's deadline costs the connection; every request that came in goes out exactly once, in an action.
struct ConnectionMachine<Request>: ~Copyable {
    /// Numbers the connections of a client.
    typealias ConnectionID = UInt64

    private enum State: ~Copyable {
        case initial
        case connecting(Opening)
        case handshaking(Opening)
        case ready(Ready)
        case backingOff(until: NIODeadline, failures: Int)
        case closed
    }

    private struct Opening: ~Copyable {
        let deadline: NIODeadline
        /// Attempts in a row that have failed before this one.
        let failures: Int
        /// Whether commands wait for it: the very first attempt, and one that replaces a connection that was well.
        let letsWait: Bool
        var waiting = CircularBuffer<Waiting>()
        /// Steps of the handshake that have been answered.
        var answered = 0

        var due: NIODeadline { min(deadline, waiting.first?.deadline ?? .distantFuture) }

        consuming func ending(_ cause: Ending.Cause) -> Ending {
            Ending(requests: CircularBuffer(waiting.map(\.request)), sent: 0, cause: cause)
        }
    }

    private struct Ready: ~Copyable {
        /// Written together, with one deadline.
        struct Batch {
            var outstanding: Int
            var deadline: NIODeadline
        }

        let since: NIODeadline
        var pending = CircularBuffer<Request>(initialCapacity: 64)
        var batches = CircularBuffer<Batch>(initialCapacity: 8)
        /// How many of `pending` have been written; the rest leaves with the next flush.
        var sent = 0
        var hasFlushScheduled = false
        /// The oldest deadline was moved once because the loop itself was late, see `timerFired`.
        var wasForgiven = false

        consuming func ending(_ cause: Ending.Cause) -> Ending { Ending(requests: pending, sent: sent, cause: cause) }
    }

    /// A timer that fires later than that shows that this loop was held up, and perhaps not Redis: replies may lie unread in the socket.
    static var lateness: TimeAmount { .milliseconds(20) }
    /// A connection that was lost after it has lasted that long is replaced at once: it was well. Longer than any pause between two attempts, so that
    /// a Redis which closes what it has just let in is not asked more often; shorter than the shortest `timeout` that a Redis has for idle ones.
    static var settled: TimeAmount { .milliseconds(600) }
    /// Time for the loop to read what is there, once.
    static var forgiveness: TimeAmount { .milliseconds(10) }

    private let settings: Settings
    /// Taken out while an event is decided, `closed` stands in for it meanwhile.
    private var state = State.initial
    private var backoff: Backoff
    /// The present one's number, or the last one's.
    private(set) var connection: ConnectionID = 0
    /// Of the server that was last asked for it, see `HandshakeStep.info`; 0 before.
    private(set) var serverID: UInt64 = 0

    init(_ settings: Settings, seed: UInt64) {
        self.settings = settings
        backoff = Backoff(seed: seed)
    }

    /// Whether that attempt is still wanted.
    func isConnecting(_ id: ConnectionID) -> Bool {
        switch state {
        case .connecting: id == connection
        case .initial: false
        case .handshaking: false
        case .ready: false
        case .backingOff: false
        case .closed: false
        }
    }

    /// Whether so many commands in a row would go out together, or be held together.
    func hasRoom(for count: Int) -> Bool {
        switch state {
        case .ready(let ready): ready.pending.count + count <= settings.depth
        case .connecting(let opening): opening.letsWait && opening.waiting.count + count <= settings.depth
        case .handshaking(let opening): opening.letsWait && opening.waiting.count + count <= settings.depth
        case .initial: false
        case .backingOff: false
        case .closed: false
        }
    }

    // MARK: Events of the owner

    mutating func start(now: NIODeadline) -> StartAction {
        switch exchange(&state, with: .closed) {
        case .initial:
            return .connect(open(failures: 0, letsWait: true, now: now))
        case .connecting(let opening):
            state = .connecting(opening)
        case .handshaking(let opening):
            state = .handshaking(opening)
        case .ready(let ready):
            state = .ready(ready)
        case .backingOff(let until, let failures):
            state = .backingOff(until: until, failures: failures)
        case .closed:
            state = .closed
        }
        return .none
    }

    /// The hot path. `now` is only evaluated where a command is held.
    mutating func send(_ command: RedisCommand, _ request: Request, now: @autoclosure () -> NIODeadline) -> SendAction {
        switch exchange(&state, with: .closed) {
        case .ready(var ready):
            guard ready.pending.count < settings.depth else {
                state = .ready(ready)
                return .refuse(.unavailable(wasSent: false))
            }
            ready.pending.append(request)
            let scheduleFlush = !ready.hasFlushScheduled
            ready.hasFlushScheduled = true
            state = .ready(ready)
            return .append(scheduleFlush: scheduleFlush)
        case .connecting(var opening):
            let action = hold(command, request, in: &opening, now: now())
            state = .connecting(opening)
            return action
        case .handshaking(var opening):
            let action = hold(command, request, in: &opening, now: now())
            state = .handshaking(opening)
            return action
        case .initial:
            state = .initial
        case .backingOff(let until, let failures):
            state = .backingOff(until: until, failures: failures)
        case .closed:
            state = .closed
        }
        return .refuse(.unavailable(wasSent: false))
    }

    /// The tick's end.
    mutating func flush(now: NIODeadline) -> FlushAction {
        switch exchange(&state, with: .closed) {
        case .ready(var ready):
            let count = ready.pending.count - ready.sent
            ready.hasFlushScheduled = false
            if count > 0 {
                ready.batches.append(Ready.Batch(outstanding: count, deadline: now + settings.commandTimeout))
                ready.sent += count
            }
            state = .ready(ready)
            return count > 0 ? .write : .none
        case .initial:
            state = .initial
        case .connecting(let opening):
            state = .connecting(opening)
        case .handshaking(let opening):
            state = .handshaking(opening)
        case .backingOff(let until, let failures):
            state = .backingOff(until: until, failures: failures)
        case .closed:
            state = .closed
        }
        return .none
    }

    mutating func close() -> CloseAction {
        switch exchange(&state, with: .closed) {
        case .initial:
            state = .closed
            return .end(Ending(requests: [], sent: 0, cause: .unavailable))
        case .backingOff:
            state = .closed
            return .end(Ending(requests: [], sent: 0, cause: .unavailable))
        case .connecting(let opening):
            state = .closed
            return .end(opening.ending(.unavailable))
        case .handshaking(let opening):
            state = .closed
            return .end(opening.ending(.unavailable))
        case .ready(let ready):
            state = .closed
            return .end(ready.ending(.unavailable))
        case .closed:
            state = .closed
            return .none
        }
    }

    // MARK: Events of the connection

    mutating func connected(_ id: ConnectionID) -> ConnectedAction {
        switch exchange(&state, with: .closed) {
        case .connecting(let opening):
            guard id == connection else {
                state = .connecting(opening)
                return .discard
            }
            state = .handshaking(opening)
            return .handshake
        case .initial:
            state = .initial
        case .handshaking(let opening):
            state = .handshaking(opening)
        case .ready(let ready):
            state = .ready(ready)
        case .backingOff(let until, let failures):
            state = .backingOff(until: until, failures: failures)
        case .closed:
            state = .closed
        }
        return .discard
    }

    mutating func reply(_ reply: RedisReply, from id: ConnectionID, now: @autoclosure () -> NIODeadline) -> ReplyAction {
        switch exchange(&state, with: .closed) {
        case .ready(var ready):
            guard id == connection else {
                state = .ready(ready)
                return .ignore
            }
            guard ready.sent > 0, let request = ready.pending.popFirst() else {
                backOff(failures: 0, now: now())
                return .violation(ready.ending(.violation))
            }
            ready.sent -= 1
            ready.wasForgiven = false
            ready.batches[ready.batches.startIndex].outstanding -= 1
            if ready.batches[ready.batches.startIndex].outstanding == 0 { ready.batches.removeFirst() }
            state = .ready(ready)
            return .deliver(request)
        case .handshaking(var opening):
            guard id == connection else {
                state = .handshaking(opening)
                return .ignore
            }
            let step = settings.handshake[opening.answered]
            if case .error = reply {
                backOff(failures: opening.failures + 1, now: now())
                return .refused(step, opening.ending(.unavailable))
            }
            switch step.judge(reply) {
            case .accepted:
                break
            case .identified(let serverID):
                self.serverID = serverID
            case .notPrimary:
                backOff(failures: opening.failures + 1, now: now())
                return .notPrimary(opening.ending(.unavailable))
            case .unexpected:
                backOff(failures: opening.failures + 1, now: now())
                return .violation(opening.ending(.violation))
            }
            opening.answered += 1
            guard opening.answered == settings.handshake.count else {
                state = .handshaking(opening)
                return .proceed
            }
            state = .ready(Ready(since: now()))
            return .ready(opening.waiting)
        case .initial:
            state = .initial
        case .connecting(let opening):
            state = .connecting(opening)
        case .backingOff(let until, let failures):
            state = .backingOff(until: until, failures: failures)
        case .closed:
            state = .closed
        }
        return .ignore
    }

    /// Could not be made, was closed by the other side, or (`cause`) sent what cannot be read.
    mutating func lost(_ id: ConnectionID, cause: Ending.Cause = .unavailable, now: NIODeadline) -> LossAction {
        switch exchange(&state, with: .closed) {
        case .connecting(let opening):
            guard id == connection else {
                state = .connecting(opening)
                return .ignore
            }
            backOff(failures: opening.failures + 1, now: now)
            return .end(opening.ending(cause))
        case .handshaking(let opening):
            guard id == connection else {
                state = .handshaking(opening)
                return .ignore
            }
            backOff(failures: opening.failures + 1, now: now)
            return .end(opening.ending(cause))
        case .ready(let ready):
            guard id == connection else {
                state = .ready(ready)
                return .ignore
            }
            guard cause == .unavailable, now - ready.since >= Self.settled else {
                backOff(failures: 0, now: now)
                return .end(ready.ending(cause))
            }
            let next = open(failures: 0, letsWait: true, now: now)
            return .replace(ready.ending(cause), next)
        case .initial:
            state = .initial
        case .backingOff(let until, let failures):
            state = .backingOff(until: until, failures: failures)
        case .closed:
            state = .closed
        }
        return .ignore
    }

    // MARK: Time

    /// When `timerFired` is due at the latest; nil: there is nothing to wait for. A timer that fires too early does no harm.
    var due: NIODeadline? {
        switch state {
        case .initial: nil
        case .closed: nil
        case .connecting(let opening): opening.due
        case .handshaking(let opening): opening.due
        case .ready(let ready): ready.batches.first?.deadline
        case .backingOff(let until, _): until
        }
    }

    mutating func timerFired(now: NIODeadline) -> TimerAction {
        switch exchange(&state, with: .closed) {
        case .initial:
            state = .initial
            return .none
        case .closed:
            state = .closed
            return .none
        case .backingOff(let until, let failures):
            guard until <= now else {
                state = .backingOff(until: until, failures: failures)
                return .none
            }
            return .connect(open(failures: failures, letsWait: false, now: now))
        case .connecting(var opening):
            guard opening.deadline > now else {
                backOff(failures: opening.failures + 1, now: now)
                return .giveUp(opening.ending(.unavailable))
            }
            let expired = Self.expire(&opening.waiting, now)
            state = .connecting(opening)
            return expired.isEmpty ? .none : .expire(expired)
        case .handshaking(var opening):
            guard opening.deadline > now else {
                backOff(failures: opening.failures + 1, now: now)
                return .giveUp(opening.ending(.unavailable))
            }
            let expired = Self.expire(&opening.waiting, now)
            state = .handshaking(opening)
            return expired.isEmpty ? .none : .expire(expired)
        case .ready(var ready):
            guard let deadline = ready.batches.first?.deadline, deadline <= now else {
                state = .ready(ready)
                return .none
            }
            if now - deadline > Self.lateness, !ready.wasForgiven {
                ready.wasForgiven = true
                ready.batches[ready.batches.startIndex].deadline = now + Self.forgiveness
                state = .ready(ready)
                return .none
            }
            backOff(failures: 0, now: now)
            return .timeOut(ready.ending(.timedOut))
        }
    }

    // MARK: Transitions

    private mutating func open(failures: Int, letsWait: Bool, now: NIODeadline) -> ConnectionID {
        connection += 1
        state = .connecting(Opening(deadline: now + settings.connectTimeout, failures: failures, letsWait: letsWait))
        return connection
    }

    private mutating func backOff(failures: Int, now: NIODeadline) {
        state = .backingOff(until: now + backoff.delay(afterFailures: failures), failures: failures)
    }

    private func hold(_ command: RedisCommand, _ request: Request, in opening: inout Opening, now: NIODeadline) -> SendAction {
        guard opening.letsWait, opening.waiting.count < settings.depth else { return .refuse(.unavailable(wasSent: false)) }
        opening.waiting.append(Waiting(command: command, request: request, deadline: now + settings.commandTimeout))
        return .hold
    }

    private static func expire(_ waiting: inout CircularBuffer<Waiting>, _ now: NIODeadline) -> [Request] {
        var expired: [Request] = []
        while let first = waiting.first, first.deadline <= now {
            expired.append(first.request)
            waiting.removeFirst()
        }
        return expired
    }
}
