// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

// What the bytes of a client are: heads, and the bodies that follow them.
extension HTTP1Connection {
    func takeAll() -> ByteBuffer {
        defer { inbound = loop.noBytes }
        return inbound
    }

    /// False: more bytes are needed, or nothing further is read for now.
    func readHead() -> Bool {
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
    func readBody() -> Bool {
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
}
