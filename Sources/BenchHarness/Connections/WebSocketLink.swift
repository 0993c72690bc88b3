// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// A WebSocket (RFC 6455) that says nothing and notes when it is ended. Confined to its event loop.
final class WebSocketLink: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum State: Equatable {
        case opening
        case open
        /// No 101 came: the answer's status, or 0 where there was none.
        case refused(status: Int)
        /// Its close frame, or the end of the connection without one, came at this time.
        case closed(at: Int64)
    }

    /// Nothing that needs to be secret: sixteen bytes in base64 (RFC 6455 §4.1).
    private static let key = "cG9ydGN1bGxpcy1iZW5jaA=="
    private static let closeOpcode: UInt8 = 8

    private(set) var state = State.opening
    private let table: RequestTable
    private let changed: () -> Void
    private var parser = ResponseParser()
    private var unread = ByteBuffer()
    /// Of the frame that is being read, bytes of its payload that have not come yet.
    private var payloadLeft = 0
    private var context: ChannelHandlerContext?

    /// - Parameter changed: called on the loop after each change of `state`.
    init(_ target: Target, token: String, changed: @escaping () -> Void) {
        let fields: [RequestShape.Field] = [
            .init("Connection", "Upgrade"), .init("Upgrade", "websocket"), .init("Sec-WebSocket-Version", "13"), .init("Sec-WebSocket-Key", Self.key),
        ]
        table = RequestTable(target, shapes: [RequestShape(target: target.path, fields: fields)], tokens: [token])
        self.changed = changed
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func opened() {
        guard state == .opening, let context else { return }
        parser.begin(isOfHead: false, expectsUpgrade: true)
        context.writeAndFlush(wrapOutboundOut(table.bytes(RequestChoice(shape: 0, token: 0))), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        unread.writeBuffer(&bytes)
        if state == .opening { readAnswer() }
        if state == .open { readFrames() }
    }

    private func readAnswer() {
        switch unread.withUnsafeReadableBytes({ parser.read($0) }) {
        case .needMore(let consumed): unread.moveReaderIndex(forwardBy: consumed)
        case .complete(let consumed):
            unread.moveReaderIndex(forwardBy: consumed)
            become(parser.status == 101 ? .open : .refused(status: parser.status))
        case .malformed: become(.refused(status: 0))
        }
    }

    /// Looks for the close frame; what others carry is nobody's business. Pings are not answered: nobody waits that long here.
    private func readFrames() {
        while true {
            let skipped = min(payloadLeft, unread.readableBytes)
            unread.moveReaderIndex(forwardBy: skipped)
            payloadLeft -= skipped
            guard payloadLeft == 0 else { return }
            var frame = unread
            guard let start: UInt8 = frame.readInteger(), let size: UInt8 = frame.readInteger() else { return }
            guard start & 0x0F != Self.closeOpcode else { return ended() }
            switch size & 0x7F {
            case 126:
                guard let length: UInt16 = frame.readInteger() else { return }
                payloadLeft = Int(length)
            case 127:
                guard let length: UInt64 = frame.readInteger() else { return }
                payloadLeft = Int(clamping: length)
            default: payloadLeft = Int(size & 0x7F)
            }
            unread = frame
        }
    }

    /// The connection is no more, or could not be made.
    func ended() {
        switch state {
        case .opening: become(.refused(status: 0))
        case .open: become(.closed(at: BenchClock.now()))
        case .refused, .closed: break
        }
    }

    private func become(_ next: State) {
        state = next
        if next != .open { context?.close(promise: nil) }
        changed()
    }

    /// Ends it without a word, however far it is.
    func abandon() { context?.close(promise: nil) }

    func channelInactive(context: ChannelHandlerContext) {
        ended()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

@available(*, unavailable)
extension WebSocketLink: Sendable {}
