// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import NIOHTTPTypes

/// Closes a connection whose client does not get on: one that began a request and does not send the rest, or does not take its answer.
///
/// Hummingbird's own idle timeout bounds what this does not see: silence between requests and a head that does not end.
/// Confined to the channel's event loop; one timer a connection while a request is open or the server shuts down, none else.
final class ConnectionDeadline: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    struct Limits: Sendable {
        /// From the end of a request's head to the end of its body; a call's body is at most 64 KiB, what is refused may be longer.
        var body: TimeAmount
        /// From the end of a request to the moment its answer has left: more than a logout that waits for silent gateways takes.
        var answer: TimeAmount
        /// From the server's shutdown to the end of a connection that is still open: the process is about to end.
        var shutdown: TimeAmount = .seconds(2)
    }

    private let limits: Limits
    /// Nil where nobody has to make room.
    private let crowd: ConnectionCrowd?
    /// In the crowd; nil while a request that has come whole is being answered.
    private var place: ConnectionCrowd.Place?
    /// Requests whose answer has not left yet.
    private var open = 0
    /// Those of them that have come whole.
    private var whole = 0
    private var timer: Scheduled<Void>?
    private var isShuttingDown = false

    init(_ limits: Limits, crowd: ConnectionCrowd? = nil) {
        self.limits = limits
        self.crowd = crowd
    }

    func channelActive(context: ChannelHandlerContext) {
        joinCrowd(context)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head:
            open += 1
            if open == 1 { schedule(limits.body, context) }
        case .body: break
        case .end:
            whole += 1
            leaveCrowd()
            if open == 1 { schedule(limits.answer, context) }
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard case .end = unwrapOutboundIn(data) else {
            // The work is done: from now on it is for the client to take the answer.
            if case .head = unwrapOutboundIn(data) { joinCrowd(context) }
            context.write(data, promise: promise)
            return
        }
        let promise = promise ?? context.eventLoop.makePromise()
        let bound = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
        promise.futureResult.whenSuccess {
            let (handler, context) = bound.value
            handler.answered(context)
        }
        context.write(data, promise: promise)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent {
            // Hummingbird closes a connection without a request at once, and others after their answer.
            schedule(limits.shutdown, context)
            isShuttingDown = true
        }
        context.fireUserInboundEventTriggered(event)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        leaveCrowd()
        timer?.cancel()
        timer = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        leaveCrowd()
        timer?.cancel()
        timer = nil
        context.fireChannelInactive()
    }

    /// An answer has left. Those that are pipelined behind it get their own time.
    private func answered(_ context: ChannelHandlerContext) {
        open = max(0, open - 1)
        whole = max(0, whole - 1)
        if whole > 0 { leaveCrowd() }
        guard !isShuttingDown else { return }
        timer?.cancel()
        timer = nil
        if open > 0, context.channel.isActive { schedule(limits.answer, context) }
    }

    private func joinCrowd(_ context: ChannelHandlerContext) {
        guard place == nil, context.channel.isActive else { return }
        place = crowd?.join(context.channel)
    }

    private func leaveCrowd() {
        if let place { crowd?.leave(place) }
        place = nil
    }

    private func schedule(_ time: TimeAmount, _ context: ChannelHandlerContext) {
        guard !isShuttingDown else { return }
        timer?.cancel()
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(in: time) { bound.value.close(promise: nil) }
    }
}

@available(*, unavailable)
extension ConnectionDeadline: Sendable {}
