// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import NIOHPACK
import NIOHTTP1
import NIOHTTP2
import NIOPosix
import NIOSSL
import Synchronization
import TestSupport

/// What an HTTP/2 server of the tests has seen.
final class StreamCounter: Sendable {
    private let state = Mutex(State())
    /// Every n-th stream is reset instead of answered; 0: none.
    let resetEvery: Int

    private struct State {
        var connections = 0
        var requests = 0
        var open = 0
        var mostAtOnce = 0
        var heads: Set<[String]> = []
    }

    init(resetEvery: Int = 0) { self.resetEvery = resetEvery }

    var connections: Int { state.withLock { $0.connections } }
    var requests: Int { state.withLock { $0.requests } }
    /// On all connections of one loop turn.
    var mostAtOnce: Int { state.withLock { $0.mostAtOnce } }
    /// Method, path, authority, scheme, authorization, x-kind and content-length of the requests.
    var heads: Set<[String]> { state.withLock { $0.heads } }

    func connected() { state.withLock { $0.connections += 1 } }

    /// Its number, from 1.
    func request(_ head: HPACKHeaders) -> Int {
        let names = [":method", ":path", ":authority", ":scheme", "authorization", "x-kind", "content-length"]
        return state.withLock {
            $0.requests += 1
            $0.heads.insert(names.map { head.first(name: $0) ?? "" })
            return $0.requests
        }
    }

    func atOnce(_ count: Int) { state.withLock { $0.mostAtOnce = max($0.mostAtOnce, count) } }
}

/// Answers the requests of a connection when all that came in one read are there.
private final class HTTP2Responder: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame
    typealias OutboundOut = HTTP2Frame
    private let counter: StreamCounter
    private var heads: [HTTP2StreamID: HPACKHeaders] = [:]
    private var ended: [HTTP2StreamID] = []

    init(_ counter: StreamCounter) { self.counter = counter }

    func channelActive(context: ChannelHandlerContext) {
        counter.connected()
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        switch frame.payload {
        case .headers(let head):
            heads[frame.streamID] = head.headers
            counter.atOnce(heads.count)
            if head.endStream { ended.append(frame.streamID) }
        case .data(let data): if data.endStream { ended.append(frame.streamID) }
        default: break
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        // All but one at a time, so that streams overlap.
        for stream in ended {
            guard let head = heads.removeValue(forKey: stream) else { continue }
            let number = counter.request(head)
            if counter.resetEvery > 0, number.isMultiple(of: counter.resetEvery) {
                context.write(wrapOutboundOut(HTTP2Frame(streamID: stream, payload: .rstStream(.internalError))), promise: nil)
                continue
            }
            context.write(
                wrapOutboundOut(HTTP2Frame(streamID: stream, payload: .headers(.init(headers: [":status": "200", "content-length": "2"])))),
                promise: nil)
            context.write(
                wrapOutboundOut(HTTP2Frame(streamID: stream, payload: .data(.init(data: .byteBuffer(ByteBuffer(string: "ok")), endStream: true)))),
                promise: nil)
        }
        ended = []
        context.flush()
    }
}

@available(*, unavailable)
extension HTTP2Responder: Sendable {}

/// Answers every request of HTTP/1.1 with 200.
private final class HTTP1Responder: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .end = unwrapInboundIn(data) else { return }
        context.write(wrapOutboundOut(.head(.init(version: .http1_1, status: .ok, headers: ["Content-Length": "2"]))), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: "ok")))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }
}

@available(*, unavailable)
extension HTTP1Responder: Sendable {}

/// A server of HTTP/1.1 over TLS on a free port.
func withTLSServer(_ certificates: TestCertificates, protocols: [String], _ body: (Int) async throws -> Void) async throws {
    try await withServer(certificates, protocols) { channel in
        try channel.pipeline.syncOperations.configureHTTPServerPipeline()
        try channel.pipeline.syncOperations.addHandler(HTTP1Responder())
    } _: {
        try await body($0)
    }
}

/// A server of HTTP/2 on a free port, over TLS if there are certificates, which takes so many streams of a connection at a time.
func withHTTP2Server(
    _ certificates: TestCertificates?, _ counter: StreamCounter, maxStreams: Int = 100, _ body: (Int) async throws -> Void
) async throws {
    try await withServer(certificates, ["h2"]) { channel in
        try channel.pipeline.syncOperations.addHandler(
            NIOHTTP2Handler(mode: .server, initialSettings: [HTTP2Setting(parameter: .maxConcurrentStreams, value: maxStreams)]))
        try channel.pipeline.syncOperations.addHandler(HTTP2Responder(counter))
    } _: {
        try await body($0)
    }
}

private func withServer(
    _ certificates: TestCertificates?, _ protocols: [String], _ configure: @escaping @Sendable (any Channel) throws -> Void,
    _ body: (Int) async throws -> Void
) async throws {
    let tls = try certificates.map { certificates in
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: try NIOSSLCertificate.fromPEMFile(certificates.certificate).map { .certificate($0) },
            privateKey: .privateKey(try NIOSSLPrivateKey(file: certificates.privateKey, format: .pem)))
        configuration.applicationProtocols = protocols
        return try NIOSSLContext(configuration: configuration)
    }
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let server = try await ServerBootstrap(group: group)
        .childChannelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                if let tls { try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls)) }
                try configure(channel)
            }
        }
        .bind(host: "127.0.0.1", port: 0).get()
    do {
        try await body(server.localAddress?.port ?? 0)
    } catch {
        try await group.shutdownGracefully()
        throw error
    }
    try await group.shutdownGracefully()
}
