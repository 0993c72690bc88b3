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
final class HTTP1Connection: Downstream, ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Bytes held of pipelined requests or a body that the upstream does not take yet, before reading stops. As much as one read gives.
    private static let readAhead = 64 << 10
    /// The longest body of a refused request that is read past to keep the connection, in bytes. Longer: closing is cheaper.
    private static let discardLimit = 64 << 10
    /// How long a connection that has been answered for the last time may go on sending before it is cut: a reset would
    /// destroy the answer on its way (RFC 9112 §9.6).
    private static let lingerTimeout = TimeAmount.seconds(2)

    private enum Phase {
        case head, body, answering, discarding, tunnel, closing, closed
    }

    private enum Body {
        case none, counted(left: Int64), chunked
    }

    private unowned let loop: GatewayLoop
    private let listener: ListenerState
    private let isSecure: Bool
    private var context: ChannelHandlerContext?
    private(set) var exchange: Exchange!
    private var phase = Phase.head
    private var body = Body.none
    private var chunks = ChunkedDecoder()
    private var bodyBytes: Int64 = 0
    private var inbound: ByteBuffer
    /// How much of `inbound` has been scanned as an incomplete head.
    private var scanned = 0
    private var discarded = 0
    private var readsPaused = false
    private var readPending = false
    /// The client takes what is written to it: else no further request of it is begun.
    private var canWrite = true
    /// The client may send no further request on this connection.
    private var isLast = false
    private var isProcessing = false
    private var awaitsHandshake: Bool
    private var opened = NIODeadline.uptimeNanoseconds(0)
    private var headStarted: NIODeadline?
    private var idleSince = NIODeadline.uptimeNanoseconds(0)
    /// When a connection that has been answered for the last time is closed, however much is still to be sent or comes in.
    private var lingerUntil: NIODeadline?
    private var lastAnswerHasLeft = false
    private var wasReset = false
    private var timer: Scheduled<Void>?
    private var timerAt = NIODeadline.distantFuture

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

    func read(context: ChannelHandlerContext) {
        if readsPaused { readPending = true } else { context.read() }
    }

    private func updateReading() {
        let paused = inbound.readableBytes >= Self.readAhead && !takesAll
        guard paused != readsPaused else { return }
        readsPaused = paused
        if !paused, readPending {
            readPending = false
            context?.read()
        }
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

    private func takeAll() -> ByteBuffer {
        defer { inbound = loop.noBytes }
        return inbound
    }

    /// False: more bytes are needed, or nothing further is read for now.
    private func readHead() -> Bool {
        let scanner = loop.requestScanner
        let already = scanned
        let outcome = inbound.withUnsafeReadableBytes { scanner.scan($0, alreadyScanned: already) }
        switch outcome {
        case .incomplete:
            if inbound.readableBytes == 2, inbound.readableBytesView.elementsEqual("\r\n".utf8) {
                // Some clients send it after a body (RFC 9112 §2.2): no beginning of a request.
                inbound = loop.noBytes
                return false
            }
            scanned = inbound.readableBytes
            if headStarted == nil { headStarted = loop.now }
            return false
        case .refused(let refusal):
            headStarted = nil
            isLast = true
            phase = .body
            exchange.refuseHead(Rejection(refusal))
            return false
        case .head:
            scanned = 0
            headStarted = nil
            let head = scanner.head
            isLast = !head.keepAlive || head.minorVersion == 0
            bodyBytes = 0
            switch head.framing {
            case .counted(let count) where count > 0:
                body = .counted(left: count)
                phase = .body
            case .chunked:
                body = .chunked
                chunks = ChunkedDecoder(limits: loop.snapshot.headLimits)
                phase = .body
            case .none, .counted, .untilClose:
                body = .none
                phase = .answering
            }
            // The head's bytes stay where they are until every stage has looked at them.
            let bytes = inbound
            inbound.moveReaderIndex(forwardBy: head.length)
            if inbound.readableBytes == 0 { inbound = loop.noBytes }
            exchange.begin(head, bytes)
            return true
        }
    }

    /// The next piece of the body, to the exchange or to nowhere. False: more bytes are needed, or it is over.
    private func readBody() -> Bool {
        switch body {
        case .none:
            return false
        case .counted(let left):
            let count = Int(min(left, Int64(inbound.readableBytes)))
            body = .counted(left: left - Int64(count))
            let piece = count == inbound.readableBytes ? takeAll() : inbound.readSlice(length: count) ?? loop.noBytes
            guard deliver(piece) else { return false }
            if left == Int64(count) { bodyEnded(trailers: nil) }
            return true
        case .chunked:
            let step = inbound.withUnsafeReadableBytes { chunks.next($0) }
            switch step {
            case .data(let offset, let count):
                inbound.moveReaderIndex(forwardBy: offset)
                return deliver(inbound.readSlice(length: count) ?? loop.noBytes)
            case .needMore(let consumed):
                inbound.moveReaderIndex(forwardBy: consumed)
                if inbound.readableBytes == 0 { inbound = loop.noBytes }
                return false
            case .trailers(let section, let consumed):
                let trailers = section.isEmpty ? nil : inbound.getSlice(at: inbound.readerIndex + Int(section.start), length: section.count)
                inbound.moveReaderIndex(forwardBy: consumed)
                if inbound.readableBytes == 0 { inbound = loop.noBytes }
                bodyEnded(trailers: trailers)
                return true
            case .refused(let refusal):
                if phase == .discarding { return close() }
                isLast = true
                exchange.requestBodyBroke(Rejection(refusal))
                return false
            }
        }
    }

    private func deliver(_ piece: ByteBuffer) -> Bool {
        if phase == .discarding {
            discarded += piece.readableBytes
            return discarded <= Self.discardLimit || close()
        }
        bodyBytes += Int64(piece.readableBytes)
        let limit = exchange.bodyLimit
        if limit > 0, bodyBytes > limit {
            isLast = true
            exchange.requestBodyBroke(.bodyTooLarge)
            return false
        }
        exchange.requestBody(piece)
        return phase == .body || phase == .discarding
    }

    private func bodyEnded(trailers: ByteBuffer?) {
        body = .none
        if phase == .discarding {
            if loop.isDraining { return endAfterAnswer() }
            idleSince = loop.now
            phase = .head
        } else {
            phase = .answering
            exchange.requestEnded(trailers: trailers)
        }
    }

    // MARK: Downstream

    override func write(_ bytes: ByteBuffer) { context?.write(wrapOutboundOut(bytes), promise: nil) }

    override func flush() { context?.flush() }

    override var isWritable: Bool { context?.channel.isWritable ?? false }

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
        if inbound.readableBytes > 0 { process() }
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
    private func endAfterAnswer(within patience: TimeAmount? = nil) {
        phase = .closing
        inbound = loop.noBytes
        lingerUntil = loop.now + (patience ?? loop.snapshot.limits.streamIdleTimeout)
        updateReading()
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
        context.flush()
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

    /// The gateway drains: an idle connection ends now, any other after its answer.
    func drain() {
        if isIdle { closeIdle() }
    }

    /// Between two requests; but the client may still be taking the answer to the last one.
    private func closeIdle() {
        guard let context else { return }
        phase = .closing
        lingerUntil = loop.now + loop.snapshot.limits.streamIdleTimeout
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { [self] _ in close() }
        context.writeAndFlush(wrapOutboundOut(loop.noBytes), promise: written)
    }

    // MARK: Time

    /// One timer for all that can take too long, armed lazily: it never fires later than `now` + the shortest of the
    /// timeouts, so that no deadline set in between can lie before it, and nothing is armed for a request.
    private func armTimer() {
        guard let context, phase != .closed else { return }
        let at = min(deadline.at, loop.now + loop.snapshot.shortestTimeout)
        if timer != nil, timerAt <= at { return }
        timer?.cancel()
        timerAt = at
        timer = context.eventLoop.assumeIsolated().scheduleTask(deadline: at) { [self] in
            timer = nil
            checkDeadline()
        }
    }

    private enum Expiry { case handshake, head, idle, exchange, linger }

    private var deadline: (at: NIODeadline, expiry: Expiry) {
        let limits = loop.snapshot.limits
        switch phase {
        case .closing, .closed: return (lingerUntil ?? .distantFuture, .linger)
        case .head:
            if awaitsHandshake { return (opened + limits.headTimeout, .handshake) }
            if let headStarted { return (headStarted + limits.headTimeout, .head) }
            return (idleSince + limits.idleTimeout, .idle)
        case .discarding: return (idleSince + limits.idleTimeout, .idle)
        case .body, .answering, .tunnel: return (exchange.deadline, .exchange)
        }
    }

    private func checkDeadline() {
        let due = deadline
        guard due.at <= loop.now else { return armTimer() }
        switch due.expiry {
        case .handshake: close()
        case .idle: closeIdle()
        case .linger: if lastAnswerHasLeft { close() } else { cut() }
        case .head:
            headStarted = nil
            isLast = true
            phase = .body
            exchange.refuseHead(.headTimeout)
        case .exchange: exchange.deadlinePassed()
        }
        armTimer()
    }
}
