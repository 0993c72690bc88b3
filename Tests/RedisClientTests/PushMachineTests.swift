// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Testing

@testable import RedisClient

/// The machine in each of its states, and each event in each of them.
@Suite("The push connection's state machine")
struct PushMachineTests {
    enum Stage: CaseIterable {
        case closed, connecting, greeting, identifying, tracking, subscribing, open, waiting
    }

    private static let timeout = TimeAmount.seconds(1)
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)
    private static let ok = RedisReply.simple(Array("OK".utf8))
    private static let master = array("master", "7")
    private static let subscribed = array("subscribe", "channel", "1")
    private static let pong = array("pong", "")

    private static func array(_ words: String...) -> RedisReply { .array(words.map { .bulk(Array($0.utf8)) }) }

    /// With AUTH before ROLE, and one channel beside the invalidations.
    private func machine(_ stage: Stage, tracks: Bool = true) -> PushMachine {
        var machine = PushMachine(PushMachine.Settings(greeting: [.auth, .role], channels: 2, connectTimeout: Self.timeout), seed: 1)
        if stage == .closed { return machine }
        #expect(machine.start(now: start) == .connect(1))
        if stage == .connecting { return machine }
        if stage == .waiting {
            #expect(machine.lost(1, reason: "gone", now: start) == .lost(reason: "gone"))
            return machine
        }
        #expect(machine.connected(1) == .greet)
        if stage == .greeting { return machine }
        #expect(machine.reply(Self.ok, from: 1, now: start) == .ignore)
        #expect(machine.reply(Self.master, from: 1, now: start) == .ignore)
        if stage == .identifying { return machine }
        #expect(machine.reply(.integer(42), from: 1, now: start) == .track(client: 42))
        if stage == .tracking { return machine }
        #expect(machine.reply(tracks ? Self.ok : .error(Array("ERR unknown".utf8)), from: 1, now: start) == .subscribe)
        if stage == .subscribing { return machine }
        #expect(machine.reply(Self.subscribed, from: 1, now: start) == .ignore)
        #expect(machine.reply(Self.subscribed, from: 1, now: start) == .opened(tracks: tracks))
        return machine
    }

    private func isLost(_ action: PushMachine.Action) -> Bool {
        if case .lost = action { true } else { false }
    }

    private func hasSocket(_ stage: Stage) -> Bool { stage != .closed && stage != .waiting && stage != .connecting }

    @Test("start connects, once", arguments: Stage.allCases)
    func starting(_ stage: Stage) {
        var machine = machine(stage)
        #expect(machine.start(now: start) == (stage == .closed ? .connect(1) : .ignore))
        #expect(machine.isOpen == (stage == .open))
    }

    @Test("a socket is greeted where one was waited for", arguments: Stage.allCases)
    func connecting(_ stage: Stage) {
        var machine = machine(stage)
        #expect(machine.connected(9) == .ignore)
        #expect(machine.connected(1) == (stage == .connecting ? .greet : .ignore))
    }

    @Test("a lost socket is made anew, a little later", arguments: Stage.allCases)
    func losing(_ stage: Stage) {
        var machine = machine(stage)
        #expect(machine.lost(9, reason: "old", now: start) == .ignore)
        let action = machine.lost(1, reason: "gone", now: start)
        guard stage != .closed, stage != .waiting else {
            #expect(action == .ignore)
            return
        }
        #expect(action == .lost(reason: "gone"))
        #expect(!machine.isOpen)
        guard let due = machine.due else {
            Issue.record("nothing is due")
            return
        }
        #expect(due > start && due <= start + Backoff.first)
        #expect(machine.tick(now: due - .nanoseconds(1)) == .ignore)
        #expect(machine.tick(now: due) == .connect(2))
        // What the old one says is nobody's.
        #expect(machine.reply(Self.pong, from: 1, now: due) == .ignore)
        #expect(machine.lost(1, reason: "again", now: due) == .ignore)
    }

    @Test("everything up to the last confirmation has one deadline", arguments: Stage.allCases)
    func timing(_ stage: Stage) {
        var machine = machine(stage)
        switch stage {
        case .closed, .open:
            #expect(machine.due == nil)
            #expect(machine.tick(now: .distantFuture) == .ignore)
        case .waiting:
            #expect(machine.tick(now: start + Backoff.first) == .connect(2))
        case .connecting, .greeting, .identifying, .tracking, .subscribing:
            #expect(machine.due == start + Self.timeout)
            #expect(machine.tick(now: start + Self.timeout - .nanoseconds(1)) == .ignore)
            #expect(isLost(machine.tick(now: start + Self.timeout)))
        }
    }

    @Test("closed is for good", arguments: Stage.allCases)
    func closing(_ stage: Stage) {
        var machine = machine(stage)
        machine.close()
        #expect(machine.due == nil)
        #expect(!machine.isOpen)
        #expect(machine.connected(1) == .ignore)
        #expect(machine.reply(Self.pong, from: 1, now: start) == .ignore)
        #expect(machine.lost(1, reason: "", now: start) == .ignore)
    }

    private static let replies: [RedisReply] = [
        ok, master, array("slave", "host"), .integer(42), subscribed, array("unsubscribe", "channel", "0"), pong, array("message", "channel", "text"),
        array("message", "channel"), .error(Array("NOAUTH Authentication required.".utf8)), .null, .bulk([]), .array([]), .array([.integer(1)]),
    ]

    @Test("each reply leads on in its own place, and costs the connection in any other", arguments: Stage.allCases, replies)
    func replying(_ stage: Stage, _ reply: RedisReply) {
        var machine = machine(stage)
        let action = machine.reply(reply, from: 1, now: start)
        switch stage {
        case .closed, .waiting, .connecting: #expect(action == .ignore)
        case .greeting: #expect(reply == Self.ok ? action == .ignore : isLost(action))
        case .identifying: #expect(reply == .integer(42) ? action == .track(client: 42) : isLost(action))
        case .tracking: #expect(action == .subscribe)
        case .subscribing:
            let isMessage = reply.elements?.first?.bytes == Array("message".utf8)
            #expect(reply == Self.subscribed || isMessage ? action == .ignore : isLost(action))
        case .open:
            switch reply {
            case Self.pong: #expect(action == .pong)
            case Self.array("message", "channel", "text"):
                #expect(action == .message(channel: Array("channel".utf8), Array("text".utf8)))
            default: #expect(isLost(action))
            }
        }
        if isLost(action) { #expect(!machine.isOpen && machine.due != nil) }
    }

    @Test("ROLE has to say master", arguments: [array("slave", "host"), array("sentinel"), ok, .null])
    func role(_ reply: RedisReply) {
        var machine = machine(.greeting)
        #expect(machine.reply(Self.ok, from: 1, now: start) == .ignore)
        #expect(isLost(machine.reply(reply, from: 1, now: start)))
    }

    @Test("where tracking is refused messages are heard all the same")
    func untracked() {
        var machine = machine(.open, tracks: false)
        #expect(machine.isOpen)
        #expect(machine.reply(Self.pong, from: 1, now: start) == .pong)
    }

    @Test("invalidations name keys, or mean any key")
    func invalidations() {
        var machine = machine(.open)
        func push(_ payload: RedisReply) -> PushMachine.Action {
            machine.reply(.array([.bulk(Array("message".utf8)), .bulk(Array("__redis__:invalidate".utf8)), payload]), from: 1, now: start)
        }
        #expect(push(Self.array("a", "b")) == .invalidated([Array("a".utf8), Array("b".utf8)]))
        #expect(push(.array([])) == .invalidated([]))
        for odd in [RedisReply.null, .integer(1), .bulk(Array("a".utf8)), .array([.bulk(Array("a".utf8)), .integer(1)]), .array([.null])] {
            #expect(push(odd) == .invalidated(nil))
        }
        #expect(machine.isOpen)
    }

    @Test("waits grow with failures in a row, and begin anew after a connection that was good")
    func backingOff() {
        var machine = machine(.open)
        var now = start
        var waits: [TimeAmount] = []
        for id in 1...8 {
            _ = machine.lost(id, reason: "", now: now)
            guard let due = machine.due else { break }
            waits.append(due - now)
            now = due
            #expect(machine.tick(now: now) == .connect(id + 1))
        }
        #expect(waits.count == 8)
        #expect(waits[0] <= Backoff.first)
        #expect(waits[7] > Backoff.first && waits[7] <= Backoff.longest)
    }
}
