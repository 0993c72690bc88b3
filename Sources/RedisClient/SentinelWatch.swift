// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// Listens to one Sentinel for `+switch-master`, over a connection that makes itself anew. On one event loop.
///
/// What it hears is a reason to ask, and no answer: the message is not looked into further than whose primary it concerns.
final class SentinelWatch {
    /// Between two PINGs; a connection on which nothing has come for two of them is given up, as a network that swallows everything looks like news
    /// that do not come.
    static let interval = TimeAmount.seconds(1)

    private let eventLoop: any EventLoop
    private let configuration: RedisConfiguration
    private let name: [UInt8]
    private let onNews: () -> Void
    private var backoff = Backoff(seed: .random(in: .min ... .max))
    private var failures = 0
    private var wasListening = false
    private var isClosed = false
    private var channel: SentinelWatchHandler?
    private var retry: Scheduled<Void>?

    /// - Parameters:
    ///   - configuration: the address is the Sentinel's.
    ///   - onNews: called on the loop when a primary of that name has been switched, and when it may have been without our hearing of it.
    init(eventLoop: any EventLoop, configuration: RedisConfiguration, name: String, onNews: @escaping () -> Void) {
        self.eventLoop = eventLoop
        self.configuration = configuration
        self.name = Array(name.utf8)
        self.onNews = onNews
    }

    func start() {
        let box = NIOLoopBound(self, eventLoop: eventLoop)
        let limits = configuration.limits
        configuration.connect(on: eventLoop) { SentinelWatchHandler(box.value, limits: limits) }
            .assumeIsolated().whenFailure { [self] _ in lost(nil) }
    }

    func close() {
        isClosed = true
        retry?.cancel()
        channel?.close()
        channel = nil
    }

    fileprivate func connected(_ handler: SentinelWatchHandler) {
        guard !isClosed else { return handler.close() }
        channel = handler
    }

    /// It listens from now on.
    fileprivate func listening() {
        failures = 0
        if wasListening { onNews() }
        wasListening = true
    }

    fileprivate func heard(_ message: [UInt8]) {
        // NAME OLD-HOST OLD-PORT NEW-HOST NEW-PORT; names hold no blank.
        if message.prefix(while: { $0 != UInt8(ascii: " ") }).elementsEqual(name) { onNews() }
    }

    /// - Parameter handler: whose connection it was; nil: none was made.
    fileprivate func lost(_ handler: SentinelWatchHandler?) {
        guard !isClosed, channel === handler else { return }
        channel = nil
        let delay = backoff.delay(afterFailures: failures)
        failures += 1
        retry = eventLoop.assumeIsolated().scheduleTask(in: delay) { [self] in start() }
    }
}

@available(*, unavailable)
extension SentinelWatch: Sendable {}

/// The Sentinel end of one channel.
private final class SentinelWatchHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private static let subscribe = RedisCommand("SUBSCRIBE", "+switch-master")
    private static let ping = RedisCommand("PING")

    private let watch: SentinelWatch
    private var reader: ReplyReader
    private var context: ChannelHandlerContext?
    private var heartbeat: Scheduled<Void>?
    /// Heartbeats in a row in which nothing has come.
    private var silence = 0

    init(_ watch: SentinelWatch, limits: RedisLimits) {
        self.watch = watch
        reader = ReplyReader(limits: limits)
    }

    func close() { context?.close(promise: nil) }

    func channelActive(context: ChannelHandlerContext) {
        self.context = context
        watch.connected(self)
        context.writeAndFlush(wrapOutboundOut(Self.subscribe.bytes), promise: nil)
        scheduleBeat(context)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        silence = 0
        do throws(ReplyReader.Problem) {
            try reader.feed(unwrapInboundIn(data))
            while let reply = try reader.next() { received(reply) }
        } catch {
            context.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        heartbeat?.cancel()
        heartbeat = nil
        self.context = nil
        watch.lost(self)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func received(_ reply: RedisReply) {
        // [subscribe, channel, count], [message, channel, text], [pong, ""]
        guard let parts = reply.elements, let kind = parts.first?.bytes else { return close() }
        switch String(decoding: kind, as: UTF8.self) {
        case "subscribe": watch.listening()
        case "message" where parts.count == 3: parts[2].bytes.map(watch.heard)
        case "pong": break
        default: close()
        }
    }

    private func scheduleBeat(_ context: ChannelHandlerContext) {
        heartbeat = context.eventLoop.assumeIsolated().scheduleTask(in: SentinelWatch.interval) { [self] in beat() }
    }

    private func beat() {
        silence += 1
        guard silence <= 2, let context else { return close() }
        context.writeAndFlush(wrapOutboundOut(Self.ping.bytes), promise: nil)
        scheduleBeat(context)
    }
}

@available(*, unavailable)
extension SentinelWatchHandler: Sendable {}
