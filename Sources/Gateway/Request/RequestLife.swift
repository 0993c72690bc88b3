// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Sessions
import Tokens

/// The life of a request, told once and in order, with the names of the contract's §4:
///
///     parse → normalise → route → clean → authenticate ─┬─▶ session → authorise → forward → answer → end
///                                                        └─▶ (no session to ask about)
///
/// All stages but two are synchronous and pure; the two seams are the session's answer (`sessionAnswered`) and the
/// upstream (`upstreamReady` and what follows it).
///
///     idle ─begin─▶ session ─▶ connecting ─▶ sending ─▶ responding ─▶ idle
///                      └──────────┴────────────┴─▶ (refused) ─▶ idle      └─▶ tunnel ─▶ ended
///
/// One for each client connection, used again for each of its requests; confined to its loop.
final class Exchange: SessionWaiter {
    enum State: UInt8 {
        case idle, session, connecting, sending, responding, tunnel, ended
    }

    private let loop: GatewayLoop
    private unowned let downstream: Downstream
    private let peer: PeerAddress
    private let isSecure: Bool
    private(set) var state = State.idle
    /// Changes with every request, so that what comes late is recognised as another's.
    private(set) var ticket: UInt32 = 0

    // What the request is.
    private var snapshot: Snapshot
    private var route = -1
    private var method = MethodKind.other
    private var minorVersion: UInt8 = 1
    private var requestFraming = BodyFraming.none
    private(set) var expectsContinue = false
    private var wantsHTML = false
    private var asksUpgrade = false
    private var upgradeProtocol: [UInt8] = []
    private var originAgrees = true
    private var remembered: RememberedToken?
    /// A revocation came while the store was being asked.
    private var endedMeanwhile = false

    // What is sent to the upstream.
    private var upstreamHead: ByteBuffer
    private var anonymousHead: ByteBuffer?
    private var pool: UpstreamPool?
    private var upstream: UpstreamConnection?
    private var tries = 0
    private var upstreamIsDirty = false
    private(set) var requestIsComplete = false

    // What is sent to the client.
    private var outgoing: ByteBuffer
    private var hasOutgoing = false
    private var clientFraming = BodyFraming.none
    private var closesClient = false
    private var webSocketToClient: WebSocketFrames?
    private var webSocketToUpstream: WebSocketFrames?

    // When, and how much.
    private var lastByte = NIODeadline.uptimeNanoseconds(0)
    private var asked = NIODeadline.uptimeNanoseconds(0)
    private var sent = NIODeadline.uptimeNanoseconds(0)
    private var record = AccessRecord()

    init(loop: GatewayLoop, downstream: Downstream, peer: PeerAddress, isSecure: Bool) {
        self.loop = loop
        self.downstream = downstream
        self.peer = peer
        self.isSecure = isSecure
        self.snapshot = loop.snapshot
        self.upstreamHead = loop.noBytes
        self.outgoing = loop.noBytes
        super.init()
    }
}

// MARK: - Upstream

extension Exchange {
    var isWaitingForUpstream: Bool { state == .connecting }

    /// What the answer's framing depends on.
    var upstreamMethod: MethodKind { method }

    private func connect() {
        state = .connecting
        pool?.connect(self)
    }

    func upstreamReady(_ connection: UpstreamConnection) {
        upstream = connection
        state = .sending
        sent = loop.now
        lastByte = sent
        connection.begin(self, head: upstreamHead)
        upstreamIsDirty = true
        if !requestIsComplete { downstream.pumpBody() }
        flushToUpstream()
    }

    /// No connection, or none that gave an answer: tries again where that is safe (contract §3 `retries`), else answers.
    func upstreamFailed(_ fault: UpstreamFault) {
        upstream = nil
        switch state {
        case .connecting, .sending:
            if tries < snapshot.retries(route), isSafeToRepeat(fault) {
                tries += 1
                connect()
            } else {
                refuse(Rejection(fault))
            }
        case .responding, .tunnel: responseBroke()
        case .idle, .session, .ended: return
        }
    }

    private func isSafeToRepeat(_ fault: UpstreamFault) -> Bool {
        switch fault {
        case .refused, .connectTimeout: return true
        case .exhausted, .responseTimeout, .malformed: return false
        case .reset:
            guard case .none = requestFraming else { return false }
            switch method {
            case .get, .head, .options, .put, .delete, .trace: return true
            case .post, .patch, .connect, .other: return false
            }
        }
    }

    func flushToUpstream() {
        guard upstreamIsDirty else { return }
        upstreamIsDirty = false
        upstream?.flush()
    }

    // MARK: The request's body

    var wantsBody: Bool {
        switch state {
        case .sending, .responding, .tunnel: upstream?.isWritable ?? false
        case .idle, .session, .connecting, .ended: false
        }
    }

    func upstreamBecameWritable() { downstream.pumpBody() }

    func requestBody(_ piece: ByteBuffer) {
        guard let upstream, piece.readableBytes > 0 else { return }
        lastByte = loop.now
        record.requestBytes += Int64(piece.readableBytes)
        if case .chunked = requestFraming {
            Chunks.write(piece, to: upstream.write, buffer: loop.takeBuffer())
        } else {
            upstream.write(piece)
        }
        upstreamIsDirty = true
    }

    func requestEnded(trailers: ByteBuffer?) {
        requestIsComplete = true
        lastByte = loop.now
        sent = lastByte
        guard let upstream else { return }
        if case .chunked = requestFraming {
            var buffer = loop.takeBuffer()
            snapshot.cleaning.writeLastChunk(trailers: trailers, fromClient: true, scanner: loop.trailerScanner, into: &buffer)
            upstream.write(buffer)
            upstreamIsDirty = true
        }
        flushToUpstream()
    }

    /// The body turned out to be bad or too large: the upstream must never take it for whole.
    func requestBodyBroke(_ rejection: Rejection) {
        refuse(rejection)
    }
}

// MARK: - Answer

extension Exchange {
    /// 1xx: passes, but not to HTTP/1.0 (RFC 9110 §15.2), and a 100 only to who asked for it.
    func interimResponse(_ head: ResponseHead, _ bytes: ByteBuffer) {
        lastByte = loop.now
        guard minorVersion == 1, head.status != 100 || expectsContinue else { return }
        var buffer = loop.takeBuffer()
        bytes.withUnsafeReadableBytes { raw in
            snapshot.cleaning.writeResponseHead(head, raw, framing: .none, connection: .unsaid, into: &buffer)
        }
        downstream.write(buffer)
        downstream.flush()
        loop.recycle(buffer)
    }

    func responseHead(_ head: ResponseHead, _ bytes: ByteBuffer) {
        state = .responding
        lastByte = loop.now
        record.status = head.status
        record.upstreamDuration = lastByte - sent
        loop.counters.upstreamAnswered(snapshot.upstreamIndex(route), after: record.upstreamDuration)
        clientFraming = head.framing
        if minorVersion == 0 {
            if case .chunked = head.framing { clientFraming = .untilClose }
        } else if case .untilClose = head.framing {
            clientFraming = .chunked
        }
        closesClient = downstream.endsWithAnswer(refused: false)
        if case .untilClose = clientFraming { closesClient = true }
        outgoing = loop.takeBuffer()
        hasOutgoing = true
        bytes.withUnsafeReadableBytes { raw in
            snapshot.cleaning.writeResponseHead(head, raw, framing: clientFraming, connection: closesClient ? .close : .unsaid, into: &outgoing)
        }
    }

    /// A piece of the answer. Small ones are put behind what waits already, so that a small answer is one write.
    private static let gatherLimit = 16 << 10

    func responseBody(_ piece: ByteBuffer) {
        guard state == .responding, piece.readableBytes > 0 else { return }
        lastByte = loop.now
        record.responseBytes += Int64(piece.readableBytes)
        let isChunked = clientFraming == .chunked
        if hasOutgoing || isChunked, piece.readableBytes + outgoing.readableBytes <= Self.gatherLimit {
            if !hasOutgoing {
                outgoing = loop.takeBuffer()
                hasOutgoing = true
            }
            if isChunked { Chunks.writeSize(piece.readableBytes, into: &outgoing) }
            outgoing.writeImmutableBuffer(piece)
            if isChunked { outgoing.writeStaticString("\r\n") }
        } else {
            writeOutgoing()
            if isChunked {
                Chunks.write(piece, to: downstream.write, buffer: loop.takeBuffer())
            } else {
                downstream.write(piece)
            }
            if !downstream.isWritable { upstream?.pauseReading() }
        }
    }

    private func writeOutgoing() {
        guard hasOutgoing else { return }
        hasOutgoing = false
        let bytes = outgoing
        outgoing = loop.noBytes
        downstream.write(bytes)
        loop.recycle(bytes)
    }

    func flushToClient() {
        writeOutgoing()
        downstream.flush()
        if !downstream.isWritable { upstream?.pauseReading() }
    }

    func clientBecameWritable() { upstream?.resumeReading() }

    func responseEnded(trailers: ByteBuffer?) {
        upstream = nil
        guard state == .responding else { return }
        if clientFraming == .chunked {
            if !hasOutgoing {
                outgoing = loop.takeBuffer()
                hasOutgoing = true
            }
            snapshot.cleaning.writeLastChunk(trailers: trailers, fromClient: false, scanner: loop.trailerScanner, into: &outgoing)
        }
        writeOutgoing()
        downstream.flush()
        finish()
        downstream.exchangeEnded()
    }

    /// The answer broke off: what the client has must not look whole.
    func responseBroke() {
        upstream = nil
        guard state == .responding || state == .tunnel else { return }
        writeOutgoing()
        record.outcome = .brokenOff
        finish()
        downstream.cut()
    }
}

// MARK: - Tunnel

extension Exchange {
    /// Whether a 101 is the answer to what was asked (contract §4.8): the protocol that was asked for, said with `Connection: Upgrade`, without a length.
    func acceptsUpgrade(_ head: ResponseHead, _ bytes: ByteBuffer) -> Bool {
        guard asksUpgrade, requestIsComplete, let named = head.upgrade, head.framing == .none || head.framing == .untilClose else { return false }
        return bytes.withUnsafeReadableBytes { raw in
            ASCII.equalIgnoringCase(UnsafeRawBufferPointer(rebasing: raw[Int(named.start)..<Int(named.end)]), upgradeProtocol)
        }
    }

    func beganTunnel(_ head: ResponseHead, _ bytes: ByteBuffer) {
        state = .tunnel
        lastByte = loop.now
        record.status = 101
        record.upstreamDuration = lastByte - sent
        loop.counters.upstreamAnswered(snapshot.upstreamIndex(route), after: record.upstreamDuration)
        if ASCII.equalIgnoringCase(upgradeProtocol, "websocket") {
            webSocketToClient = WebSocketFrames()
            webSocketToUpstream = WebSocketFrames()
        }
        var buffer = loop.takeBuffer()
        bytes.withUnsafeReadableBytes { raw in
            snapshot.cleaning.writeResponseHead(head, raw, framing: .none, connection: .upgrade, into: &buffer)
        }
        downstream.write(buffer)
        downstream.flush()
        loop.recycle(buffer)
        downstream.becomeTunnel()
        downstream.pumpBody()
    }

    func tunnelFromClient(_ bytes: ByteBuffer) {
        lastByte = loop.now
        record.requestBytes += Int64(bytes.readableBytes)
        if webSocketToUpstream != nil { bytes.withUnsafeReadableBytes { webSocketToUpstream!.advance(over: $0) } }
        upstream?.write(bytes)
        upstreamIsDirty = true
    }

    func tunnelFromUpstream(_ bytes: ByteBuffer) {
        lastByte = loop.now
        record.responseBytes += Int64(bytes.readableBytes)
        if webSocketToClient != nil { bytes.withUnsafeReadableBytes { webSocketToClient!.advance(over: $0) } }
        downstream.write(bytes)
    }

    /// The upstream has closed its side: what it said is delivered, then the client's side is closed.
    func upstreamTunnelEnded() {
        upstream = nil
        guard state == .tunnel else { return }
        finish()
        state = .ended
        downstream.closeTunnel()
    }

    /// Tells both ends of a WebSocket why it closes, where that fits between two frames.
    private func closeWebSocket(code: UInt16, reason: StaticString) {
        if let frames = webSocketToClient, frames.isBetweenFrames {
            var buffer = loop.takeBuffer()
            buffer.writeBytes(WebSocketFrames.close(code: code, reason: reason, mask: nil))
            downstream.write(buffer)
        }
        if let frames = webSocketToUpstream, frames.isBetweenFrames, let upstream {
            var buffer = loop.takeBuffer()
            buffer.writeBytes(WebSocketFrames.close(code: code, reason: reason, mask: UInt32.random(in: 0 ... .max)))
            upstream.write(buffer)
        }
    }
}

// MARK: - End

extension Exchange {
    /// Why an exchange is ended from the gateway's side.
    enum Ending {
        case revoked, draining
    }

    func belongs(to user: UserID, session: String?) -> Bool {
        guard state != .idle, state != .ended, let reference = remembered?.reference, reference.user == user else { return false }
        return session == nil || reference.session == session
    }

    /// Ends what is going on: with an answer where none has begun, else so that it does not look complete.
    func end(_ ending: Ending) {
        switch state {
        case .session where ending == .revoked:
            // The answer that is on its way may be from before.
            endedMeanwhile = true
        case .session, .connecting, .sending:
            refuse(ending == .revoked ? .sessionRevoked : .draining)
        case .responding:
            loop.counters.streamClosed(ending)
            record.outcome = ending == .revoked ? .revoked : .draining
            upstream?.detach()
            upstream = nil
            writeOutgoing()
            finish()
            downstream.cut()
        case .tunnel:
            loop.counters.streamClosed(ending)
            record.outcome = ending == .revoked ? .revoked : .draining
            switch ending {
            case .revoked: closeWebSocket(code: 1008, reason: "session revoked")
            case .draining: closeWebSocket(code: 1001, reason: "going away")
            }
            upstream?.closeAfterWrites()
            upstream = nil
            finish()
            state = .ended
            downstream.closeTunnel()
        case .idle:
            downstream.cut()
        case .ended:
            return
        }
    }

    /// The client's connection has ended: so does everything that was done for it.
    func clientGone() {
        let wasActive = state != .idle && state != .ended
        ticket &+= 1
        upstream?.detach()
        upstream = nil
        if wasActive {
            if state != .tunnel { record.outcome = .clientGone }
            finish()
        }
        state = .ended
    }

    /// Refuses the request; where its answer has begun, cuts it.
    private func refuse(_ rejection: Rejection) {
        upstream?.detach()
        upstream = nil
        if state == .responding || state == .tunnel {
            record.outcome = .rejected(rejection)
            finish()
            return downstream.cut()
        }
        answer(rejection)
    }

    private func answer(_ rejection: Rejection) {
        record.status = rejection.status
        record.outcome = .rejected(rejection)
        var buffer = loop.takeBuffer()
        rejection.write(
            requestID: record.requestID, isHead: method == .head, closes: downstream.endsWithAnswer(refused: true),
            redirect: wantsHTML ? snapshot.loginRedirect(route) : nil, into: &buffer)
        downstream.write(buffer)
        downstream.flush()
        loop.recycle(buffer)
        finish()
        downstream.exchangeEnded()
    }

    /// What was not even a request: nothing of it is known but what is wrong with it.
    func refuseHead(_ rejection: Rejection) {
        startRecord()
        method = .other
        answer(rejection)
    }

    private func finish() {
        state = .idle
        ticket &+= 1
        record.duration = loop.now - asked
        loop.counters.requestEnded(route: route, record)
        if snapshot.accessLog { loop.accessLog?.append(record, snapshot: snapshot, route: route) }
        remembered = nil
        pool = nil
        anonymousHead = nil
        loop.recycle(upstreamHead)
        upstreamHead = loop.noBytes
        webSocketToClient = nil
        webSocketToUpstream = nil
    }

    /// When the loop has to look again, for whatever is going on.
    var deadline: NIODeadline {
        switch state {
        case .idle, .ended, .session, .connecting: .distantFuture
        case .sending: requestIsComplete ? sent + snapshot.responseTimeout(route) : lastByte + snapshot.limits.streamIdleTimeout
        case .responding, .tunnel: lastByte + snapshot.limits.streamIdleTimeout
        }
    }

    func deadlinePassed() {
        switch state {
        case .sending where requestIsComplete: refuse(Rejection(.responseTimeout))
        case .sending, .responding, .tunnel:
            record.outcome = .idle
            upstream?.detach()
            upstream = nil
            finish()
            downstream.cut()
        case .idle, .ended, .session, .connecting: return
        }
    }
}
