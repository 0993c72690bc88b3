// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc
import NIOCore
import NIOSSL

/// One client connection speaking HTTP/1.1: finds requests in its bytes and runs one exchange after the other.
///
///     head ──▶ body ──▶ answering ──▶ head        a request, its body, the rest of its answer
///      │        │           └────────▶ closing    an answer that ends the connection
///      │        ├─▶ discarding ──▶ head           a refused request whose body is short enough to be read past
///      │        └─▶ closing                       …or is not: the answer, then nothing more is believed (RFC 9112 §9.6)
///      └──────────▶ tunnel                        after the upstream's 101
///
/// Enforced: one exchange at a time, in order; bytes after a refused head are never looked at; at most `readAhead` bytes
/// are held of what is not yet wanted, then reading stops. Confined to its loop.
final class HTTP1Connection: Downstream, ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Bytes held of pipelined requests or a body that the upstream does not take yet, before reading stops. As much as one read gives.
    private static let readAhead = 64 << 10
    /// The longest body of a refused request that is read past to keep the connection, in bytes. Longer: closing is cheaper.
    static let discardLimit = 64 << 10
    /// How long a connection that has been answered for the last time may go on sending before it is cut: a reset would
    /// destroy the answer on its way (RFC 9112 §9.6).
    private static let lingerTimeout = TimeAmount.seconds(2)

    enum Phase {
        case head, body, answering, discarding, tunnel, closing, closed
    }

    enum Body {
        case none, counted(left: Int64), chunked
    }

    /// Which knows its connections: an owner both ways, until the connection is removed.
    let loop: GatewayLoop
    private let listener: ListenerState
    private let isSecure: Bool
    var context: ChannelHandlerContext?
    private var writer: SocketWriter?
    private(set) var exchange: Exchange!
    var phase = Phase.head
    var body = Body.none
    var chunks = ChunkedDecoder()
    var bodyBytes: Int64 = 0
    var inbound: ByteBuffer
    /// How much of `inbound` has been scanned as an incomplete head.
    var scanned = 0
    var discarded = 0
    private var readsPaused = false
    /// The client takes what is written to it: else no further request of it is begun.
    private var canWrite = true
    /// The client may send no further request on this connection.
    var isLast = false
    private var isProcessing = false
    var awaitsHandshake: Bool
    var opened = NIODeadline.uptimeNanoseconds(0)
    var headStarted: NIODeadline?
    var idleSince = NIODeadline.uptimeNanoseconds(0)
    /// When a connection that has been answered for the last time is closed, however much is still to be sent or comes in.
    var lingerUntil: NIODeadline?
    var lastAnswerHasLeft = false
    private var wasReset = false
    var timer: Scheduled<Void>?
    var timerAt = NIODeadline.distantFuture

    init(loop: GatewayLoop, listener: ListenerState) {
        self.loop = loop
        self.listener = listener
        self.isSecure = listener.usesTLS
        self.awaitsHandshake = listener.usesTLS
        self.inbound = loop.noBytes
        super.init()
    }

    var isIdle: Bool { if case .head = phase { inbound.readableBytes == 0 } else { false } }

    // MARK: Life

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        writer = SocketWriter(context, isSecure: isSecure)
        let peer = PeerAddress(context.channel.remoteAddress)
        exchange = Exchange(loop: loop, downstream: self, peer: peer, isSecure: isSecure)
        opened = loop.now
        idleSince = opened
        loop.add(self)
        armTimer()
        // Accepted on another loop before this one began to drain.
        if loop.isDraining { context.eventLoop.assumeIsolated().execute { [self] in drain() } }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        writer = nil
        timer?.cancel()
        timer = nil
        loop.remove(self)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if listener.isHandshakeCompleted(event) {
            awaitsHandshake = false
            idleSince = loop.now
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        phase = .closed
        exchange.clientGone(byReset: wasReset)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        wasReset = true
        context.close(promise: nil)
    }

    // MARK: Reading

    private func updateReading() {
        let paused = inbound.readableBytes >= Self.readAhead && !takesAll
        guard paused != readsPaused else { return }
        readsPaused = paused
        try? context?.channel.syncOptions?.setOption(.autoRead, value: !paused)
    }

    /// Whether nothing of what comes has to wait.
    private var takesAll: Bool {
        switch phase {
        case .head: canWrite
        case .closing, .closed, .discarding: true
        case .body, .answering, .tunnel: false
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if phase == .closing || phase == .closed { return }
        loop.beginTurn()
        defer { loop.endTurn() }
        if inbound.readableBytes == 0 {
            inbound = bytes
        } else {
            // What has been read must go first: a buffer only grows, and a connection may live for ever.
            inbound.discardReadBytes()
            inbound.writeBuffer(&bytes)
        }
        process()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        exchange.flushToUpstream()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        canWrite = context.channel.isWritable
        if canWrite {
            exchange.clientBecameWritable()
            process()
            exchange.flushToUpstream()
        }
        context.fireChannelWritabilityChanged()
    }

    /// Does all that the bytes at hand allow. Answers may end while it runs; it then goes on with the next request.
    private func process() {
        guard !isProcessing else { return }
        isProcessing = true
        var goesOn = true
        while goesOn {
            switch phase {
            case .head: goesOn = canWrite && inbound.readableBytes > 0 && readHead()
            case .body: goesOn = exchange.wantsBody && inbound.readableBytes > 0 && readBody()
            case .discarding: goesOn = inbound.readableBytes > 0 && readBody()
            case .tunnel:
                goesOn = false
                if inbound.readableBytes > 0, exchange.wantsBody { exchange.tunnelFromClient(takeAll()) }
            case .answering: goesOn = false
            case .closing, .closed:
                goesOn = false
                inbound = loop.noBytes
            }
        }
        isProcessing = false
        updateReading()
    }

    // MARK: Downstream

    override func write(_ bytes: ByteBuffer) { writer?.write(bytes) }

    override func flush() { writer?.flush() }

    override var isWritable: Bool { writer?.isWritable ?? false }

    override func endsWithAnswer(refused: Bool) -> Bool {
        isLast || loop.isDraining || (phase == .body && !(refused && canDiscard))
    }

    override func pumpBody() { process() }

    override func closesAfterAnswer() { isLast = true }

    /// The answer has been written: on to the next request, past the rest of a refused one's body, or to the end.
    override func exchangeEnded() {
        switch phase {
        case .answering:
            if isLast || loop.isDraining { return endAfterAnswer() }
            idleSince = loop.now
            phase = .head
        case .body:
            guard !isLast, !loop.isDraining, canDiscard else { return endAfterAnswer() }
            discarded = 0
            idleSince = loop.now
            phase = .discarding
        case .head, .discarding, .tunnel, .closing, .closed:
            return
        }
        if inbound.readableBytes > 0 {
            process()
            // With no read to follow that would do it.
            exchange.flushToUpstream()
        }
        if !isProcessing { updateReading() }
    }

    /// Whether a refused request's body may be read past. One that waits for a 100 may never come.
    private var canDiscard: Bool {
        if exchange.expectsContinue { return false }
        switch body {
        case .none: return true
        case .counted(let left): return left <= Int64(Self.discardLimit)
        case .chunked: return true
        }
    }

    /// Sends what has been written and says that nothing follows; what still comes in is read and thrown away for a while.
    func endAfterAnswer(within patience: TimeAmount? = nil) {
        phase = .closing
        inbound = loop.noBytes
        lingerUntil = loop.now + (patience ?? loop.snapshot.limits.streamIdleTimeout)
        updateReading()
        flush()
        guard let context else { return }
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { [self] _ in
            self.context?.close(mode: .output, promise: nil)
            lastAnswerHasLeft = true
            lingerUntil = loop.now + Self.lingerTimeout
            armTimer()
        }
        context.writeAndFlush(wrapOutboundOut(loop.noBytes), promise: written)
    }

    override func cut() {
        guard phase != .closed, let context else { return }
        phase = .closed
        flush()
        // A reset and not an end: a body that is delimited by the connection's end must not look whole.
        (context.channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0)).whenFailure { _ in }
        // Below TLS, whose own farewell would say that it was whole.
        let tls = isSecure ? try? context.pipeline.syncOperations.context(handlerType: NIOSSLServerHandler.self) : nil
        (tls ?? context).close(promise: nil)
    }

    override func becomeTunnel() {
        phase = .tunnel
        isLast = true
    }

    override func closeTunnel(within patience: TimeAmount?) {
        endAfterAnswer(within: patience)
        armTimer()
    }

    /// Closes without an answer. Always false, for callers that read no further then.
    @discardableResult
    func close() -> Bool {
        phase = .closed
        context?.close(promise: nil)
        return false
    }
}
