// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import NIOPosix
import NIOTLS
import PeerTLS

/// Opens connections to one server, whose address is known. Shared by the loops.
package struct Dialer: Sendable {
    let target: Target
    let address: SocketAddress
    private let tls: PeerTLS?
    /// Nil: HTTP/1.1. Over TLS agreed on by ALPN, else known beforehand (RFC 9113 §3.2, §3.3).
    private let streams: Int?
    private let connectTimeout: TimeAmount

    /// - Parameters:
    ///   - tls: for `https`.
    ///   - streams: for HTTP/2, how many requests a connection has at a time; nil: HTTP/1.1.
    package init(target: Target, address: SocketAddress, tls: PeerTLS?, streams: Int?, connectTimeout: TimeAmount) {
        self.target = target
        self.address = address
        self.tls = tls
        self.streams = streams
        self.connectTimeout = connectTimeout
    }

    /// On its loop. The owner hears what becomes of it, never before this has returned.
    func dial(_ owner: any LinkOwner, table: RequestTable, keepsBody: Bool = false, on eventLoop: any EventLoop) -> any Link {
        guard let streams else {
            let link = HTTP1Link(owner: owner, table: table, isClear: tls == nil, keepsBody: keepsBody)
            open(on: eventLoop, handlers: { [link] }, opened: link.opened, failed: link.openingFailed)
            return link
        }
        let link = HTTP2Link(owner: owner, table: table, streams: streams)
        open(on: eventLoop, handlers: { [HTTP2Link.codec(), link] }, opened: link.opened, failed: link.openingFailed)
        return link
    }

    /// A connection for something else than requests.
    func dial(_ socket: WebSocketLink, on eventLoop: any EventLoop) {
        open(on: eventLoop, handlers: { [socket] }, opened: socket.opened, failed: { _ in socket.ended() })
    }

    private func open(
        on eventLoop: any EventLoop, handlers: @escaping () -> [any ChannelHandler], opened: @escaping () -> Void,
        failed: @escaping (FailureKind) -> Void
    ) {
        let attempt = Attempt(
            protocolName: tls == nil ? nil : streams == nil ? "http/1.1" : "h2", timeout: connectTimeout, opened: opened, failed: failed)
        let bound = NIOLoopBound((attempt: attempt, handlers: handlers), eventLoop: eventLoop)
        let opening = ClientBootstrap(group: eventLoop)
            .connectTimeout(connectTimeout)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            // One read takes an answer; a second one that finds nothing would cost as much.
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 16 << 10))
            .channelInitializer { [tls, target] channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls {
                        // Directly above the socket: all that follows sees plain bytes.
                        try channel.pipeline.syncOperations.addHandler(tls.makeHandler(host: target.host))
                    }
                    // Above it: tells when the connection can be used, and leaves.
                    try channel.pipeline.syncOperations.addHandler(bound.value.attempt)
                    try channel.pipeline.syncOperations.addHandlers(bound.value.handlers())
                }
            }
            .connect(to: address)
        opening.assumeIsolated().whenFailure { attempt.finish(.opening($0)) }
    }
}

/// One attempt to open a connection: tells its outcome exactly once, and is in nobody's way from then on.
private final class Attempt: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    /// What ALPN must come to (RFC 7301), for `h2`; a server without ALPN speaks HTTP/1.1. Nil: no TLS.
    private let protocolName: String?
    private let timeout: TimeAmount
    private var outcome: (opened: () -> Void, failed: (FailureKind) -> Void)?
    private var timer: Scheduled<Void>?

    init(protocolName: String?, timeout: TimeAmount, opened: @escaping () -> Void, failed: @escaping (FailureKind) -> Void) {
        self.protocolName = protocolName
        self.timeout = timeout
        outcome = (opened, failed)
    }

    /// - Parameter kind: nil where it is open.
    func finish(_ kind: FailureKind?) {
        guard let outcome else { return }
        self.outcome = nil
        timer?.cancel()
        if let kind { outcome.failed(kind) } else { outcome.opened() }
    }

    func channelActive(context: ChannelHandlerContext) {
        // Those above first: what they begin a connection with leaves before any request.
        context.fireChannelActive()
        guard protocolName == nil else {
            timer = context.eventLoop.assumeIsolated().scheduleTask(in: timeout) { self.finish(.timeout) }
            return
        }
        finish(nil)
        context.pipeline.syncOperations.removeHandler(self, promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        context.fireUserInboundEventTriggered(event)
        guard case .handshakeCompleted(let agreed) = event as? TLSUserEvent else { return }
        let isRight = agreed == protocolName || (agreed == nil && protocolName == "http/1.1")
        finish(isRight ? nil : .tls)
        context.pipeline.syncOperations.removeHandler(self, promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        finish(.tls)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        finish(.opening(error))
        context.fireErrorCaught(error)
    }
}

@available(*, unavailable)
extension Attempt: Sendable {}
