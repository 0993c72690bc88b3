// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Sessions

/// What is to be asked again of the sessions of which something is open, until each has an answer. Confined to the loop of its lookup.
final class RecheckQueue {
    /// Sessions that are asked for at once, so that requests find room between them after a connection was lost.
    private static let limit = 1000
    /// After one that was not answered, until it and the others are asked again: one by one they would be too much, just when Redis is in trouble.
    private static let pause = TimeAmount.milliseconds(100)

    private unowned let lookup: RedisSessionLookup
    private var waiting: CircularBuffer<Recheck> = []
    private var underWay = 0
    /// `send` is at work: what is refused at once comes back before it is done, and leaves the next one to it.
    private var isSending = false
    /// One had no answer just now: none but those that nobody may wait for is sent.
    private var isPaused = false

    init(_ lookup: RedisSessionLookup) {
        self.lookup = lookup
    }

    /// All that is held of this user. What a verification cannot wait for goes before everything else.
    func add(_ sessions: UserSessions, for verification: Verification?) {
        for reference in sessions.heldReferences() {
            let reference = unsafeDowncast(reference, to: RedisSessionReference.self)
            let recheck = Recheck(self, reference, verification)
            if let verification {
                verification.left += 1
                if verification.isPatient { waiting.append(recheck) } else { waiting.prepend(recheck) }
            } else if !reference.isRecheckQueued {
                reference.isRecheckQueued = true
                waiting.append(recheck)
            }
        }
        send()
    }

    private func send() {
        guard !isSending else { return }
        isSending = true
        defer { isSending = false }
        while underWay < Self.limit, let next = waiting.first, !isPaused || next.verification?.isPatient == false {
            let recheck = waiting.removeFirst()
            underWay += 1
            if recheck.verification == nil { recheck.reference.isRecheckQueued = false }
            lookup.send(recheck.reference, recheck, needsLease: false, isUse: false)
        }
    }

    fileprivate func completed(_ recheck: Recheck, _ answer: SessionAnswer) {
        underWay -= 1
        let reference = recheck.reference
        switch answer {
        case .unavailable where recheck.verification.map { !$0.isPatient || reference.isKeyBroken } ?? false:
            // What can have no answer must not keep everybody's lease.
            lookup.end(reference, .unconfirmed)
        case .unavailable where reference.sessions.isHeld:
            // Nobody has said that it ended, and nobody that it has not.
            beginPause()
            if addAgain(recheck) { return send() }
        case .revoked: lookup.end(reference, reference.isOver ? .expired : .revoked)
        case .active, .unavailable: break
        }
        recheck.verification?.done()
        send()
    }

    /// False: another one is queued, which will say as much.
    private func addAgain(_ recheck: Recheck) -> Bool {
        if recheck.verification == nil {
            if recheck.reference.isRecheckQueued { return false }
            recheck.reference.isRecheckQueued = true
        }
        waiting.append(recheck)
        return true
    }

    private func beginPause() {
        guard !isPaused else { return }
        isPaused = true
        // With its lookup, which is to be there when the pause ends.
        let bound = NIOLoopBound((queue: self, lookup: lookup), eventLoop: lookup.eventLoop)
        lookup.eventLoop.scheduleTask(in: Self.pause) {
            bound.value.queue.isPaused = false
            bound.value.queue.send()
        }
    }
}

/// Asks again about a session of which something is open.
final class Recheck: SessionWaiter {
    private unowned let queue: RecheckQueue
    let reference: RedisSessionReference
    let verification: Verification?

    fileprivate init(_ queue: RecheckQueue, _ reference: RedisSessionReference, _ verification: Verification?) {
        self.queue = queue
        self.reference = reference
        self.verification = verification
        super.init()
    }

    override func sessionAnswered(_ answer: SessionAnswer, from source: SessionAnswerSource) { queue.completed(self, answer) }
}

/// Counts the rechecks of one verification.
final class Verification {
    /// One for the counting itself.
    var left = 1
    /// Whether what was not answered is asked for again until it is.
    let isPatient: Bool
    private let promise: EventLoopPromise<Void>

    init(_ promise: EventLoopPromise<Void>, isPatient: Bool = true) {
        self.promise = promise
        self.isPatient = isPatient
    }

    func began() { done() }

    func done() {
        left -= 1
        if left == 0 { promise.succeed() }
    }
}
