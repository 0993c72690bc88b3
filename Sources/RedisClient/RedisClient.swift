// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Logging
import NIOCore
import PeerTLS

/// One pipelined connection to a Redis that is a primary, for one event loop, that makes itself anew when it is lost.
///
/// The commands of one loop tick leave in one write. Every command has a deadline; when one passes, the connection is closed, as nobody could tell
/// which reply belongs to whom afterwards, and everything outstanding fails. Without a connection commands fail at once: nothing piles up while
/// Redis is away. Two attempts to connect are an exception, in which commands wait: the very first one, and the one that is made at once when a
/// connection that was well has been closed by the other side, as a Redis does with idle ones (`timeout`).
///
/// Life: `start`, then use, then `close`, without which the client keeps itself alive by its connection and timer.
///
/// `@unchecked Sendable`: everything mutable is confined to `eventLoop`, which `send` asserts; what may be called from elsewhere says so, and hops.
package final class RedisClient: @unchecked Sendable {
    package let eventLoop: any EventLoop
    package let status = RedisClientStatus()

    private let configuration: RedisConfiguration
    private let handshake: ByteBuffer
    private let onStateChange: @Sendable (_ isConnected: Bool) -> Void
    private let admission: Admission?
    private var log: OutageLog
    private var machine: ConnectionMachine<RedisRequest>
    private var connection: RedisConnectionHandler?
    /// Bytes of this tick's commands.
    private var outbound = ByteBufferAllocator().buffer(capacity: 4096)
    /// Made once, so that the flush of a tick makes no closure.
    private var flushTask: @Sendable () -> Void = {}
    private var timer: (due: NIODeadline, scheduled: Scheduled<Void>)?

    /// Asked before each connection but the first whether the address is still worth one; answered on the event loop, once.
    typealias Admission = @Sendable (_ answer: @escaping @Sendable (_ isAdmitted: Bool) -> Void) -> Void

    /// A buffer that one burst has made larger than this is not kept, bytes.
    private static let keptCapacity = 256 * 1024

    /// Any thread. Nothing happens before `start`.
    ///
    /// - Parameter onStateChange: told on the event loop when the client has become usable, and when it has ceased to be.
    package convenience init(
        eventLoop: any EventLoop, configuration: RedisConfiguration, logger: Logger,
        onStateChange: @escaping @Sendable (_ isConnected: Bool) -> Void = { _ in }
    ) {
        self.init(eventLoop: eventLoop, configuration: configuration, logger: logger, admission: nil, onStateChange: onStateChange)
    }

    init(
        eventLoop: any EventLoop, configuration: RedisConfiguration, logger: Logger, admission: Admission?,
        onStateChange: @escaping @Sendable (_ isConnected: Bool) -> Void
    ) {
        self.eventLoop = eventLoop
        self.configuration = configuration
        self.onStateChange = onStateChange
        self.admission = admission
        let plan = configuration.handshake
        handshake = plan.bytes
        log = OutageLog(logger: logger, configuration: configuration)
        machine = ConnectionMachine(
            ConnectionMachine.Settings(
                handshake: plan.steps, connectTimeout: configuration.connectTimeout, commandTimeout: configuration.commandTimeout,
                depth: configuration.limits.pipelineDepth),
            seed: .random(in: .min ... .max))
        flushTask = { [weak self] in self?.flush() }
    }

    /// Whether commands go out now. Any thread.
    package var isConnected: Bool { status.isConnected }
    /// Any thread.
    package var wasEverConnected: Bool { status.wasEverConnected }

    /// Makes the first connection. Any thread; further calls do nothing.
    package func start() {
        onLoop {
            if case .connect(let id) = self.machine.start(now: .now()) { self.connect(id) }
        }
    }

    /// Sends a command; `request` gets its outcome, exactly once. On the loop alone: the hot path.
    package func send(_ command: RedisCommand, _ request: RedisRequest) {
        eventLoop.assertInEventLoop()
        status.commandCounter.add()
        switch machine.send(command, request, now: .now()) {
        case .append(let scheduleFlush):
            outbound.writeImmutableBuffer(command.bytes)
            if scheduleFlush { eventLoop.execute(flushTask) }
        case .hold:
            rearm()
        case .refuse(let failure):
            fail(request, failure)
        }
    }

    /// Sends a command behind ASKING, in the same write: the next command alone may touch a slot that the node is only about to get.
    func sendAsking(_ command: RedisCommand, _ request: RedisRequest) {
        // One without the other would let through what somebody else sends next.
        guard machine.hasRoom(for: 2) else { return fail(request, .unavailable(wasSent: false)) }
        send(Self.asking, Unheeded())
        send(command, request)
    }

    private static let asking = RedisCommand("ASKING")

    /// Nobody waits for the reply to ASKING: what follows it tells more.
    private final class Unheeded: RedisRequest {
        override func redisCompleted(_ outcome: RedisOutcome) {}
    }

    /// Ends the connection for good; everything outstanding fails as unavailable. Any thread. The future succeeds when the socket is closed.
    @discardableResult
    package func close() -> EventLoopFuture<Void> {
        eventLoop.flatSubmit { [self] in
            guard case .end(let ending) = machine.close() else { return eventLoop.makeSucceededVoidFuture() }
            log.closed()
            timer?.scheduled.cancel()
            timer = nil
            let closed = connection?.detach()
            end(ending)
            return closed ?? eventLoop.makeSucceededVoidFuture()
        }
    }

    /// On the loop: gives the connection up and makes another; what is outstanding fails.
    package func reconnect(reason: String) {
        eventLoop.assertInEventLoop()
        lost(machine.connection, reason: reason)
    }

    // MARK: What the connection tells

    func connected(_ handler: RedisConnectionHandler, _ id: ConnectionMachine<RedisRequest>.ConnectionID) {
        switch machine.connected(id) {
        case .handshake:
            connection = handler
            handler.write(handshake)
        case .discard:
            handler.detach()
        }
    }

    func received(_ reply: RedisReply, from id: ConnectionMachine<RedisRequest>.ConnectionID) {
        switch machine.reply(reply, from: id, now: .now()) {
        case .deliver(let request):
            guard request.accepts(reply) else {
                fail(request, .protocolViolation(wasSent: true))
                return lost(id, cause: .violation, reason: "protocol violation: a reply that cannot be one to its command")
            }
            request.redisCompleted(.reply(reply))
            // It has become a replica: what it says to a read is as little worth as its refusal of a write. The handshake asks again.
            if case .error = reply, reply.errorCode == "READONLY" { lost(id, reason: "it has become a replica") }
        case .ready(let waiting):
            status.connectionCounter.add()
            status.set(serverID: machine.serverID)
            status.set(connected: true)
            log.connected()
            onStateChange(true)
            for command in waiting { resend(command) }
        case .refused(let step, let ending):
            log.unavailable("\(step.rawValue) was refused: \(reply.errorCode ?? "ERR")")
            end(ending)
        case .notPrimary(let ending):
            log.unavailable("it is no primary")
            end(ending)
        case .violation(let ending):
            log.unavailable("protocol violation: a reply that nobody asked for")
            end(ending)
        case .proceed, .ignore:
            break
        }
    }

    func lost(
        _ id: ConnectionMachine<RedisRequest>.ConnectionID, cause: ConnectionMachine<RedisRequest>.Ending.Cause = .unavailable,
        reason: @autoclosure () -> String
    ) {
        switch machine.lost(id, cause: cause, now: .now()) {
        case .end(let ending):
            log.unavailable(reason())
            end(ending)
        case .replace(let ending, let next):
            log.replaced(reason())
            end(ending)
            connect(next)
        case .ignore:
            break
        }
    }

    // MARK: Performing

    private func connect(_ id: ConnectionMachine<RedisRequest>.ConnectionID) {
        rearm()
        // Who made this client has just been told the address; later it may belong to somebody else.
        guard id > 1, let admission else { return dial(id) }
        admission { [self] isAdmitted in
            eventLoop.assertInEventLoop()
            if isAdmitted { dial(id) } else { lost(id, reason: "nobody names it as a primary now") }
        }
    }

    private func dial(_ id: ConnectionMachine<RedisRequest>.ConnectionID) {
        // Asking may have taken longer than the attempt was given.
        guard machine.isConnecting(id) else { return }
        configuration.connect(on: eventLoop) { [self, limits = configuration.limits] in
            RedisConnectionHandler(client: self, id: id, limits: limits)
        }.whenFailure { [self] error in lost(id, reason: "cannot connect: \(connectionReason(error))") }
    }

    private func flush() {
        guard case .write = machine.flush(now: .now()) else { return }
        connection?.write(outbound)
        clearOutbound()
        rearm()
    }

    private func clearOutbound() {
        if outbound.capacity > Self.keptCapacity {
            outbound = ByteBufferAllocator().buffer(capacity: 4096)
        } else {
            // Keeps its memory when the write is already done, as it nearly always is.
            outbound.clear()
        }
    }

    /// A command that has waited for the first connection; it was counted when it came.
    private func resend(_ waiting: ConnectionMachine<RedisRequest>.Waiting) {
        switch machine.send(waiting.command, waiting.request, now: .now()) {
        case .append(let scheduleFlush):
            outbound.writeImmutableBuffer(waiting.command.bytes)
            if scheduleFlush { eventLoop.execute(flushTask) }
        case .hold:
            rearm()
        case .refuse(let failure):
            fail(waiting.request, failure)
        }
    }

    /// What is left to do after a connection has ended, in an order in which requests may send and close at once.
    private func end(_ ending: ConnectionMachine<RedisRequest>.Ending) {
        connection?.detach()
        connection = nil
        clearOutbound()
        rearm()
        if status.isConnected {
            status.set(connected: false)
            onStateChange(false)
        }
        for (index, request) in ending.requests.enumerated() { fail(request, ending.failure(at: index)) }
    }

    private func fail(_ request: RedisRequest, _ failure: RedisFailure) {
        status.failureCounter.add()
        request.redisCompleted(.failure(failure))
    }

    // MARK: Time

    /// Sees to it that the timer fires no later than the machine needs it. One that is due earlier stays, and finds nothing: so a busy connection
    /// makes a timer each time one has fired, and not for each command.
    private func rearm() {
        guard let due = machine.due else { return }
        if let timer {
            guard due < timer.due else { return }
            timer.scheduled.cancel()
        }
        timer = (due, eventLoop.scheduleTask(deadline: due) { [self] in timerFired() })
    }

    private func timerFired() {
        timer = nil
        switch machine.timerFired(now: .now()) {
        case .connect(let id):
            connect(id)
        case .giveUp(let ending):
            log.unavailable(connection == nil ? "not connected within the connect timeout" : "handshake not answered within the connect timeout")
            end(ending)
        case .timeOut(let ending):
            status.timeoutCounter.add()
            log.unavailable("a command was not answered within the command timeout")
            end(ending)
        case .expire(let requests):
            for request in requests { fail(request, .timedOut(wasSent: false)) }
        case .none:
            break
        }
        rearm()
    }

    func onLoop(_ task: @escaping @Sendable () -> Void) {
        if eventLoop.inEventLoop { task() } else { eventLoop.execute(task) }
    }
}
