// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import RedisClient
import Sessions
import WallTime

/// One question on its way: counts the replies that it still waits for and judges them together.
final class SessionQuestion: RedisRequest {
    private unowned let lookup: RedisSessionLookup
    private var waiter: SessionWaiter?
    /// Further requests of the same session that came meanwhile; at most one for each that is open.
    private var joined: [SessionWaiter] = []
    /// So many of them, the first ones, were there when it was asked last.
    private var joinedBefore = 0
    private var reference: RedisSessionReference?
    private var version: UInt64 = 0
    private var epoch: UInt64 = 0
    private var asked = NIODeadline.uptimeNanoseconds(0)
    private var needsLease = true
    private var isUse = true
    private var tries = 0
    /// The connection was closed under the question or just before it left, once: an idle one may be, just as it is used again.
    private var wasLost = false
    /// Until then a lease that is about to be had is waited for; nil: there has been no need.
    private var patienceEnd: NIODeadline?
    private var received = 0
    private var expected = 0
    /// When all replies are there, everything is asked once more.
    private var isRepeated = false
    private var answer = SessionAnswer.active
    /// A key is of another type, or has no value that it can have.
    private var isKeyBroken = false
    private var until = NIODeadline.distantFuture

    init(_ lookup: RedisSessionLookup) {
        self.lookup = lookup
        super.init()
    }

    /// `needsLease`: not when what is open is asked for again, which is what a new lease waits for.
    func begin(
        _ reference: RedisSessionReference, _ waiter: SessionWaiter, joined: ArraySlice<SessionWaiter> = [], needsLease: Bool, isUse: Bool
    ) {
        self.reference = reference
        self.waiter = waiter
        if !joined.isEmpty { self.joined = Array(joined) }
        self.needsLease = needsLease
        self.isUse = isUse
        if isUse, lookup.remembers { reference.question = self }
        wasLost = false
        tries = 0
        patienceEnd = nil
        note(reference)
    }

    /// Before anything is sent: what is heard from now on may be younger than the answer.
    private func note(_ reference: RedisSessionReference) {
        let lookup = lookup
        version = reference.sessions.version
        epoch = lookup.epoch
        tries += 1
        wasAsked = false
        received = 0
        isRepeated = false
        expected = 1 + (reference.commands.revokedBefore == nil ? 0 : 1) + (lookup.remembers && reference.commands.timeLeft != nil ? 1 : 0)
        answer = .active
        isKeyBroken = false
        joinedBefore = joined.count
        until = .distantFuture
        if lookup.remembers { asked = LeaseClock.now() }
    }

    func join(_ waiter: SessionWaiter) { joined.append(waiter) }

    /// Numbers and errors, and where the moment of the last logout-all is asked for, a text or nothing.
    override func accepts(_ reply: RedisReply) -> Bool {
        switch reply {
        case .error: true
        case .integer: received == 0 || reference?.kind != .revocable
        case .bulk, .null: received == 1 && reference?.kind == .revocable
        case .simple, .array: false
        }
    }

    override func redisCompleted(_ outcome: RedisOutcome) {
        guard let reference else { return }
        received += 1
        if case .failure(.unavailable) = outcome, !wasLost {
            wasLost = true
            isRepeated = true
        }
        let one: SessionAnswer
        if received == 1 {
            one = Self.membership(outcome, revokes: reference.kind == .revocable)
        } else if reference.kind == .revocable {
            one = RevokedBeforeRule.judge(outcome, issuedAt: reference.issuedAt)
        } else {
            one = timeLeft(outcome)
        }
        if one == .unavailable, Self.blamesKey(outcome) { isKeyBroken = true }
        switch (answer, one) {
        case (.unavailable, _), (_, .unavailable): answer = .unavailable
        case (.revoked, _), (_, .revoked): answer = .revoked
        case (.active, .active): break
        }
        guard received == expected else { return }
        // Asking changes nothing, so it may be done twice; another connection is being made, or this fails at once.
        if isRepeated {
            note(reference)
            return lookup.send(self, reference)
        }
        judge(reference)
    }

    /// Whether the lease is there now that was about to be had.
    func lookForLease() {
        guard let reference else { return }
        guard lookup.counts(reference, needsLease: true) else {
            if isPatient, lookup.awaitsLease(reference) { return lookup.askLater(self) }
            return finish(.unavailable, reference, isForAll: true)
        }
        note(reference)
        // What has been tried for want of a lease says nothing of how fast the user's sessions change.
        tries = 1
        lookup.send(self, reference)
    }

    private var isPatient: Bool {
        let now = LeaseClock.now(), end = patienceEnd ?? now + lookup.patience
        patienceEnd = end
        return now < end
    }

    private func judge(_ reference: RedisSessionReference) {
        let lookup = lookup
        let counts = lookup.counts(reference, needsLease: needsLease)
        // A lease that a flush, a failover or the start has interrupted is there again in a moment; then the question is asked again.
        if needsLease, !counts, answer != .unavailable, isPatient, lookup.awaitsLease(reference) { return lookup.askLater(self) }
        let heard = AnswerRule.Heard(version: reference.sessions.version, epoch: lookup.epoch)
        switch AnswerRule.judge(
            answer, asked: AnswerRule.Heard(version: version, epoch: epoch), now: heard, tries: tries, isFresh: counts)
        {
        case .askAgain:
            note(reference)
            return lookup.send(self, reference)
        case .use(let judged, let isCurrent):
            // Of a node that is about to get the slot, or has just got it, nobody may hear anything yet.
            if isCurrent, lookup.remembers, !wasAsked {
                reference.answer = judged
                reference.version = version
                reference.epoch = epoch
                reference.until = until
            }
            let isRemembered = isCurrent && !wasAsked && lookup.remembered(reference) != nil
            finish(judged, reference, isForAll: isRemembered || judged == .unavailable)
        }
    }

    /// `isForAll`: it is worth as much to those that came after it was asked; else it is asked once more, for all of these.
    private func finish(_ answer: SessionAnswer, _ reference: RedisSessionReference, isForAll: Bool) {
        let waiter = waiter, joined = joined, lookup = lookup, count = isForAll ? joined.count : joinedBefore
        self.waiter = nil
        self.joined = []
        self.reference = nil
        if reference.question === self { reference.question = nil }
        reference.isKeyBroken = isKeyBroken
        lookup.answered(self, reference, answer, isUse: isUse)
        if count < joined.count { lookup.ask(reference, joined[count...]) }
        waiter?.sessionAnswered(answer, from: .store)
        for waiter in joined.prefix(count) { waiter.sessionAnswered(answer, from: .store) }
    }

    private static func blamesKey(_ outcome: RedisOutcome) -> Bool {
        guard case .reply(let reply) = outcome else { return false }
        if case .bulk = reply { return true }
        return reply.errorCode == "WRONGTYPE"
    }

    /// PTTL: the set's end, counted from before it was asked for; -1: none, -2: there is no set, which the membership says, too.
    private func timeLeft(_ outcome: RedisOutcome) -> SessionAnswer {
        guard case .reply(.integer(let milliseconds)) = outcome else { return .unavailable }
        if milliseconds >= 0 { until = asked + .milliseconds(milliseconds) }
        return .active
    }

    /// 1 and 0 are answers; everything else (an error, another type, silence) is none.
    private static func membership(_ outcome: RedisOutcome, revokes: Bool) -> SessionAnswer {
        guard case .reply(.integer(let isMember)) = outcome, isMember == 0 || isMember == 1 else { return .unavailable }
        return (isMember == 1) != revokes ? .active : .revoked
    }
}

/// What an answer is worth that comes after other things have been heard; the race between a reply and what is pushed over another connection.
enum AnswerRule {
    /// What had been heard when the question was asked, or has been now.
    struct Heard: Equatable {
        var version: UInt64
        var epoch: UInt64
    }

    enum Verdict: Equatable {
        case askAgain
        /// `isCurrent`: nothing has been heard since, so it may be remembered.
        case use(SessionAnswer, isCurrent: Bool)
    }

    static func judge(_ answer: SessionAnswer, asked: Heard, now: Heard, tries: Int, isFresh: Bool) -> Verdict {
        // An answer of a Redis that may have been replaced meanwhile is none, whatever it says.
        guard isFresh, answer != .unavailable else { return .use(.unavailable, isCurrent: false) }
        guard asked == now else { return tries < RedisSessionLookup.askLimit ? .askAgain : .use(answer, isCurrent: false) }
        return .use(answer, isCurrent: true)
    }
}

/// When a session that is open for long comes to its end: the set's own, or its place among the ends.
final class EndQuestion: RedisRequest {
    private let reference: RedisSessionReference
    private let asked = LeaseClock.now()
    private var end: NIODeadline?
    private var isFirst = true
    private var isKnown = true

    init(_ reference: RedisSessionReference) {
        self.reference = reference
        super.init()
    }

    override func redisCompleted(_ outcome: RedisOutcome) {
        if isFirst {
            isFirst = false
            if case .reply(.integer(let left)) = outcome { if left >= 0 { end = asked + .milliseconds(left) } } else { isKnown = false }
            return
        }
        switch outcome {
        case .reply(.bulk(let score)):
            if let at = Double(String(decoding: score, as: UTF8.self)), at.isFinite {
                let left = max(0, min(at - Double(systemTime()), 4e12))
                end = min(end ?? .distantFuture, asked + .milliseconds(Int64(left)))
            }
        case .reply(.null): break
        case .reply, .failure: isKnown = false
        }
        reference.end = isKnown ? end.map { .at($0) } ?? .none : .unknown
    }
}

extension RedisSessionReference {
    var isOver: Bool {
        if case .at(let end) = end { end <= LeaseClock.now() } else { false }
    }
}

/// What `revoked_before:{U}` says of a token (contract §7).
enum RevokedBeforeRule {
    /// The longest number that is one: seconds for the next 30,000 years.
    static let digitLimit = 12

    static func judge(_ outcome: RedisOutcome, issuedAt: Int64?) -> SessionAnswer {
        guard case .reply(let reply) = outcome else { return .unavailable }
        switch reply {
        case .null: return .active
        case .bulk(let text):
            guard let moment = number(text) else { return .unavailable }
            guard let issuedAt else { return .revoked }
            return issuedAt > moment ? .active : .revoked
        case .integer, .simple, .error, .array: return .unavailable
        }
    }

    private static func number(_ text: [UInt8]) -> Int64? {
        guard !text.isEmpty, text.count <= digitLimit else { return nil }
        var value: Int64 = 0
        for byte in text {
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
            value = value * 10 + Int64(byte - UInt8(ascii: "0"))
        }
        return value
    }
}
