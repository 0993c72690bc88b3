// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc
import NIOCore
import NIOPosix

/// A connection that speaks HTTP/1.1, one request at a time. It opens once, and is gone when it has ended in any way.
final class HTTP1Link: Link, ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum Phase {
        case opening
        case idle
        case busy(Flight)
        case gone
    }

    /// Has the link in a list until it is gone: no cycle outlives that.
    private let owner: any LinkOwner
    private let table: RequestTable
    private let keepsBody: Bool
    private var phase = Phase.opening
    private var parser = ResponseParser()
    /// What has come and could not be read yet, as it ends within a line.
    private var unread = ByteBuffer()
    private var context: ChannelHandlerContext?
    /// Nothing stands between this handler and the socket.
    private let isClear: Bool
    /// The socket, as long as requests may be written to it past the channel: in clear, while the channel has none to write itself.
    private var socket: CInt?
    /// Why it ends, as far as the channel has told before it was inactive.
    private var fault: FailureKind?
    var isListed = false

    /// - Parameters:
    ///   - isClear: no TLS.
    ///   - keepsBody: the bodies of answers are wanted.
    init(owner: any LinkOwner, table: RequestTable, isClear: Bool, keepsBody: Bool = false) {
        self.isClear = isClear
        self.owner = owner
        self.table = table
        self.keepsBody = keepsBody
    }

    var freeSlots: Int { if case .idle = phase { 1 } else { 0 } }

    // MARK: Opening

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        socket = nil
    }

    func opened() {
        guard case .opening = phase else { return }
        phase = .idle
        findSocket()
        owner.linkOpened(self)
    }

    func openingFailed(_ kind: FailureKind) {
        guard case .opening = phase else { return }
        phase = .gone
        context?.close(promise: nil)
        owner.linkGone(self, kind)
    }

    // MARK: Requests

    func send(_ flight: Flight, _ choice: RequestChoice) {
        guard case .idle = phase, let context else { return assertionFailure("no free slot") }
        phase = .busy(flight)
        parser.begin(isOfHead: table.isHead(choice), keepsBody: keepsBody)
        write(table.bytes(choice), context)
    }

    private func findSocket() {
        guard isClear, let context else { return }
        socket = try? context.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) { $0 }
    }

    /// A request leaves in one piece, nearly always, so that it needs none of what the channel does for writes: that would cost half a microsecond
    /// for each, a tenth of what the harness needs for a request. What the socket does not take at once the channel writes, and hears of errors.
    private func write(_ request: ByteBuffer, _ context: ChannelHandlerContext) {
        guard let socket else { return context.writeAndFlush(wrapOutboundOut(request), promise: nil) }
        let count = request.withUnsafeReadableBytes { Glibc.send(socket, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL)) }
        guard count < request.readableBytes else { return }
        var rest = request
        if count > 0 { rest.moveReaderIndex(forwardBy: count) }
        self.socket = nil
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenSuccess { [weak self] in self?.findSocket() }
        context.writeAndFlush(wrapOutboundOut(rest), promise: written)
    }

    func takeBody() -> [UInt8] { parser.body ?? [] }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        guard case .busy(let flight) = phase else {
            // An answer that nobody waits for: what follows would be taken for another's.
            return close(.malformed)
        }
        if unread.readableBytes > 0 {
            unread.writeBuffer(&bytes)
            swap(&unread, &bytes)
            unread.clear()
        }
        switch bytes.withUnsafeReadableBytes({ parser.read($0) }) {
        case .needMore(let consumed):
            bytes.moveReaderIndex(forwardBy: consumed)
            if bytes.readableBytes > 0 { unread = bytes }
        case .complete(let consumed):
            guard consumed == bytes.readableBytes else { return close(.malformed) }
            answered(flight)
        case .malformed: close(.malformed)
        }
    }

    private func answered(_ flight: Flight) {
        let keeps = parser.keepsConnection
        phase = keeps ? .idle : .gone
        if !keeps { socket = nil }
        owner.link(self, answered: flight, status: parser.status, at: BenchClock.now())
        guard !keeps else { return }
        context?.close(promise: nil)
        owner.linkGone(self, nil)
    }

    // MARK: The end

    func expire(intendedBefore limit: Int64) {
        if case .busy(let flight) = phase, flight.intended < limit { close(.timeout) }
    }

    func close(_ kind: FailureKind) {
        switch phase {
        case .opening: openingFailed(kind)
        case .idle: end(nil)
        case .busy(let flight): end { self.owner.link(self, failed: flight, kind) }
        case .gone: break
        }
    }

    private func end(_ fail: (() -> Void)?) {
        phase = .gone
        socket = nil
        context?.close(promise: nil)
        fail?()
        owner.linkGone(self, nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        if case .busy(let flight) = phase, fault == nil, parser.connectionEnded() {
            answered(flight)
        } else {
            close(fault ?? .reset)
        }
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fault = FailureKind.ending(error) ?? .reset
        context.close(promise: nil)
    }
}

@available(*, unavailable)
extension HTTP1Link: Sendable {}
