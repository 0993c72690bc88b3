// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import NIOHTTP1
import NIOPosix

/// A service that knows nothing of authentication: it says who it was told is asking.
enum SampleService {
    static func start(at path: String, group: MultiThreadedEventLoopGroup) async throws {
        _ = try await ServerBootstrap(group: group)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline(withErrorHandling: true)
                    try channel.pipeline.syncOperations.addHandler(Handler())
                }
            }
            .bind(unixDomainSocketPath: path).get()
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private static let shown = ["X-Auth-User", "X-Auth-Session", "X-Auth-Issuer", "X-Request-Id"]
        private var head: HTTPRequestHead?

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head): self.head = head
            case .body: break
            case .end: answer(context)
            }
        }

        private func answer(_ context: ChannelHandlerContext) {
            guard let head else { return }
            self.head = nil
            var text = "The sample service was asked for \(head.method.rawValue) \(head.uri)\n"
            for name in Self.shown {
                for value in head.headers[name] { text += "\(name): \(value)\n" }
            }
            let body = context.channel.allocator.buffer(string: text)
            var response = HTTPResponseHead(version: head.version, status: .ok)
            response.headers.add(name: "Content-Type", value: "text/plain; charset=utf-8")
            response.headers.add(name: "Content-Length", value: "\(body.readableBytes)")
            context.write(wrapOutboundOut(.head(response)), promise: nil)
            if head.method != .HEAD { context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil) }
            context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}
