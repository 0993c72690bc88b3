// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

// answer: what the upstream says goes to the client.
extension Exchange {
    /// 1xx: passes, but not to HTTP/1.0 (RFC 9110 §15.2), and a 100 only to who asked for it.
    func interimResponse(_ head: ResponseHead, _ bytes: ByteBuffer) {
        lastByte = loop.now
        guard minorVersion == 1, head.status != 100 || (expectsContinue && !snapshot.routes[route].isSessionAPI) else { return }
        var buffer = loop.takeBuffer()
        bytes.withUnsafeReadableBytes { raw in
            snapshot.cleaning.writeResponseHead(head, raw, framing: .none, connection: .unsaid, into: &buffer)
        }
        downstream.write(buffer)
        downstream.flush()
        loop.recycle(buffer)
    }

    func responseHead(_ head: ResponseHead, _ bytes: ByteBuffer) {
        guard mayGoOn else { return end(.storeSilent) }
        state = .responding
        lastByte = loop.now
        record.status = head.status
        record.upstreamDuration = lastByte - sent
        let snapshot = snapshot
        loop.counters.upstreamAnswered(snapshot.upstreamIndex(route), after: lastByte - sent, of: snapshot)
        clientFraming = head.framing
        if minorVersion == 0 {
            if case .chunked = head.framing { clientFraming = .untilClose }
        } else if case .untilClose = head.framing {
            clientFraming = .chunked
        }
        closesClient = downstream.endsWithAnswer(refused: false)
        if case .untilClose = clientFraming { closesClient = true }
        if closesClient { downstream.closesAfterAnswer() }
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
        guard mayGoOn else { return end(.storeSilent) }
        lastByte = loop.now
        record.responseBytes += Int64(piece.readableBytes)
        let isChunked = clientFraming == .chunked
        if hasOutgoing || isChunked, piece.readableBytes + outgoing.readableBytes <= Self.gatherLimit {
            if !hasOutgoing {
                outgoing = loop.takeBuffer()
                hasOutgoing = true
            }
            if isChunked { outgoing.writeChunkSize(piece.readableBytes) }
            outgoing.writeImmutableBuffer(piece)
            if isChunked { outgoing.writeStaticString("\r\n") }
        } else {
            writeOutgoing()
            if isChunked {
                writeChunk(piece) { downstream.write($0) }
            } else {
                downstream.write(piece)
            }
            if !downstream.isWritable { upstream?.pauseReading() }
        }
    }

    /// A piece as a chunk of its own (RFC 9112 §7.1); chunk extensions of the other side end here.
    func writeChunk(_ piece: ByteBuffer, to write: (ByteBuffer) -> Void) {
        var buffer = loop.takeBuffer()
        buffer.writeChunkSize(piece.readableBytes)
        if piece.readableBytes <= Self.gatherLimit {
            buffer.writeImmutableBuffer(piece)
            buffer.writeStaticString("\r\n")
            write(buffer)
            loop.recycle(buffer)
        } else {
            write(buffer)
            write(piece)
            write(loop.lineEnd)
        }
    }

    func writeOutgoing() {
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
