// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc
import NIOCore
import NIOSSL

/// One connection to an endpoint: reads answers for the exchange that has it, one at a time.
///
///     idle ──attach──▶ head ──▶ body ──▶ idle            (the answer's end, and the connection may be kept)
///                       │ ▲       └────▶ closed           (anything else)
///                       │ └ 1xx
///                       └──▶ tunnel ──▶ closed            (101 to an upgrade)
///
/// Enforced: bytes while nobody asked close it (an answer that nobody asked for poisons no one); an answer that breaks
/// off is told as such; after an answer that could not be read to its end the connection is never used again.
/// Confined to its loop.
final class UpstreamConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Phase {
        case idle, head, counted(left: Int64), chunked, untilClose, tunnel, closed
    }

    let endpoint: Int
    let pool: UpstreamPool
    let loop: GatewayLoop
    private(set) var context: ChannelHandlerContext?
    private var writer: SocketWriter?
    var exchange: Exchange?
    var phase = Phase.idle
    var inbound: ByteBuffer
    /// How much of `inbound` has been scanned as an incomplete head.
    var scanned = 0
    var chunks = ChunkedDecoder()
    var keepsAlive = false
    /// Something of the exchange's answer has come.
    private var hasAnswered = false
    private var wasCounted = false
    private(set) var readsPaused = false
    var idleSince = NIODeadline.uptimeNanoseconds(0)

    init(endpoint: Int, pool: UpstreamPool, loop: GatewayLoop) {
        self.endpoint = endpoint
        self.pool = pool
        self.loop = loop
        self.inbound = loop.noBytes
    }

    var isReusable: Bool {
        if case .idle = phase { writer?.isActive ?? false } else { false }
    }

    var isWritable: Bool { writer?.isWritable ?? false }

    // MARK: Opening and ending

    /// From now on its end is counted by the pool.
    func wasOpened() { wasCounted = true }

    func close() {
        phase = .closed
        context?.close(promise: nil)
    }

    func handlerAdded(context: ChannelHandlerContext) { use(context) }

    /// Where a name has several addresses, several sockets are tried with this one handler: `context` is of the one that has connected.
    func use(_ context: ChannelHandlerContext) {
        self.context = context
        writer = SocketWriter(context, isSecure: pool.plan.configuration.tls != nil)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        guard self.context === context else { return }
        // A socket that is closed while it is being told that it has connected was never active for NIO, and so does not become inactive.
        ended()
        self.context = nil
        writer = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        if self.context === context { ended() }
        context.fireChannelInactive()
    }

    /// The connection is over: the pool has its place again, and who waits for an answer hears that none comes. Once.
    private func ended() {
        let before = phase
        phase = .closed
        let exchange = self.exchange
        self.exchange = nil
        if wasCounted {
            wasCounted = false
            pool.closed(self)
        }
        if let exchange {
            switch before {
            case .untilClose: exchange.responseEnded(trailers: nil)
            case .tunnel: exchange.upstreamTunnelEnded()
            case .counted, .chunked: exchange.responseBroke()
            case .idle, .head, .closed: exchange.upstreamFailed(hasAnswered ? .brokenHead : .reset)
            }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard self.context === context else { return context.close(promise: nil) }
        // What has been read is still delivered (an answer before a reset); the end itself comes as channelInactive.
        switch phase {
        case .untilClose, .tunnel:
            // An error is no proper end of what only the end delimits (RFC 9112 §9.8 of TLS truncation, too).
            let exchange = self.exchange
            self.exchange = nil
            phase = .closed
            exchange?.responseBroke()
        case .idle, .head, .counted, .chunked, .closed: break
        }
        context.close(promise: nil)
    }

    // MARK: Sending

    /// Begins an exchange: sends its head.
    func begin(_ exchange: Exchange, head: ByteBuffer) {
        self.exchange = exchange
        phase = .head
        keepsAlive = false
        hasAnswered = false
        scanned = 0
        writer?.write(head)
    }

    func write(_ bytes: ByteBuffer) { writer?.write(bytes) }

    func flush() { writer?.flush() }

    /// The exchange no longer wants its answer, which cannot be read to its end on the quiet: the connection goes with it.
    func detach() {
        exchange = nil
        close()
    }

    /// How long what was written last may take to leave.
    private static let farewellTimeout = TimeAmount.seconds(2)

    /// The tunnel is over and must not look complete.
    func cut() {
        exchange = nil
        phase = .closed
        guard let context else { return }
        (context.channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0)).whenFailure { _ in }
        // Below TLS, whose own farewell would say that it was whole.
        let tls = try? context.pipeline.syncOperations.context(handlerType: NIOSSLClientHandler.self)
        (tls ?? context).close(promise: nil)
    }

    /// The tunnel is over: what has been written leaves, then the connection closes.
    func closeAfterWrites() {
        exchange = nil
        phase = .closed
        flush()
        guard let context else { return }
        let written = context.eventLoop.makePromise(of: Void.self)
        let eventLoop = context.eventLoop.assumeIsolated()
        let timer = eventLoop.scheduleTask(in: Self.farewellTimeout) { [self] in self.context?.close(promise: nil) }
        written.futureResult.assumeIsolated().whenComplete { _ in
            timer.cancel()
            context.close(promise: nil)
        }
        context.writeAndFlush(wrapOutboundOut(loop.noBytes), promise: written)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { exchange?.upstreamBecameWritable() }
        context.fireChannelWritabilityChanged()
    }

    // MARK: Reading, with back-pressure

    func pauseReading() { read(false) }

    func resumeReading() { read(true) }

    private func read(_ goesOn: Bool) {
        guard readsPaused == goesOn else { return }
        readsPaused = !goesOn
        try? context?.channel.syncOptions?.setOption(.autoRead, value: goesOn)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        exchange?.flushToClient()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        guard exchange != nil else {
            // Nobody asked: whatever this is, it must not become the next one's answer.
            if case .closed = phase { return }
            return close()
        }
        hasAnswered = true
        loop.beginTurn()
        defer { loop.endTurn() }
        if inbound.readableBytes > 0 {
            // What has been read must go first: a buffer only grows, and an answer may go on for ever.
            inbound.discardReadBytes()
            inbound.writeBuffer(&bytes)
            bytes = inbound
            inbound = loop.noBytes
        }
        process(&bytes)
        if bytes.readableBytes > 0, exchange != nil { inbound = bytes }
    }
}

@available(*, unavailable)
extension UpstreamConnection: Sendable {}
