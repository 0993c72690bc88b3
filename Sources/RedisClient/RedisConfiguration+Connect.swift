// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import NIOPosix
import PeerTLS

extension RedisConfiguration {
    /// What every connection begins with, in one write. PING tells a Redis that answers from one that only accepts, and comes before what asks more.
    var handshake: (steps: [ConnectionMachine<RedisRequest>.HandshakeStep], bytes: ByteBuffer) {
        var steps: [ConnectionMachine<RedisRequest>.HandshakeStep] = []
        var bytes = ByteBuffer()
        func add(_ step: ConnectionMachine<RedisRequest>.HandshakeStep, _ words: String...) {
            steps.append(step)
            bytes.writeImmutableBuffer(RedisCommand([step.rawValue] + words).bytes)
        }
        if peer != .sentinel, let password {
            if let username { add(.auth, username, password) } else { add(.auth, password) }
        }
        if peer == .primary, database != 0 { add(.select, String(database)) }
        add(.ping)
        if peer == .primary {
            add(.role)
            add(.info, "server")
        }
        return (steps, bytes)
    }

    /// Makes a channel to the address, with TLS where it is configured. The timeout only ends an attempt that nobody waits for any more: who
    /// connects has a deadline of his own.
    func connect(on eventLoop: any EventLoop, handler: @escaping @Sendable () -> any ChannelHandler) -> EventLoopFuture<any Channel> {
        let bootstrap = ClientBootstrap(group: eventLoop)
            .connectTimeout(connectTimeout + .seconds(1))
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelInitializer { [tls, address] channel in
                channel.eventLoop.makeCompletedFuture {
                    // TLS first: the Redis handler speaks in clear to what is nearer to the socket.
                    if let tls { try channel.pipeline.syncOperations.addHandler(tls.makeHandler(host: address.hostName)) }
                    try channel.pipeline.syncOperations.addHandler(handler())
                }
            }
        switch address {
        case .host(let host, let port):
            // Names are resolved one after the other on each loop: an address must not wait for a slow name of somebody else.
            guard let literal = try? SocketAddress(ipAddress: host, port: port) else { return bootstrap.connect(host: host, port: port) }
            return bootstrap.connect(to: literal)
        case .unix(let path):
            return bootstrap.connect(unixDomainSocketPath: path)
        }
    }
}
