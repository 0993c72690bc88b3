// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import NIOPosix
import NIOTLS
import PeerTLS

/// Opens connections to the endpoints of one upstream. Holds its TLS context, made once.
final class UpstreamConnector: Sendable {
    struct Failure: Error {
        var fault: UpstreamFault
        /// For the log.
        var reason: String
    }

    private let tls: PeerTLS?

    /// Throws what NIOSSL finds wrong with the certificates.
    init(_ configuration: UpstreamConfiguration) throws {
        tls = try configuration.tls.map { try PeerTLS($0.configuration, serverName: $0.serverName) }
    }

    /// Opens a connection on the loop; `completion` runs on it, after TLS has been verified.
    func connect(
        _ upstream: UpstreamConfiguration, endpoint: Int, loop: GatewayLoop, pool: UpstreamPool,
        completion: @escaping (Result<UpstreamConnection, Failure>) -> Void
    ) {
        let eventLoop = loop.eventLoop
        let connection = UpstreamConnection(endpoint: endpoint, pool: pool, loop: loop)
        let opening = Opening(connection: connection, awaitsHandshake: tls != nil, completion: completion)
        let bound = NIOLoopBound(opening, eventLoop: eventLoop)
        let address = upstream.endpoints[endpoint].address
        let bootstrap = ClientBootstrap(group: eventLoop)
            .connectTimeout(upstream.connectTimeout)
            .channelInitializer { [tls] channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls {
                        // Directly above the socket: everything that follows sees plain bytes.
                        try channel.pipeline.syncOperations.addHandler(tls.makeHandler(host: address.host))
                        // Above it: tells when the upstream has proven itself, and leaves.
                        try channel.pipeline.syncOperations.addHandler(OpeningHandler(bound.value))
                    }
                    // Last: speaks HTTP/1.1 with the upstream for one exchange at a time.
                    try channel.pipeline.syncOperations.addHandler(bound.value.connection)
                }
            }
        let opened: EventLoopFuture<any Channel>
        switch address {
        case .inet(let host, let port):
            let overTCP = bootstrap.channelOption(.tcpOption(.tcp_nodelay), value: 1)
            // Names are resolved one after the other on each loop: an address must not wait for a slow name of another upstream.
            if let literal = try? SocketAddress(ipAddress: host, port: port) {
                opened = overTCP.connect(to: literal)
            } else {
                opened = overTCP.connect(host: host, port: port)
            }
        case .unix(let path): opened = bootstrap.connect(unixDomainSocketPath: path)
        }
        if tls != nil {
            let isolated = eventLoop.assumeIsolated()
            opening.timer = isolated.scheduleTask(in: upstream.connectTimeout) {
                opening.finish(.connectTimeout, "not connected within the connect timeout")
            }
        }
        opened.assumeIsolated().whenComplete { result in
            switch result {
            case .success(let channel): opening.connected(channel)
            case .failure(let error): opening.finish(Self.fault(of: error), connectionReason(error))
            }
        }
    }

    private static func fault(of error: any Error) -> UpstreamFault {
        switch error {
        case ChannelError.connectTimeout: .connectTimeout
        case let several as NIOConnectionError
        where several.connectionErrors.contains { if case ChannelError.connectTimeout = $0.error { true } else { false } }:
            .connectTimeout
        default: .refused
        }
    }
}

/// One attempt to connect: tells its outcome exactly once.
private final class Opening {
    let connection: UpstreamConnection
    var timer: Scheduled<Void>?
    private var awaitsHandshake: Bool
    private var isConnected = false
    private var completion: ((Result<UpstreamConnection, UpstreamConnector.Failure>) -> Void)?

    init(connection: UpstreamConnection, awaitsHandshake: Bool, completion: @escaping (Result<UpstreamConnection, UpstreamConnector.Failure>) -> Void)
    {
        self.connection = connection
        self.awaitsHandshake = awaitsHandshake
        self.completion = completion
    }

    func connected(_ channel: any Channel) {
        isConnected = true
        if let context = try? channel.pipeline.syncOperations.context(handler: connection) { connection.use(context) }
        succeedIfReady()
    }

    func handshakeCompleted() {
        awaitsHandshake = false
        succeedIfReady()
    }

    private func succeedIfReady() {
        guard isConnected, !awaitsHandshake, let completion else { return }
        self.completion = nil
        timer?.cancel()
        guard connection.isReusable else { return completion(.failure(.init(fault: .refused, reason: "closed at once"))) }
        connection.wasOpened()
        completion(.success(connection))
    }

    func finish(_ fault: UpstreamFault, _ reason: String) {
        guard let completion else { return }
        self.completion = nil
        timer?.cancel()
        connection.close()
        completion(.failure(.init(fault: fault, reason: reason)))
    }
}

/// Waits for the TLS handshake, and then is in nobody's way.
private final class OpeningHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    private let opening: Opening

    init(_ opening: Opening) { self.opening = opening }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted = event as? TLSUserEvent {
            opening.handshakeCompleted()
            context.pipeline.syncOperations.removeHandler(self, promise: nil)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        opening.finish(.refused, "closed within the TLS handshake")
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        opening.finish(.refused, connectionReason(error))
        context.fireErrorCaught(error)
    }
}
