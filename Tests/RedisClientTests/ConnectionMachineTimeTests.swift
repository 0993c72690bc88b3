// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Testing

@testable import RedisClient

// What comes with time, and the end.
extension ConnectionMachineTests {
    // MARK: time

    @Test("a timer that fires before anything is due changes nothing", arguments: Stage.allCases)
    func earlyTimer(_ stage: Stage) {
        var machine = machine(stage)
        let id = machine.connection
        _ = machine.send(ping, 1, now: start)
        _ = machine.flush(now: start)
        let due = machine.due
        guard case .none = machine.timerFired(now: start + .milliseconds(1)) else { return fail("it did something") }
        #expect(machine.due == due)
        if stage == .ready, case .deliver(1) = machine.reply(.null, from: id, now: start) {} else { #expect(stage != .ready) }
    }

    @Test("a timer that is due gives up, times out, or connects again", arguments: Stage.allCases)
    func dueTimer(_ stage: Stage) {
        var machine = machine(stage)
        let id = machine.connection
        if stage == .ready {
            _ = machine.send(ping, 1, now: start)
            _ = machine.flush(now: start)
            _ = machine.send(ping, 2, now: start)
        }
        guard let due = machine.due else {
            #expect(stage == .initial || stage == .closed)
            guard case .none = machine.timerFired(now: .distantFuture - .hours(1)) else { return fail("\(stage) did something") }
            return
        }
        switch (stage, machine.timerFired(now: due)) {
        case (.connecting, .giveUp(let ending)), (.reconnecting, .giveUp(let ending)), (.handshaking, .giveUp(let ending)):
            #expect(ending.requests.isEmpty)
            #expect(machine.send(ping, 3, now: due) == .refuse(.unavailable(wasSent: false)), "the first attempt is over")
        case (.ready, .timeOut(let ending)):
            #expect(Array(ending.requests) == [1, 2])
            #expect(ending.failure(at: 0) == .timedOut(wasSent: true))
            #expect(ending.failure(at: 1) == .timedOut(wasSent: false))
            guard case .ignore = machine.reply(.null, from: id, now: due) else { return fail("a late reply was taken") }
        case (.backingOff, .connect(let next)):
            #expect(next == id + 1)
            #expect(machine.due == due + Self.connect)
        case (let stage, let action): Issue.record("\(stage): \(action)")
        }
    }

    @Test(
        "a command that waits too long for the first connection is timed out, unsent, and the attempt goes on",
        arguments: [Stage.connecting, .handshaking])
    func expiring(_ stage: Stage) {
        var machine = machine(stage)
        _ = machine.send(ping, 1, now: start)
        _ = machine.send(ping, 2, now: start + .milliseconds(100))
        guard case .expire([1]) = machine.timerFired(now: start + Self.command) else { return fail("not expired") }
        #expect(machine.due == start + .milliseconds(350))
    }

    @Test("a loop that was late itself reads what there is once before it gives up")
    func forgiven() {
        var machine = machine(.ready)
        let id = machine.connection
        for request in 1...2 {
            _ = machine.send(ping, request, now: start)
            _ = machine.flush(now: start)
        }
        let late = start + .milliseconds(400)
        guard case .none = machine.timerFired(now: late) else { return fail("timed out at once") }
        guard case .deliver(1) = machine.reply(.null, from: id, now: late) else { return fail("reply not taken") }
        guard case .none = machine.timerFired(now: late) else { return fail("the next one is not given its chance") }
        guard let due = machine.due, case .timeOut = machine.timerFired(now: due + .milliseconds(400)) else { return fail("forgiven twice") }
    }

    // MARK: close

    @Test("close ends every state, and fails what was outstanding", arguments: Stage.allCases)
    func closing(_ stage: Stage) {
        var machine = machine(stage)
        let id = machine.connection
        _ = machine.send(ping, 1, now: start)
        _ = machine.flush(now: start)
        switch (stage, machine.close()) {
        case (.closed, .none): break
        case (.ready, .end(let ending)): #expect(ending.failure(at: 0) == .unavailable(wasSent: true))
        case (.connecting, .end(let ending)), (.handshaking, .end(let ending)): #expect(ending.failure(at: 0) == .unavailable(wasSent: false))
        case (.initial, .end(let ending)), (.reconnecting, .end(let ending)), (.backingOff, .end(let ending)): #expect(ending.requests.isEmpty)
        case (let stage, let action): Issue.record("\(stage): \(action)")
        }
        #expect(machine.due == nil)
        #expect(machine.start(now: start) == .none)
        #expect(machine.connected(id) == .discard)
    }

    // MARK: back-off

    @Test("pauses grow from 25–50 ms to 250–500 ms, differ between clients, and stay there")
    func pauses() {
        var backoff = Backoff(seed: 1)
        for failures in [0, 1, 2, 3, 4, 10, 1_000_000] {
            let step = min(50 << min(failures, 10), 500)
            for _ in 1...100 {
                let delay = backoff.delay(afterFailures: failures)
                #expect(delay >= .milliseconds(Int64(step / 2)) && delay <= .milliseconds(Int64(step)))
            }
        }
        var other = Backoff(seed: 2)
        #expect(backoff.delay(afterFailures: 5) != other.delay(afterFailures: 5))
    }
}
