// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Logging
import NIOCore
import NIOPosix
import PeerTLS

/// What a `RedisPush` tells its owner, on its event loop, in the order in which Redis said it.
package enum RedisPushEvent: Sendable, Equatable {
    /// From now on everything is heard that Redis pushes; nothing is known of what happened before.
    case opened(tracks: Bool, serverID: UInt64)
    /// These keys have been written, removed or have expired; nil: any key may have been.
    case invalidated([[UInt8]]?)
    case message(channel: [UInt8], payload: [UInt8])
    /// Answer to `ping`: what was pushed before Redis saw the PING has been told.
    case pong
    /// Nothing more is heard until the next `opened`.
    case lost
}

/// One connection to a Redis that listens: to invalidations of keys with given prefixes and to channels. Makes itself anew when it is lost.
///
/// `@unchecked Sendable`: everything mutable is confined to `eventLoop`; what may be called from elsewhere hops.
package final class RedisPush: @unchecked Sendable {
    package let eventLoop: any EventLoop
    private let configuration: RedisConfiguration
    private let greeting: ByteBuffer
    private let prefixes: [[UInt8]]
    private let channels: [[UInt8]]
    private let onEvent: @Sendable (RedisPushEvent) -> Void
    private var machine: PushMachine
    private var log: OutageLog
    private var handler: RedisPushHandler?
    private var timer: Scheduled<Void>?

    /// Any thread. Nothing happens before `start`.
    package init(
        eventLoop: any EventLoop, configuration: RedisConfiguration, prefixes: [[UInt8]], channels: [[UInt8]], logger: Logger,
        onEvent: @escaping @Sendable (RedisPushEvent) -> Void
    ) {
        self.eventLoop = eventLoop
        self.configuration = configuration
        self.prefixes = prefixes
        self.channels = channels
        self.onEvent = onEvent
        let (steps, handshake) = configuration.handshake
        var greeting = handshake
        greeting.writeImmutableBuffer(RedisCommand("CLIENT", "ID").bytes)
        self.greeting = greeting
        log = OutageLog(logger: logger, configuration: configuration)
        machine = PushMachine(
            PushMachine.Settings(greeting: steps, channels: channels.count + 1, connectTimeout: configuration.connectTimeout),
            seed: .random(in: .min ... .max))
    }

    /// Any thread; further calls do nothing.
    package func start() {
        onLoop { [self] in perform(machine.start(now: .now())) }
    }

    /// On the loop. Answered with `pong`, unless the connection is lost before.
    package func ping() {
        eventLoop.assertInEventLoop()
        guard machine.isOpen else { return }
        handler?.write(RedisCommand("PING").bytes)
    }

    /// On the loop: gives the connection up and makes another, as it is heard of no more.
    package func reconnect(reason: String) {
        eventLoop.assertInEventLoop()
        perform(machine.lost(machine.connection, reason: reason, now: .now()))
    }

    /// Any thread; for good.
    package func close() {
        onLoop { [self] in
            machine.close()
            log.closed()
            timer?.cancel()
            timer = nil
            handler?.detach()
            handler = nil
        }
    }

    // MARK: What the connection tells

    func connected(_ handler: RedisPushHandler, _ id: PushMachine.ConnectionID) {
        let action = machine.connected(id)
        guard action == .greet else { return handler.detach() }
        self.handler = handler
        perform(action)
    }

    func received(_ reply: RedisReply, from id: PushMachine.ConnectionID) {
        perform(machine.reply(reply, from: id, now: .now()))
    }

    func lost(_ id: PushMachine.ConnectionID, reason: String) {
        perform(machine.lost(id, reason: reason, now: .now()))
    }

    // MARK: Performing

    private func perform(_ action: PushMachine.Action) {
        switch action {
        case .ignore: return
        case .connect(let id): connect(id)
        case .greet: handler?.write(greeting)
        case .track(let client):
            let words = ["CLIENT", "TRACKING", "ON", "REDIRECT", String(client), "BCAST"].map { Array($0.utf8) }
            handler?.write(RedisCommand(words + prefixes.flatMap { [Array("PREFIX".utf8), $0] }).bytes)
        case .subscribe:
            handler?.write(RedisCommand([Array("SUBSCRIBE".utf8), Array("__redis__:invalidate".utf8)] + channels).bytes)
        case .opened(let tracks):
            log.connected()
            onEvent(.opened(tracks: tracks, serverID: machine.serverID))
        case .invalidated(let keys): onEvent(.invalidated(keys))
        case .message(let channel, let payload): onEvent(.message(channel: channel, payload: payload))
        case .pong: onEvent(.pong)
        case .lost(let reason):
            log.unavailable(reason)
            handler?.detach()
            handler = nil
            onEvent(.lost)
        }
        rearm()
    }

    private func connect(_ id: PushMachine.ConnectionID) {
        let channel = configuration.connect(on: eventLoop) { [self] in RedisPushHandler(self, id: id, limits: configuration.limits) }
        channel.whenFailure { [self] error in lost(id, reason: "cannot connect: \(connectionReason(error))") }
    }

    private func rearm() {
        timer?.cancel()
        timer = machine.due.map { due in
            eventLoop.scheduleTask(deadline: due) { [self] in
                timer = nil
                perform(machine.tick(now: .now()))
            }
        }
    }

    private func onLoop(_ task: @escaping @Sendable () -> Void) {
        if eventLoop.inEventLoop { task() } else { eventLoop.execute(task) }
    }
}

/// The Redis end of a push connection's channel: bytes to replies.
final class RedisPushHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let id: PushMachine.ConnectionID
    private var push: RedisPush?
    private var context: ChannelHandlerContext?
    private var reader: ReplyReader
    private var problem: String?

    init(_ push: RedisPush, id: PushMachine.ConnectionID, limits: RedisLimits) {
        self.push = push
        self.id = id
        reader = ReplyReader(limits: limits)
    }

    func write(_ bytes: ByteBuffer) {
        context?.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
    }

    func detach() {
        push = nil
        context?.close(promise: nil)
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelActive(context: ChannelHandlerContext) {
        push?.connected(self, id)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard push != nil else { return }
        do throws(ReplyReader.Problem) {
            try reader.feed(unwrapInboundIn(data))
            // The owner may let go with every reply that it gets.
            while let push, let reply = try reader.next() { push.received(reply, from: id) }
        } catch {
            push?.lost(id, reason: "protocol violation: \(error.reason)")
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        push?.lost(id, reason: problem ?? "connection closed by the other side")
        push = nil
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        problem = connectionReason(error)
        context.close(promise: nil)
    }
}

@available(*, unavailable)
extension RedisPushHandler: Sendable {}
