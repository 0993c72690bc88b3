// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

// After a 101: bytes pass as they are, both ways, with an eye on where a WebSocket's frames end.
extension Exchange {
    /// Whether a 101 is the answer to what was asked (contract §4.8): the protocol that was asked for, said with `Connection: Upgrade`, without a length.
    func acceptsUpgrade(_ head: ResponseHead, _ bytes: ByteBuffer) -> Bool {
        guard carriesUpgrade, requestIsComplete, let named = head.upgrade, head.framing == .none || head.framing == .untilClose else { return false }
        return bytes.withUnsafeReadableBytes { raw in
            ASCII.equalIgnoringCase(UnsafeRawBufferPointer(rebasing: raw[Int(named.start)..<Int(named.end)]), upgradeProtocol)
        }
    }

    func beganTunnel(_ head: ResponseHead, _ bytes: ByteBuffer) {
        state = .tunnel
        lastByte = loop.now
        record.status = 101
        record.upstreamDuration = lastByte - sent
        loop.counters.upstreamAnswered(snapshot.upstreamIndex(route), after: lastByte - sent, of: snapshot)
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
        pumpBody()
    }

    func tunnelFromClient(_ bytes: ByteBuffer) {
        guard mayGoOn else { return end(.storeSilent) }
        lastByte = loop.now
        record.requestBytes += Int64(bytes.readableBytes)
        if webSocketToUpstream != nil { bytes.withUnsafeReadableBytes { webSocketToUpstream!.advance(over: $0) } }
        upstream?.write(bytes)
        upstreamIsDirty = true
    }

    func tunnelFromUpstream(_ bytes: ByteBuffer) {
        guard mayGoOn else { return end(.storeSilent) }
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
        downstream.closeTunnel(within: nil)
    }

    /// Tells both ends of a WebSocket why it closes, where that fits between two frames.
    func closeWebSocket(code: UInt16, reason: StaticString) -> (clientWasTold: Bool, upstreamWasTold: Bool) {
        var told = (clientWasTold: false, upstreamWasTold: false)
        if let frames = webSocketToClient, frames.isBetweenFrames {
            var buffer = loop.takeBuffer()
            buffer.writeBytes(WebSocketFrames.close(code: code, reason: reason, mask: nil))
            downstream.write(buffer)
            told.clientWasTold = true
        }
        if let frames = webSocketToUpstream, frames.isBetweenFrames, let upstream {
            var buffer = loop.takeBuffer()
            buffer.writeBytes(WebSocketFrames.close(code: code, reason: reason, mask: UInt32.random(in: 0 ... .max)))
            upstream.write(buffer)
            told.upstreamWasTold = true
        }
        return told
    }
}
