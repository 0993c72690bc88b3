// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Testing

@testable import RedisClient

/// Believes what most say, as soon as two have answered; a negative number needs to be verified, 0 settles nothing.
private struct Votes: DiscoveryJudge {
    typealias Answer = Int

    var count = 3
    var settled: [RedisLayout] = []

    var questions: [RedisCommand] { [RedisCommand("PING")] }
    var targets: [RedisConfiguration.Address] { (1...count).map { .at($0) } }
    func isEnough(_ answers: Int) -> Bool { answers >= 2 }
    func answer(_ replies: [RedisReply], from source: RedisConfiguration.Address) -> Int? { nil }

    mutating func judge(_ answers: [Int]) -> DiscoveryVerdict {
        let answer = answers[0]
        if answer == 0 { return .unsettled("unclear") }
        return answer < 0 ? .verify(.at(-answer)) : .settled(RedisLayout(addresses: [.at(answer)]))
    }

    mutating func settle(_ layout: RedisLayout) { settled.append(layout) }
}

private typealias Machine = DiscoveryMachine<Votes>

extension RedisConfiguration.Address {
    static func at(_ port: Int) -> RedisConfiguration.Address { .host("10.0.0.1", port: port) }
}

/// The machine in each of its states, and each event in each of them.
@Suite("The discovery's state machine")
struct DiscoveryMachineTests {
    enum Stage: CaseIterable {
        case initial, asking, verifying, resting, pausing, closed
    }

    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    /// A machine in that state at `start`, in its first round.
    private func machine(_ stage: Stage, count: Int = 3) -> Machine {
        var machine = Machine(Votes(count: count), seed: 1)
        if stage == .initial { return machine }
        _ = machine.start(now: start)
        func answer(_ value: Int?) { for target in 1...count { _ = machine.answered(.at(target), in: 1, value, now: start) } }
        switch stage {
        case .initial, .asking: break
        case .verifying: answer(-9)
        case .resting: answer(9)
        case .pausing: answer(0)
        case .closed: machine.close()
        }
        return machine
    }

    @Test("start asks, once", arguments: Stage.allCases)
    func starting(_ stage: Stage) {
        var machine = machine(stage)
        let actions = machine.start(now: start)
        #expect(actions == (stage == .initial ? [.ask(.at(1)), .ask(.at(2)), .ask(.at(3))] : []))
    }

    @Test("a doubt begins a round, but not during one, nor too soon after one", arguments: Stage.allCases)
    func doubting(_ stage: Stage) {
        var machine = machine(stage)
        let now = start + Machine.pause
        let (round, actions) = machine.doubt(isNews: false, now: now)
        #expect(round == machine.round + (stage == .resting ? 0 : 1))
        #expect(actions.count == (stage == .resting ? 3 : 0))
        if stage == .resting {
            var early = self.machine(.resting)
            #expect(early.doubt(isNews: true, now: start).actions.isEmpty)
            #expect(early.due == start + Machine.pause)
            #expect(early.timerFired(now: start + Machine.pause).count == 3)
        }
    }

    @Test("news shorten a pause after failures, a mere doubt does not")
    func news() {
        var machine = Machine(Votes(), seed: 1)
        _ = machine.start(now: start)
        var now = start
        for _ in 0..<6 {
            for target in 1...3 { _ = machine.answered(.at(target), in: machine.round, nil, now: now) }
            guard let due = machine.due else { return fail("it has given up") }
            now = due
            _ = machine.timerFired(now: now)
        }
        for target in 1...3 { _ = machine.answered(.at(target), in: machine.round, nil, now: now) }
        let due = machine.due
        _ = machine.doubt(isNews: false, now: now)
        #expect(machine.due == due)
        _ = machine.doubt(isNews: true, now: now)
        #expect(machine.due == now + Machine.pause)
    }

    @Test("answers count while they are awaited, each once, and only of the present round", arguments: Stage.allCases)
    func answering(_ stage: Stage) {
        var machine = machine(stage)
        #expect(machine.answered(.at(1), in: 0, 9, now: start) == [])
        #expect(machine.answered(.at(1), in: 1, 9, now: start) == [])
        #expect(machine.answered(.at(1), in: 1, 9, now: start) == [])
        #expect(machine.answered(.at(2), in: 1, 9, now: start) == [])
        let last = machine.answered(.at(3), in: 1, 9, now: start)
        #expect(last == (stage == .asking ? [.conclude(.settled(RedisLayout(addresses: [.at(9)])))] : []))
        if stage == .asking {
            #expect(machine.judge.settled.count == 1)
            #expect(machine.due == start + Machine.interval)
        }
    }

    @Test("when enough have answered the others are waited for only briefly")
    func patience() {
        var machine = machine(.asking)
        _ = machine.answered(.at(1), in: 1, 7, now: start)
        #expect(machine.due == nil, "one answer is not enough")
        _ = machine.answered(.at(2), in: 1, 8, now: start)
        #expect(machine.due == start + Machine.patience)
        #expect(machine.timerFired(now: start + .milliseconds(1)) == [])
        #expect(machine.timerFired(now: start + Machine.patience) == [.conclude(.settled(RedisLayout(addresses: [.at(7)])))])
        #expect(machine.answered(.at(3), in: 1, 8, now: start + Machine.patience) == [], "it comes too late")
    }

    @Test("at most five are asked at once, and another one for each that says nothing")
    func bounded() {
        var machine = machine(.initial, count: 7)
        #expect(machine.start(now: start).count == 5)
        #expect(machine.answered(.at(1), in: 1, nil, now: start) == [.ask(.at(6))])
        #expect(machine.answered(.at(2), in: 1, nil, now: start) == [.ask(.at(7))])
        for target in 3...6 { #expect(machine.answered(.at(target), in: 1, nil, now: start) == []) }
        #expect(machine.answered(.at(7), in: 1, nil, now: start) == [.conclude(.silence)])
        guard let due = machine.due else { return fail("it does not try again") }
        #expect(due >= start + .milliseconds(25) && due <= start + .milliseconds(50))
        #expect(machine.timerFired(now: due).count == 5)
    }

    @Test("who is named is believed when it says so itself, and else everybody is asked again", arguments: Stage.allCases)
    func verifying(_ stage: Stage) {
        var yes = machine(stage)
        let (late, settled) = (yes.verified(in: 0, isPrimary: true, now: start), yes.verified(in: 1, isPrimary: true, now: start))
        #expect(late == [])
        #expect(settled == (stage == .verifying ? [.conclude(.settled(RedisLayout(addresses: [.at(9)])))] : []))
        var no = machine(stage)
        let actions = no.verified(in: 1, isPrimary: false, now: start)
        #expect(actions.count == (stage == .verifying ? 1 : 0))
        guard stage == .verifying else { return }
        #expect(actions != settled && no.judge.settled.isEmpty)
        guard let due = no.due, due <= start + Backoff.first else { return fail("it does not try again soon") }
        #expect(no.timerFired(now: due).count == 3)
    }

    @Test("a doubt during a round is answered by another right behind it")
    func doubtDuringRound() {
        for stage in [Stage.asking, .verifying] {
            var machine = machine(stage)
            #expect(machine.doubt(isNews: false, now: start).round == 2)
            for target in 1...3 { _ = machine.answered(.at(target), in: 1, 9, now: start) }
            _ = machine.verified(in: 1, isPrimary: true, now: start)
            #expect(machine.judge.settled.count == 1)
            #expect(machine.due == start + Machine.pause)
        }
    }

    @Test("time brings the next round when one is due, and nothing else", arguments: Stage.allCases)
    func timers(_ stage: Stage) {
        var machine = machine(stage)
        let due = machine.due
        #expect((due == nil) == [.initial, .asking, .verifying, .closed].contains(stage))
        let early = machine.timerFired(now: start)
        #expect(early == [])
        let actions = machine.timerFired(now: start + .hours(1))
        #expect(actions.count == ([.resting, .pausing].contains(stage) ? 3 : 0))
    }

    @Test("after close nothing happens any more", arguments: Stage.allCases)
    func closing(_ stage: Stage) {
        var machine = machine(stage)
        machine.close()
        #expect(machine.due == nil)
        #expect(machine.start(now: start).isEmpty && machine.doubt(isNews: true, now: start).actions.isEmpty)
        #expect(machine.answered(.at(1), in: 1, 1, now: start).isEmpty && machine.timerFired(now: start + .hours(1)).isEmpty)
    }

    private func fail(_ text: Comment, _ location: SourceLocation = #_sourceLocation) {
        Issue.record(text, sourceLocation: location)
    }
}
