// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

// forward: the request goes to its upstream, its body as it comes.
extension Exchange {
    var isWaitingForUpstream: Bool { state == .connecting }

    /// `limits.body_bytes` as it was when the request began; 0: none.
    var bodyLimit: Int64 { snapshot.limits.bodyBytes }

    /// What the answer's framing depends on.
    var upstreamMethod: MethodKind { method }

    func upstreamReady(_ connection: UpstreamConnection) {
        upstream = connection
        guard mayGoOn else { return refuse(.storeUnavailable) }
        state = .sending
        sent = loop.now
        lastByte = sent
        connection.begin(self, head: upstreamHead)
        upstreamIsDirty = true
        if snapshot.routes[route].isSessionAPI { sendGathered(to: connection) }
        if requestIsComplete { flushToUpstream() } else { pumpBody() }
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
        case .idle, .judging, .session, .gathering, .ended: return
        }
    }

    private func isSafeToRepeat(_ fault: UpstreamFault) -> Bool {
        switch fault {
        case .refused, .connectTimeout: return true
        case .exhausted, .brokenHead, .responseTimeout, .malformed: return false
        case .reset:
            guard requestFraming == .none || requestFraming == .counted(0) else { return false }
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
        case .gathering: true
        case .sending, .responding, .tunnel: upstream?.isWritable ?? false
        case .idle, .judging, .session, .connecting, .ended: false
        }
    }

    func upstreamBecameWritable() { pumpBody() }

    /// Takes what has come of the body. It may have come long ago, with no read to follow that would flush it.
    func pumpBody() {
        downstream.pumpBody()
        flushToUpstream()
    }

    func requestBody(_ piece: ByteBuffer) {
        if state == .gathering { return add(toGathered: piece) }
        guard let upstream, piece.readableBytes > 0 else { return }
        guard mayGoOn else { return end(.storeSilent) }
        lastByte = loop.now
        record.requestBytes += Int64(piece.readableBytes)
        if case .chunked = requestFraming {
            writeChunk(piece) { upstream.write($0) }
        } else {
            upstream.write(piece)
        }
        upstreamIsDirty = true
    }

    func requestEnded(trailers: ByteBuffer?) {
        requestIsComplete = true
        lastByte = loop.now
        sent = lastByte
        if state == .gathering { return connect() }
        guard let upstream else { return }
        if case .chunked = requestFraming {
            var buffer = loop.takeBuffer()
            snapshot.cleaning.writeLastChunk(trailers: trailers, fromClient: true, scanner: loop.trailerScanner, into: &buffer)
            upstream.write(buffer)
            upstreamIsDirty = true
        }
        flushToUpstream()
    }

    /// What the session API takes at most (contract §5), in bytes.
    private static let gatheredLimit = 64 << 10

    /// The session API's connections are few, so a body is there as a whole before one is taken.
    func gather() {
        if case .counted(let length) = requestFraming, length > Int64(Self.gatheredLimit) { return refuse(.bodyTooLarge) }
        state = .gathering
        sent = loop.now
        gathered = loop.takeBuffer()
        if expectsContinue {
            downstream.write(loop.continueAnswer)
            downstream.flush()
        }
        downstream.pumpBody()
    }

    func add(toGathered piece: ByteBuffer) {
        record.requestBytes += Int64(piece.readableBytes)
        guard gathered.readableBytes + piece.readableBytes <= Self.gatheredLimit else { return refuse(.bodyTooLarge) }
        gathered.writeImmutableBuffer(piece)
    }

    private func sendGathered(to connection: UpstreamConnection) {
        if case .chunked = requestFraming {
            // An empty chunk would be the last one.
            if gathered.readableBytes > 0 { writeChunk(gathered) { connection.write($0) } }
            connection.write(loop.lastChunk)
        } else if gathered.readableBytes > 0 {
            connection.write(gathered)
        }
    }

    /// The body turned out to be bad or too large: the upstream must never take it for whole.
    func requestBodyBroke(_ rejection: Rejection) {
        refuse(rejection)
    }
}
