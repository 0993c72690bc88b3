// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Testing

@testable import RedisSessions

/// The machine in each of its states, and each event in each of them.
@Suite("The freshness lease's state machine")
struct LeaseMachineTests {
    enum Stage: CaseIterable {
        case deaf, verifying, writing, confirming, resting, pinging, renewing
    }

    private static let settings = LeaseMachine.Settings(staleness: .seconds(3), patience: .milliseconds(250))
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)
    private var none: NIODeadline { .uptimeNanoseconds(0) }
    /// When the first heartbeat was sent, from which the first lease counts.
    private var sent: NIODeadline { start + .milliseconds(10) }
    /// When the first round began.
    private var pinged: NIODeadline { sent + Self.settings.interval }

    /// A machine in that state; in the last three it has a lease.
    private func machine(_ stage: Stage, hears: Bool = true) -> LeaseMachine {
        var machine = LeaseMachine(Self.settings)
        if stage == .deaf { return machine }
        #expect(machine.subscribed() == .verify(1))
        if stage == .verifying { return machine }
        #expect(machine.verified(1, now: start) == .write(beat: 1))
        if stage == .writing { return machine }
        #expect(machine.written(beat: 1, sent: sent, now: sent) == .ping)
        machine.cameBack(beat: 1)
        if hears { machine.heardOwnBeat() }
        if stage == .confirming { return machine }
        #expect(machine.ponged(now: sent) == nil)
        if stage == .resting { return machine }
        #expect(machine.tick(now: pinged) == .ping)
        if stage == .pinging { return machine }
        #expect(machine.ponged(now: pinged) == .renew(beat: 2))
        return machine
    }

    private func holds(_ stage: Stage) -> Bool { [.resting, .pinging, .renewing].contains(stage) }

    @Test("what is heard counts from when it was verified, until the connection is lost", arguments: Stage.allCases)
    func listening(_ stage: Stage) {
        #expect(machine(stage).isListening == (stage != .deaf && stage != .verifying))
    }

    @Test("a lease begins with the second answer, and counts from before the heartbeat was sent", arguments: Stage.allCases)
    func leases(_ stage: Stage) {
        let machine = machine(stage)
        #expect(machine.leaseEnd == (holds(stage) ? sent + Self.settings.lease : none))
        #expect(machine.proven == (holds(stage) ? sent : none))
        #expect(machine.memoryEnd == machine.leaseEnd)
        #expect(self.machine(stage, hears: false).memoryEnd == none)
    }

    @Test("a new subscription is verified, whatever was before", arguments: Stage.allCases)
    func subscribing(_ stage: Stage) {
        var machine = machine(stage)
        let lease = machine.leaseEnd
        #expect(machine.subscribed() == .verify(stage == .deaf ? 1 : 2))
        #expect(machine.leaseEnd == lease)
        #expect(machine.memoryEnd == none)
        #expect(!machine.isListening)
        #expect(machine.due == nil)
    }

    @Test("without the push connection the lease runs on and nothing is remembered", arguments: Stage.allCases)
    func losing(_ stage: Stage) {
        var machine = machine(stage)
        let lease = machine.leaseEnd
        machine.lost()
        #expect(machine.leaseEnd == lease)
        #expect(machine.memoryEnd == none)
        #expect(machine.due == nil)
        #expect(machine.tick(now: .distantFuture) == nil)
    }

    @Test("a heartbeat is written when its own subscription is verified", arguments: Stage.allCases)
    func verifying(_ stage: Stage) {
        var machine = machine(stage)
        #expect(machine.verified(1, now: start) == (stage == .verifying ? .write(beat: 1) : nil))
    }

    @Test("an earlier subscription's verification is none")
    func staleVerification() {
        var machine = machine(.verifying)
        machine.lost()
        #expect(machine.subscribed() == .verify(2))
        #expect(machine.verified(1, now: start) == nil)
        #expect(!machine.isListening)
        #expect(machine.verified(2, now: start) == .write(beat: 1))
    }

    @Test("a heartbeat that is written is followed by one more PING", arguments: Stage.allCases)
    func writing(_ stage: Stage) {
        var machine = machine(stage)
        let lease = machine.leaseEnd
        #expect(machine.written(beat: 1, sent: sent, now: sent) == (stage == .writing ? .ping : nil))
        #expect(machine.leaseEnd == lease)
        #expect(machine.written(beat: 9, sent: sent, now: sent) == nil)
    }

    @Test("a renewal counts from before its PING", arguments: Stage.allCases)
    func renewing(_ stage: Stage) {
        var machine = machine(stage)
        machine.cameBack(beat: 2)
        let lease = machine.leaseEnd
        #expect(machine.renewed(beat: 2, wasThere: true, now: pinged + .milliseconds(5)) == [])
        #expect(machine.leaseEnd == (stage == .renewing ? pinged + Self.settings.lease : lease))
        if stage == .renewing { #expect(machine.due == pinged + Self.settings.interval) }
    }

    @Test("a heartbeat that was gone ends the lease, and all is asked for again", arguments: Stage.allCases)
    func missing(_ stage: Stage) {
        var machine = machine(stage)
        let lease = machine.leaseEnd
        #expect(machine.renewed(beat: 2, wasThere: false, now: pinged) == (stage == .renewing ? [.forget, .write(beat: 3)] : []))
        #expect(machine.leaseEnd == (stage == .renewing ? none : lease))
        #expect(machine.renewed(beat: 7, wasThere: false, now: pinged) == [])
    }

    @Test("a renewal that has not come back, or comes after the lease's end, is followed by one more PING", arguments: [false, true])
    func late(_ cameBack: Bool) {
        var machine = machine(.renewing)
        if cameBack { machine.cameBack(beat: 2) }
        let now = cameBack ? sent + Self.settings.lease : pinged
        #expect(machine.renewed(beat: 2, wasThere: true, now: now) == [.ping])
        #expect(machine.leaseEnd == sent + Self.settings.lease)
        #expect(machine.ponged(now: now) == (cameBack ? nil : .reconnect))
        #expect(machine.leaseEnd == (cameBack ? pinged : sent) + Self.settings.lease)
    }

    @Test("one that failed is tried again, and costs nothing yet", arguments: Stage.allCases)
    func failing(_ stage: Stage) {
        var machine = machine(stage)
        let (lease, due) = (machine.leaseEnd, machine.due)
        let now = pinged + .milliseconds(1)
        machine.failed(beat: stage == .renewing ? 2 : 1, now: now)
        #expect(machine.leaseEnd == lease)
        let isTried = stage == .writing || stage == .renewing
        #expect(machine.due == (isTried ? now + Self.settings.retry : due))
        let before = machine.due
        machine.failed(beat: 9, now: .distantFuture)
        #expect(machine.due == before)
    }

    @Test("the heartbeat's invalidation proves tracking, once what was missed is verified", arguments: Stage.allCases)
    func hearing(_ stage: Stage) {
        var machine = machine(stage, hears: false)
        machine.heardOwnBeat()
        #expect(machine.hearsInvalidations == (stage != .deaf && stage != .verifying))
    }

    @Test("an answer to PING leads on where one is waited for", arguments: Stage.allCases)
    func answering(_ stage: Stage) {
        var machine = machine(stage)
        #expect(machine.ponged(now: pinged) == (stage == .pinging ? .renew(beat: 2) : nil))
    }

    @Test("a new heartbeat that did not come back before the answer is on another Redis")
    func elsewhere() {
        var machine = machine(.writing)
        #expect(machine.written(beat: 1, sent: sent, now: sent) == .ping)
        machine.cameBack(beat: 7)
        #expect(machine.ponged(now: sent) == .reconnect)
        #expect(machine.leaseEnd == none)
    }

    @Test("tracking that has fallen silent costs the connection, tracking that never spoke does not", arguments: [true, false])
    func silent(_ hears: Bool) {
        var machine = machine(.renewing, hears: hears)
        machine.cameBack(beat: 2)
        _ = machine.renewed(beat: 2, wasThere: true, now: pinged)
        let next = pinged + Self.settings.interval
        #expect(machine.tick(now: next) == .ping)
        #expect(machine.ponged(now: next) == (hears ? .reconnect : .renew(beat: 3)))
    }

    @Test("time", arguments: Stage.allCases)
    func ticking(_ stage: Stage) {
        var machine = machine(stage)
        guard let due = machine.due else {
            #expect(stage == .deaf || stage == .verifying)
            return
        }
        #expect(machine.tick(now: due - .nanoseconds(1)) == nil)
        switch stage {
        case .deaf, .verifying: Issue.record("nothing is due")
        case .writing: #expect(machine.tick(now: due) == .write(beat: 2))
        case .confirming, .pinging: #expect(machine.tick(now: due) == .reconnect)
        case .resting: #expect(machine.tick(now: due) == .ping)
        case .renewing:
            #expect(machine.tick(now: due) == nil)
            // What comes after it was given up is none, and the next round begins at once.
            machine.cameBack(beat: 2)
            #expect(machine.renewed(beat: 2, wasThere: true, now: due) == [])
            #expect(machine.leaseEnd == sent + Self.settings.lease)
            #expect(machine.tick(now: due) == .ping)
            // That it was given up says nothing of the connection that listens.
            #expect(machine.ponged(now: due) == .renew(beat: 4))
        }
    }
}
