// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import NIOPosix
import NIOSSL
import TestSupport

@testable import Control

/// A login endpoint that a test plays, one answer a request, and what it was asked.
final class FakeLoginEndpoint: Sendable {
    let asked = Recorded<HTTPMessage>()
    private let server: FakeServer

    var url: String { "http://127.0.0.1:\(server.port)/verify" }
    var acceptedConnections: Int { server.acceptedConnections }
    var method: LoginMethod { .endpoint(LoginEndpoint(url: url, authorities: [])) }

    /// - Parameter answer: to each request, as it goes over the wire; empty: the connection is closed; nil: nothing comes. After an answer that
    ///   says `Connection: close` the connection is closed, whole or not.
    init(_ answer: @escaping @Sendable (HTTPMessage) -> String?) throws {
        let asked = asked
        server = try FakeServer { connection in
            let reader = HTTPReader(connection.socket)
            while let request = reader.request() {
                asked.append(request)
                guard let answer = answer(request) else { return connection.waitForEnd() }
                guard !answer.isEmpty, connection.write(answer), !answer.contains("Connection: close") else { return }
            }
        }
    }

    /// The same answer to everybody.
    convenience init(always answer: String) throws { try self.init { _ in answer } }

    /// Vouches for whoever has `password of NAME`, with those claims.
    convenience init(claims: String? = nil) throws {
        try self.init { request in
            guard let user: String = request.member("username"), request.member("password") == "password of \(user)" else { return Self.answer(401) }
            return Self.answer(200, #"{"user":"\#(user)""# + (claims.map { #","claims":\#($0)"# } ?? "") + "}")
        }
    }

    static func answer(_ status: Int, _ body: String = "", _ fields: String = "") -> String {
        "HTTP/1.1 \(status) x\r\nContent-Length: \(body.utf8.count)\r\n\(fields)\r\n\(body)"
    }

    func stop() { server.stop() }
}

/// TLS in front of a login endpoint that vouches for everybody as `alice`.
final class TLSLoginEndpoint: Sendable {
    let port: Int
    private let channel: any Channel

    init(_ certificates: TestCertificates) async throws {
        let chain = try NIOSSLCertificate.fromPEMFile(certificates.certificate).map { NIOSSLCertificateSource.certificate($0) }
        let key = NIOSSLPrivateKeySource.privateKey(try NIOSSLPrivateKey(file: certificates.privateKey, format: .pem))
        let context = try NIOSSLContext(configuration: .makeServerConfiguration(certificateChain: chain, privateKey: key))
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers([NIOSSLServerHandler(context: context), Voucher()])
                }
            }.bind(host: "127.0.0.1", port: 0).get()
        port = channel.localAddress?.port ?? 0
    }

    func stop() async throws { try await channel.close() }

    /// Answers when the body's last byte, a closing brace, has come.
    private final class Voucher: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            guard unwrapInboundIn(data).readableBytesView.last == UInt8(ascii: "}") else { return }
            context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: FakeLoginEndpoint.answer(200, #"{"user":"alice"}"#))), promise: nil)
        }
    }
}
