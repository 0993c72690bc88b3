// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

// What the bytes of an upstream are: answers, each told to the exchange that asked for it.
extension UpstreamConnection {
    func process(_ bytes: inout ByteBuffer) {
        while bytes.readableBytes > 0, let exchange {
            switch phase {
            case .head:
                guard readHead(&bytes, exchange) else { return }
            case .counted(let left):
                let count = Int(min(left, Int64(bytes.readableBytes)))
                phase = .counted(left: left - Int64(count))
                exchange.responseBody(take(count, of: &bytes))
                if left == Int64(count) { finish(exchange, unread: bytes.readableBytes, trailers: nil) }
            case .chunked:
                guard readChunks(&bytes, exchange) else { return }
            case .untilClose:
                exchange.responseBody(take(bytes.readableBytes, of: &bytes))
            case .tunnel:
                exchange.tunnelFromUpstream(take(bytes.readableBytes, of: &bytes))
            case .idle, .closed:
                return
            }
        }
    }

    /// The first bytes of the buffer; the whole buffer itself where that is all, so that nothing is copied or shared.
    private func take(_ count: Int, of bytes: inout ByteBuffer) -> ByteBuffer {
        if count == bytes.readableBytes {
            defer { bytes = loop.noBytes }
            return bytes
        }
        return bytes.readSlice(length: count) ?? loop.noBytes
    }

    /// False: more bytes are needed, or it is over.
    private func readHead(_ bytes: inout ByteBuffer, _ exchange: Exchange) -> Bool {
        let scanner = loop.responseScanner
        let method = exchange.upstreamMethod
        let already = scanned
        scanned = 0
        let outcome = bytes.withUnsafeReadableBytes { scanner.scan($0, requestMethod: method, alreadyScanned: already) }
        switch outcome {
        case .incomplete:
            scanned = bytes.readableBytes
            return false
        case .refused(let reason):
            loop.shared.logger.debug(
                "An upstream's answer is malformed", metadata: ["upstream": "\(pool.plan.configuration.name)", "reason": "\(reason)"])
            fail(exchange, .malformed)
            return false
        case .head:
            let head = scanner.head
            let length = head.length
            if head.status == 101 {
                guard exchange.acceptsUpgrade(head, bytes) else {
                    fail(exchange, .malformed)
                    return false
                }
                // First, as either side may end while the other is written to.
                phase = .tunnel
                let whole = bytes
                bytes.moveReaderIndex(forwardBy: length)
                exchange.beganTunnel(head, whole)
                return true
            }
            if head.status < 200 {
                exchange.interimResponse(head, bytes)
                bytes.moveReaderIndex(forwardBy: length)
                return true
            }
            keepsAlive = head.keepAlive
            switch head.framing {
            case .none: phase = .counted(left: 0)
            case .counted(let count): phase = .counted(left: count)
            case .chunked:
                phase = .chunked
                chunks = ChunkedDecoder(limits: loop.snapshot.headLimits)
            case .untilClose: phase = .untilClose
            }
            exchange.responseHead(head, bytes)
            bytes.moveReaderIndex(forwardBy: length)
            if case .counted(left: 0) = phase, self.exchange != nil {
                finish(exchange, unread: bytes.readableBytes, trailers: nil)
            }
            return true
        }
    }

    private func readChunks(_ bytes: inout ByteBuffer, _ exchange: Exchange) -> Bool {
        let step = bytes.withUnsafeReadableBytes { chunks.next($0) }
        switch step {
        case .data(let offset, let count):
            bytes.moveReaderIndex(forwardBy: offset)
            exchange.responseBody(bytes.readSlice(length: count) ?? loop.noBytes)
            return true
        case .needMore(let consumed):
            bytes.moveReaderIndex(forwardBy: consumed)
            return false
        case .trailers(let section, let consumed):
            let trailers = section.isEmpty ? nil : bytes.getSlice(at: bytes.readerIndex + Int(section.start), length: section.count)
            bytes.moveReaderIndex(forwardBy: consumed)
            finish(exchange, unread: bytes.readableBytes, trailers: trailers)
            return false
        case .refused:
            self.exchange = nil
            close()
            exchange.responseBroke()
            return false
        }
    }

    private func fail(_ exchange: Exchange, _ fault: UpstreamFault) {
        self.exchange = nil
        close()
        exchange.upstreamFailed(fault)
    }

    /// The answer is complete. What follows it, if anything, was asked for by nobody.
    private func finish(_ exchange: Exchange, unread: Int, trailers: ByteBuffer?) {
        self.exchange = nil
        let reusable = keepsAlive && unread == 0 && exchange.requestIsComplete
        if reusable {
            phase = .idle
            inbound = loop.noBytes
        } else {
            phase = .closed
        }
        // First, so that a pipelined request that begins now finds it.
        if reusable {
            resumeReading()
            pool.give(back: self)
        } else {
            context?.close(promise: nil)
        }
        exchange.responseEnded(trailers: trailers)
    }
}
