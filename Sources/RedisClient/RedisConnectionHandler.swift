// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import PeerTLS

/// The Redis end of one channel: bytes to replies, and what happened to the channel. Belongs to a client until either of them lets go.
final class RedisConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let id: ConnectionMachine<RedisRequest>.ConnectionID
    /// Nil once the client has nothing to do with this channel any more: what it still says goes nowhere.
    private var client: RedisClient?
    private var context: ChannelHandlerContext?
    private var reader: ReplyReader
    private var problem: String?

    init(client: RedisClient, id: ConnectionMachine<RedisRequest>.ConnectionID, limits: RedisLimits) {
        self.client = client
        self.id = id
        reader = ReplyReader(limits: limits)
    }

    /// Writes and flushes.
    func write(_ buffer: ByteBuffer) {
        context?.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
    }

    /// Closes the channel and reports nothing any more. The future succeeds when it is closed.
    @discardableResult
    func detach() -> EventLoopFuture<Void>? {
        client = nil
        guard let context else { return nil }
        context.close(promise: nil)
        return context.channel.closeFuture
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        client?.connected(self, id)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard client != nil else { return }
        do throws(ReplyReader.Problem) {
            try reader.feed(unwrapInboundIn(data))
            // The client may let go with every reply that it gets.
            while let client, let reply = try reader.next() { client.received(reply, from: id) }
        } catch {
            client?.lost(id, cause: .violation, reason: "protocol violation: \(error.reason)")
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        client?.lost(id, cause: .unavailable, reason: problem ?? "connection closed by the other side")
        client = nil
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        problem = connectionReason(error)
        context.close(promise: nil)
    }
}

@available(*, unavailable)
extension RedisConnectionHandler: Sendable {}
