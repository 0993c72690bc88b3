// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle

/// One of the two HTTP servers: Hummingbird's, with limits for clients that are slow or hostile.
struct ControlServer: Sendable {
    /// Bounds of one server; each connection costs memory, and time when it ends.
    struct Limits: Sendable {
        var connections: Int
        /// Of these, those that keep nothing busy (`ConnectionCrowd`); nil: all of them.
        var waiting: Int?
        /// Between requests, and for a head.
        var idle: TimeAmount?
        var deadline: ConnectionDeadline.Limits

        /// Health probes, a scraper, operators: few, and none that keeps still.
        static let admin = Limits(
            connections: 256, waiting: 192, idle: .seconds(15), deadline: .init(body: .seconds(10), answer: .seconds(90)))
        /// The data plane alone can connect. It closes idle connections itself and has limits of its own for the clients behind it.
        static let session = Limits(connections: 4096, idle: nil, deadline: .init(body: .seconds(60), answer: .seconds(90)))
    }

    /// Of a request's head, in bytes and fields.
    private static let headByteLimit = 64 << 10
    private static let fieldLimit = 200

    let address: ControlAddress
    let limits: Limits
    let group: any EventLoopGroup
    let logger: Logger
    /// `peer`: nil on a Unix socket.
    let respond: @Sendable (_ request: Request, _ peer: SocketAddress?) async -> Response

    /// Serves until graceful shutdown or cancellation. `listening` is called once, when the socket is bound.
    func run(listening: @escaping @Sendable () -> Void) async throws(ControlFailure) {
        let limits = limits, respond = respond
        let crowd = limits.waiting.map { ConnectionCrowd(limit: $0) }
        try await refuseToReplaceListener()
        let channels = HTTP1Channel(
            responder: { request, writer, channel in
                let response = await respond(request, channel.remoteAddress)
                try await writer.write(response: response.head, body: response.body)
            },
            configuration: .init(
                additionalChannelHandlers: [ConnectionDeadline(limits.deadline, crowd: crowd)], idleTimeout: limits.idle,
                httpDecoderConfiguration: .init(
                    maxHeaderFieldSize: Self.headByteLimit, maxHeaderListSize: Self.headByteLimit, maxHeaderFieldCount: Self.fieldLimit)))
        let bind: BindAddress =
            switch address {
            case .tcp(let host, let port): .hostname(host, port: port)
            case .unix(let path): .unixDomainSocket(path: path)
            }
        let stop = ServerStop()
        let server = Server(
            childChannelSetup: channels,
            configuration: .init(address: bind, availableConnectionsDelegate: .maximum(limits.connections, logger: logger)),
            onServerRunning: { _ in
                stop.isRunning()
                listening()
            },
            eventLoopGroup: group, logger: logger)
        stop.set { Task { try? await server.shutdownGracefully() } }
        // A server whose task is cancelled drops connections that it has accepted and not looked at yet, which NIO takes for a mistake and traps.
        // So it runs in a task that nobody cancels, and is shut down instead: its connections end soon after (`ConnectionDeadline`).
        let serving = Task.detached { try await server.run() }
        let result = await withTaskCancellationOrGracefulShutdownHandler {
            await serving.result
        } onCancelOrGracefulShutdown: {
            stop.request()
        }
        if case .failure(let error) = result {
            throw ControlFailure(address: address.description, reason: Self.reason(error))
        }
    }

    /// A socket file that somebody listens on stays: only one that was left behind is replaced.
    private func refuseToReplaceListener() async throws(ControlFailure) {
        guard case .unix(let path) = address, let channel = try? await ClientBootstrap(group: group).connect(unixDomainSocketPath: path).get() else {
            return
        }
        try? await channel.close()
        throw ControlFailure(address: address.description, reason: "cannot be bound: \(String(cString: strerror(EADDRINUSE)))")
    }

    private static func reason(_ error: any Error) -> String {
        if let error = error as? IOError { return "cannot be bound: \(String(cString: strerror(error.errnoCode)))" }
        if error is SocketAddressError { return "cannot be bound: the name is unknown, or the path too long" }
        return "cannot be served: \(type(of: error))"
    }
}
