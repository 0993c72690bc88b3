// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Testing

@testable import RedisClient

/// The machine in each of its states, and each event in each of them.
@Suite("The connection's state machine")
struct ConnectionMachineTests {
    typealias Machine = ConnectionMachine<Int>

    enum Stage: CaseIterable {
        case initial, connecting, reconnecting, handshaking, ready, backingOff, closed
    }

    static let connect = TimeAmount.seconds(1)
    static let command = TimeAmount.milliseconds(250)
    static let ok = RedisReply.simple(Array("OK".utf8))
    static let pong = RedisReply.simple(Array("PONG".utf8))
    let ping = RedisCommand("PING")
    let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    /// A machine in that state at `start`.
    func machine(_ stage: Stage, depth: Int = 4, steps: [Machine.HandshakeStep] = [.auth, .ping]) -> Machine {
        var machine = Machine(
            Machine.Settings(handshake: steps, connectTimeout: Self.connect, commandTimeout: Self.command, depth: depth), seed: 1)
        if stage == .initial { return machine }
        _ = machine.start(now: start)
        switch stage {
        case .initial, .connecting:
            break
        case .reconnecting:
            _ = machine.lost(1, now: start)
            _ = machine.timerFired(now: start + .seconds(1))
            return machine
        case .handshaking:
            _ = machine.connected(1)
        case .ready:
            _ = machine.connected(1)
            _ = machine.reply(Self.ok, from: 1, now: start)
            _ = machine.reply(Self.pong, from: 1, now: start)
        case .backingOff:
            _ = machine.lost(1, now: start)
        case .closed:
            _ = machine.close()
        }
        return machine
    }

    // MARK: start

    @Test("start connects, once", arguments: Stage.allCases)
    func starting(_ stage: Stage) {
        var machine = machine(stage)
        let due = machine.due
        switch stage {
        case .initial:
            #expect(machine.start(now: start) == .connect(1))
            #expect(machine.due == start + Self.connect)
        case .connecting, .reconnecting, .handshaking, .ready, .backingOff, .closed:
            #expect(machine.start(now: start) == .none)
            #expect(machine.due == due)
        }
    }

    // MARK: send

    @Test("a command is sent when ready, waits in the first attempt alone, and is refused else", arguments: Stage.allCases)
    func sending(_ stage: Stage) {
        var machine = machine(stage)
        let action = machine.send(ping, 7, now: start)
        switch stage {
        case .ready: #expect(action == .append(scheduleFlush: true))
        case .connecting, .handshaking:
            #expect(action == .hold)
            #expect(machine.due == start + Self.command)
        case .initial, .reconnecting, .backingOff, .closed: #expect(action == .refuse(.unavailable(wasSent: false)))
        }
    }

    @Test("one flush is scheduled for all commands of a tick, and a new one after it")
    func oneFlush() {
        var machine = machine(.ready)
        #expect(machine.send(ping, 1, now: start) == .append(scheduleFlush: true))
        #expect(machine.send(ping, 2, now: start) == .append(scheduleFlush: false))
        #expect(machine.flush(now: start) == .write)
        #expect(machine.send(ping, 3, now: start) == .append(scheduleFlush: true))
    }

    @Test("more commands than the pipeline's depth are refused as not sent", arguments: [Stage.ready, .connecting, .handshaking])
    func depth(_ stage: Stage) {
        var machine = machine(stage, depth: 2)
        for request in 1...2 { #expect(machine.send(ping, request, now: start) != .refuse(.unavailable(wasSent: false))) }
        #expect(machine.send(ping, 3, now: start) == .refuse(.unavailable(wasSent: false)))
    }

    // MARK: flush

    @Test("a flush writes what a ready connection has gathered, and nothing else", arguments: Stage.allCases)
    func flushing(_ stage: Stage) {
        var machine = machine(stage)
        #expect(machine.flush(now: start) == .none)
        guard stage == .ready else { return }
        #expect(machine.due == nil)
        _ = machine.send(ping, 1, now: start)
        #expect(machine.flush(now: start) == .write)
        #expect(machine.due == start + Self.command)
    }

    // MARK: connected

    @Test("a channel that is up is greeted if it is awaited, and closed else", arguments: Stage.allCases)
    func connecting(_ stage: Stage) {
        var machine = machine(stage)
        let id = machine.connection
        switch stage {
        case .connecting, .reconnecting: #expect(machine.connected(id) == .handshake)
        case .initial, .handshaking, .ready, .backingOff, .closed: #expect(machine.connected(id) == .discard)
        }
    }

    @Test("a channel of an attempt that was given up is closed")
    func staleConnect() {
        var machine = machine(.reconnecting)
        let id = machine.connection
        #expect(machine.connected(id - 1) == .discard)
        #expect(machine.connected(id) == .handshake)
    }

    // MARK: reply

    @Test("a reply without a question is a violation on a live connection, and ignored else", arguments: Stage.allCases)
    func unasked(_ stage: Stage) {
        var machine = machine(stage)
        let id = machine.connection
        let action = machine.reply(.integer(1), from: id, now: start)
        switch (stage, action) {
        case (.ready, .violation(let ending)), (.handshaking, .violation(let ending)):
            #expect(ending.requests.isEmpty)
            #expect(machine.due != nil, "it will connect again")
        case (.initial, .ignore), (.connecting, .ignore), (.reconnecting, .ignore), (.backingOff, .ignore), (.closed, .ignore): break
        default: Issue.record("\(stage): \(action)")
        }
    }

    @Test("a reply never belongs to a command that has not left yet")
    func replyBeforeFlush() {
        var machine = machine(.ready)
        let id = machine.connection
        _ = machine.send(ping, 1, now: start)
        guard case .violation(let ending) = machine.reply(.integer(1), from: id, now: start) else {
            Issue.record("it was taken for the command's reply")
            return
        }
        #expect(Array(ending.requests) == [1])
        #expect(ending.failure(at: 0) == .protocolViolation(wasSent: false))
    }

    @Test("replies go to the commands in their order, over several flushes")
    func order() {
        var machine = machine(.ready)
        let id = machine.connection
        var delivered: [Int] = []
        for request in 1...2 { _ = machine.send(ping, request, now: start) }
        _ = machine.flush(now: start)
        _ = machine.send(ping, 3, now: start)
        _ = machine.flush(now: start + .milliseconds(100))
        for _ in 1...3 {
            if case .deliver(let request) = machine.reply(.null, from: id, now: start) { delivered.append(request) }
            if delivered.count == 2 { #expect(machine.due == start + .milliseconds(350), "the deadline is that of the oldest") }
        }
        #expect(delivered == [1, 2, 3])
        #expect(machine.due == nil)
    }

    @Test("what an older connection still says is ignored", arguments: [Stage.handshaking, .ready])
    func staleReply(_ stage: Stage) {
        var machine = machine(stage)
        let id = machine.connection
        _ = machine.send(ping, 1, now: start)
        _ = machine.flush(now: start)
        guard case .ignore = machine.reply(Self.ok, from: id + 1, now: start), case .ignore = machine.lost(id + 1, now: start) else {
            Issue.record("it was not ignored")
            return
        }
    }

    @Test("the handshake ends with the last expected reply, and hands over what has waited")
    func handshake() {
        var machine = machine(.handshaking)
        let id = machine.connection
        _ = machine.send(ping, 1, now: start)
        guard case .proceed = machine.reply(Self.ok, from: id, now: start) else { return fail("AUTH's reply was not taken") }
        _ = machine.send(ping, 2, now: start)
        guard case .ready(let waiting) = machine.reply(Self.pong, from: id, now: start) else { return fail("not ready") }
        #expect(waiting.map(\.request) == [1, 2])
        #expect(machine.due == nil)
    }

    @Test("an error in the handshake means not connected, whatever it says", arguments: ["WRONGPASS no", "NOAUTH", "LOADING", "ERR max"])
    func refused(_ text: String) {
        var machine = machine(.handshaking)
        let id = machine.connection
        _ = machine.send(ping, 1, now: start)
        guard case .refused(.auth, let ending) = machine.reply(.error(Array(text.utf8)), from: id, now: start) else {
            return fail("not refused")
        }
        #expect(ending.failure(at: 0) == .unavailable(wasSent: false))
        #expect(machine.send(ping, 2, now: start) == .refuse(.unavailable(wasSent: false)))
    }

    @Test("only a server that says it is a primary, and which one it is, is ready")
    func roles() {
        func text(_ words: String) -> RedisReply { .bulk(Array(words.utf8)) }
        let info = text("redis_version:7\r\nrun_id:abc\r\n")
        let cases: [(role: RedisReply, info: RedisReply, expected: String)] = [
            (.array([text("master"), .integer(0), .array([])]), info, "ready"), (.array([text("slave")]), info, "notPrimary"),
            (.array([text("sentinel"), .array([])]), info, "notPrimary"), (.array([]), info, "violation"), (text("master"), info, "violation"),
            (.array([text("master")]), text("run_id:"), "violation"), (.array([text("master")]), .null, "violation"),
            (.array([text("master")]), .error(Array("NOPERM".utf8)), "refused"),
        ]
        for (role, info, expected) in cases {
            var machine = machine(.handshaking, steps: [.role, .info])
            let id = machine.connection
            _ = machine.send(ping, 1, now: start)
            var action = machine.reply(role, from: id, now: start)
            if case .proceed = action { action = machine.reply(info, from: id, now: start) }
            switch (action, expected) {
            case (.ready(let waiting), "ready"):
                #expect(waiting.map(\.request) == [1])
                #expect(machine.serverID == hashedRunID(info: info) && machine.serverID != 0)
            case (.notPrimary(let ending), "notPrimary"), (.violation(let ending), "violation"), (.refused(.info, let ending), "refused"):
                #expect(Array(ending.requests) == [1])
                #expect(!ending.failure(at: 0).wasSent && machine.serverID == 0)
                expectPause(machine.due, after: start, failures: 1)
            case (let action, _): fail("\(expected): \(action)")
            }
        }
    }

    @Test("there is room for commands where they would go out or be held together", arguments: Stage.allCases)
    func room(_ stage: Stage) {
        var machine = machine(stage, depth: 3)
        _ = machine.send(ping, 1, now: start)
        switch stage {
        case .ready, .connecting, .handshaking:
            let room = (two: machine.hasRoom(for: 2), three: machine.hasRoom(for: 3))
            #expect(room == (true, false))
        case .initial, .reconnecting, .backingOff, .closed:
            let one = machine.hasRoom(for: 1)
            #expect(!one)
        }
    }

    @Test("only the attempt that is under way is still wanted", arguments: Stage.allCases)
    func wanted(_ stage: Stage) {
        let machine = machine(stage)
        let present = machine.isConnecting(machine.connection)
        let next = machine.isConnecting(machine.connection + 1)
        #expect(present == (stage == .connecting || stage == .reconnecting))
        #expect(!next)
    }

    @Test("an error reply to a command is a reply")
    func errorReply() {
        var machine = machine(.ready)
        let id = machine.connection
        _ = machine.send(ping, 1, now: start)
        _ = machine.flush(now: start)
        guard case .deliver(1) = machine.reply(.error(Array("LOADING".utf8)), from: id, now: start) else { return fail("not delivered") }
        #expect(machine.send(ping, 2, now: start) == .append(scheduleFlush: true))
    }

    // MARK: lost

    @Test("a lost connection fails what was outstanding and is made again after a pause", arguments: Stage.allCases)
    func losing(_ stage: Stage) {
        var machine = machine(stage)
        let id = machine.connection
        _ = machine.send(ping, 1, now: start)
        _ = machine.flush(now: start)
        _ = machine.send(ping, 2, now: start)
        let now = start + .milliseconds(1)
        switch (stage, machine.lost(id, now: now)) {
        case (.ready, .end(let ending)):
            #expect(Array(ending.requests) == [1, 2])
            #expect(ending.failure(at: 0) == .unavailable(wasSent: true))
            #expect(ending.failure(at: 1) == .unavailable(wasSent: false))
            expectPause(machine.due, after: now, failures: 0)
        case (.connecting, .end(let ending)), (.handshaking, .end(let ending)):
            #expect(Array(ending.requests) == [1, 2])
            #expect(ending.failure(at: 1) == .unavailable(wasSent: false))
            expectPause(machine.due, after: now, failures: 1)
        case (.reconnecting, .end(let ending)):
            #expect(ending.requests.isEmpty)
            expectPause(machine.due, after: now, failures: 2)
        case (.initial, .ignore), (.backingOff, .ignore), (.closed, .ignore): break
        case (let stage, let action): Issue.record("\(stage): \(action)")
        }
    }

    @Test("a connection that was well is replaced at once when the other side closes it, and commands wait for that attempt alone")
    func replacing() {
        var machine = machine(.ready)
        let id = machine.connection
        _ = machine.send(ping, 1, now: start)
        _ = machine.flush(now: start)
        let now = start + Machine.settled
        guard case .replace(let ending, let next) = machine.lost(id, now: now) else { return fail("not replaced") }
        #expect(Array(ending.requests) == [1] && ending.failure(at: 0) == .unavailable(wasSent: true))
        #expect(next == id + 1 && machine.isConnecting(next) && machine.due == now + Self.connect)
        #expect(machine.send(ping, 2, now: now) == .hold)
        guard case .end(let second) = machine.lost(next, now: now) else { return fail("not ended") }
        #expect(Array(second.requests) == [2] && second.failure(at: 0) == .unavailable(wasSent: false))
        expectPause(machine.due, after: now, failures: 1)
        #expect(machine.send(ping, 3, now: now) == .refuse(.unavailable(wasSent: false)))
    }

    @Test("one that had just been made, or said what cannot be read, is made again after a pause", arguments: [true, false])
    func notReplacing(_ isReadable: Bool) {
        var machine = machine(.ready)
        let now = start + Machine.settled - (isReadable ? .milliseconds(1) : .zero)
        guard case .end = machine.lost(machine.connection, cause: isReadable ? .unavailable : .violation, now: now) else {
            return fail("replaced")
        }
        expectPause(machine.due, after: now, failures: 0)
    }

    @Test("unreadable bytes fail what was outstanding as a violation")
    func unreadable() {
        var machine = machine(.ready)
        let id = machine.connection
        _ = machine.send(ping, 1, now: start)
        _ = machine.flush(now: start)
        guard case .end(let ending) = machine.lost(id, cause: .violation, now: start) else { return fail("not ended") }
        #expect(ending.failure(at: 0) == .protocolViolation(wasSent: true))
    }

    func fail(_ text: Comment, _ location: SourceLocation = #_sourceLocation) {
        Issue.record(text, sourceLocation: location)
    }

    func expectPause(_ due: NIODeadline?, after now: NIODeadline, failures: Int) {
        let step = Int64(min(50 << failures, 500))
        guard let due else { return fail("no pause") }
        #expect(due >= now + .milliseconds(step / 2) && due <= now + .milliseconds(step))
    }
}
