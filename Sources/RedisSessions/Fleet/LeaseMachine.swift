// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// Decides whether this gateway may rely on what one Redis has told it; knows no socket and no clock (architecture: freshness lease).
///
/// A gateway is *waited for* by every logout of the fleet as long as its heartbeat `edge:ID` is in Redis, and it *acts* on what it knows only while
/// that is certain and it has heard of all logouts but those of the last `max_staleness`: `leaseEnd` is counted from the moment before the
/// PING was sent that preceded the heartbeat. What was published before that PING has been heard, and whoever publishes later waits for that long.
///
///           subscribed            verified          written              pong
///     deaf ───────────▶ verifying ────────▶ writing ────────▶ confirming ─────▶ resting ─▶ pinging ─▶ renewing
///      ▲                    │                  ▲                                   ▲    due       pong     │ was there
///      │       lost         │                  └───────────────────────────────────┼───────────────────────┤
///      └────────────────────┘                              was not there           └───────────────────────┘
///
/// - A round is PING over the push connection, its answer, and only then the renewal: a gateway that has become deaf stops renewing at once, and
///   logouts wait for it no longer than `max_staleness`.
/// - After a heartbeat that was not there before, the answer to one more PING: a logout that did not wait for this gateway was published before
///   it was written, and what was published before the PING has been heard when that is answered.
/// - So does one that comes after the lease's end: whoever logs out may have left this gateway out since.
/// - A heartbeat counts once it has come back over the push connection (the script that writes it also publishes it to its owner): after a failover
///   commands may go to one Redis while the push connection still listens to another, which answers PING and will never hear of a logout again.
/// - A heartbeat's own invalidation comes back over the push connection before the next answer, as the connection is in order: the canary of tracking.
struct LeaseMachine {
    struct Settings {
        /// How long a heartbeat counts: `revocation.max_staleness`.
        var staleness: TimeAmount
        /// A command without an answer for so long has failed.
        var patience: TimeAmount

        /// A round begins every third of `max_staleness` (contract §7), so that two may fail.
        var interval: TimeAmount { .nanoseconds(max(staleness.nanoseconds / 3, 1_000_000)) }
        /// Clocks of two machines may differ in speed by one in a thousand; quartz is ten times better.
        var lease: TimeAmount { .nanoseconds(staleness.nanoseconds - staleness.nanoseconds / 1000) }
    }

    /// What the gateway has to do.
    enum Action: Equatable {
        /// Nothing that was learned before may be used: drop what is remembered, ask again for all that is open, then say `verified`, of which.
        case verify(UInt64)
        /// `PING` over the push connection.
        case ping
        /// Renew the heartbeat without needing memory, and tell whether it was there.
        case renew(beat: UInt64)
        /// Write it anew.
        case write(beat: UInt64)
        /// The heartbeat was not there: somebody flushed, failed over, or this gateway was silent for too long.
        case forget
        /// Nothing has come back over the push connection that should have.
        case reconnect
    }

    private enum State: Equatable {
        case deaf
        case verifying
        /// The heartbeat is being written; nothing counts until it is.
        case writing(since: NIODeadline)
        /// It has been written, and what was published before is still on its way.
        case confirming(written: NIODeadline, since: NIODeadline)
        /// Between two rounds.
        case resting(until: NIODeadline)
        case pinging(since: NIODeadline)
        case renewing(pinged: NIODeadline, since: NIODeadline)
    }

    private let settings: Settings
    private var state = State.deaf
    private var subscription: UInt64 = 0
    private var beat: UInt64 = 0
    /// Whether the last heartbeat has been heard over the push connection, and what came before it applied.
    private var cameBack = false
    /// Whether the invalidation of the last heartbeat has come back.
    private var heardBeat = false
    /// The last moment up to which everything has been heard; 0: there was none.
    private(set) var proven = NIODeadline.uptimeNanoseconds(0)
    /// Until when answers of this Redis count.
    private(set) var leaseEnd: NIODeadline
    /// Whether every heartbeat since the subscription came back as an invalidation: answers may be remembered.
    private(set) var hearsInvalidations = false

    /// - Parameter inherited: the end of the lease over a primary that this one has taken over from: whoever logs out over this one waits for those that
    ///   had a lease there (`FleetView`), and nobody is cut off because a primary has changed.
    init(_ settings: Settings, inherited: NIODeadline = .uptimeNanoseconds(0)) {
        self.settings = settings
        leaseEnd = inherited
    }

    /// Whether a heartbeat has counted since the subscription: then whether invalidations are heard is known, too.
    private(set) var isSettled = false

    /// Until when remembered answers count.
    var memoryEnd: NIODeadline { hearsInvalidations ? leaseEnd : .uptimeNanoseconds(0) }

    /// Whether fences that arrive are heard and their acknowledgement means something: not while what was missed is still being made up for.
    var isListening: Bool {
        switch state {
        case .deaf, .verifying: false
        case .writing, .confirming, .resting, .pinging, .renewing: true
        }
    }

    /// The push connection is subscribed and tracks.
    mutating func subscribed() -> Action {
        state = .verifying
        hearsInvalidations = false
        isSettled = false
        subscription += 1
        return .verify(subscription)
    }

    /// It is gone, or was never good. What is known counts until the lease's end; nothing is remembered any more.
    mutating func lost() {
        state = .deaf
        hearsInvalidations = false
        isSettled = false
    }

    /// Everything that is open has been asked for again since `subscribed`. An earlier subscription's answers may be from before what was missed.
    mutating func verified(_ verification: UInt64, now: NIODeadline) -> Action? {
        guard case .verifying = state, verification == subscription else { return nil }
        return write(now)
    }

    /// The heartbeat was renewed, or was not there.
    mutating func renewed(beat: UInt64, wasThere: Bool, now: NIODeadline) -> [Action] {
        guard case .renewing(let pinged, _) = state, beat == self.beat else { return [] }
        guard wasThere else {
            leaseEnd = .uptimeNanoseconds(0)
            hearsInvalidations = false
            return [.forget, write(now)]
        }
        guard cameBack, now < leaseEnd else {
            state = .confirming(written: pinged, since: now)
            return [.ping]
        }
        hold(from: pinged)
        state = .resting(until: pinged + settings.interval)
        return []
    }

    /// `sent`: the moment before it was sent.
    mutating func written(beat: UInt64, sent: NIODeadline, now: NIODeadline) -> Action? {
        guard case .writing = state, beat == self.beat else { return nil }
        state = .confirming(written: sent, since: now)
        return .ping
    }

    /// The heartbeat was refused, not replicated, or not answered: the lease runs on, and the next round tries again.
    mutating func failed(beat: UInt64, now: NIODeadline) {
        guard beat == self.beat else { return }
        switch state {
        case .writing: state = .writing(since: now)
        case .renewing: state = .resting(until: now + settings.retry)
        case .deaf, .verifying, .confirming, .resting, .pinging: return
        }
        // Whether its invalidation will come is not known.
        heardBeat = true
    }

    /// The invalidation of our own heartbeat.
    mutating func heardOwnBeat() {
        heardBeat = true
        switch state {
        case .deaf, .verifying: return
        case .writing, .confirming, .resting, .pinging, .renewing: hearsInvalidations = true
        }
    }

    /// The heartbeat has been heard over the push connection, and what had come before it has been applied on every loop.
    mutating func cameBack(beat: UInt64) {
        if beat == self.beat { cameBack = true }
    }

    /// The push connection has answered the round's PING, and what had come before it has been applied on every loop.
    mutating func ponged(now: NIODeadline) -> Action? {
        switch state {
        case .confirming(let written, _):
            // The connection is in order: it would have come before.
            guard cameBack else { return .reconnect }
            hold(from: written)
            state = .resting(until: written + settings.interval)
            return nil
        case .pinging(let since):
            // Tracking has gone silent: a new connection is the way to have it again. Where it never spoke, the gateway goes on without.
            if !heardBeat, hearsInvalidations { return .reconnect }
            nextBeat()
            state = .renewing(pinged: since, since: now)
            return .renew(beat: beat)
        case .deaf, .verifying, .writing, .resting, .renewing: return nil
        }
    }

    /// When `tick` has to be called at the latest; nil: there is nothing to wait for.
    var due: NIODeadline? {
        switch state {
        case .deaf, .verifying: nil
        case .writing(let since): since + settings.retry
        case .resting(let until): until
        case .confirming(_, let since), .pinging(let since), .renewing(_, let since): since + settings.patience
        }
    }

    mutating func tick(now: NIODeadline) -> Action? {
        guard let due, due <= now else { return nil }
        switch state {
        case .deaf, .verifying: return nil
        case .writing: return write(now)
        case .resting:
            state = .pinging(since: now)
            return .ping
        case .confirming, .pinging: return .reconnect
        case .renewing:
            // Its answer may still come; a later one counts no more. Nor is it known whether its invalidation will.
            beat += 1
            heardBeat = true
            state = .resting(until: now)
            return nil
        }
    }

    private mutating func hold(from moment: NIODeadline) {
        proven = moment
        leaseEnd = moment + settings.lease
        isSettled = true
    }

    private mutating func write(_ now: NIODeadline) -> Action {
        nextBeat()
        state = .writing(since: now)
        return .write(beat: beat)
    }

    private mutating func nextBeat() {
        beat += 1
        heardBeat = false
        cameBack = false
    }
}

extension LeaseMachine.Settings {
    /// After a failure: soon, but no storm.
    var retry: TimeAmount { .nanoseconds(min(max(staleness.nanoseconds / 10, 10_000_000), 250_000_000)) }
}
