// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

/// An address that could not be listened on: exit 69, or a rejected reload.
package struct BindProblem: Error, Sendable, CustomStringConvertible {
    package var address: String
    package var reason: String
    package var description: String { "cannot listen on \(address): \(reason)" }
}

/// The listening sockets of one configured address: one for each event loop (`SO_REUSEPORT`), so that a connection lives
/// where it was accepted; a single one for a Unix socket, whose connections are spread over the loops.
final class ListenerSockets: Sendable {
    let address: ListenAddress
    private let states: [NIOLoopBound<ListenerState>]
    private let loops: [NIOLoopBound<GatewayLoop>]
    private let group: MultiThreadedEventLoopGroup
    private let channels = Mutex<[any Channel]>([])

    private init(
        address: ListenAddress, states: [NIOLoopBound<ListenerState>], loops: [NIOLoopBound<GatewayLoop>], group: MultiThreadedEventLoopGroup
    ) {
        self.address = address
        self.states = states
        self.loops = loops
        self.group = group
    }

    /// - Parameter group: the loops' group; it gives the connections of a single listening socket to its loops in turn.
    static func bind(
        _ configuration: ListenerConfiguration, tls: NIOSSLContext?, loops: [NIOLoopBound<GatewayLoop>], group: MultiThreadedEventLoopGroup
    ) async throws -> ListenerSockets {
        let states = loops.map { NIOLoopBound<ListenerState>.make(on: $0.eventLoop) { ListenerState(tls: tls) } }
        var bound: [NIOLoopBound<ListenerState>] = []
        for state in states { bound.append(try await state.get()) }
        let sockets = ListenerSockets(address: configuration.address, states: bound, loops: loops, group: group)
        do {
            try await sockets.open(configuration)
        } catch let problem as BindProblem {
            await sockets.close()
            throw problem
        } catch {
            await sockets.close()
            throw BindProblem(address: configuration.name, reason: PortProbe.describe(error))
        }
        return sockets
    }

    private func open(_ configuration: ListenerConfiguration) async throws {
        switch configuration.address {
        case .inet(let host, let port):
            let address = try SocketAddress.makeAddressResolvingHost(host, port: port)
            // With SO_REUSEPORT a second gateway of the same user would share the port without anybody noticing.
            try PortProbe.check(address, name: configuration.name)
            for loop in loops {
                let channel = try await bootstrap(parent: loop.eventLoop, children: loop.eventLoop)
                    .serverChannelOption(.socketOption(.init(rawValue: SO_REUSEPORT)), value: 1)
                    .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                    .bind(to: address).get()
                channels.withLock { $0.append(channel) }
            }
        case .unix(let path):
            try PortProbe.removeStaleSocket(path, name: configuration.name)
            let channel = try await bootstrap(parent: loops[0].eventLoop, children: group).bind(unixDomainSocketPath: path).get()
            channels.withLock { $0.append(channel) }
        }
    }

    private func bootstrap(parent: any EventLoop, children: any EventLoopGroup) -> ServerBootstrap {
        ServerBootstrap(group: parent, childGroup: children)
            .serverChannelOption(.backlog, value: 4096)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.maxMessagesPerRead, value: 16)
            // Out of descriptors, the socket stays readable: it is left alone for a while.
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(AcceptBackoffHandler()) }
            }
            .childChannelInitializer { [address, loops, states] channel in
                channel.eventLoop.makeCompletedFuture {
                    // A client that is gone already has no address, and must not pass for one that is trusted.
                    if case .inet = address, channel.remoteAddress == nil { throw ChannelError.ioOnClosedChannel }
                    guard let place = loops.firstIndex(where: { $0.eventLoop === channel.eventLoop }) else { throw ChannelError.operationUnsupported }
                    let loop = loops[place].value
                    let state = states[place].value
                    guard loop.admit() else { throw TooManyConnections() }
                    let pipeline = channel.pipeline.syncOperations
                    do {
                        if let tls = state.tls {
                            // Directly above the socket: everything that follows sees plain bytes.
                            try pipeline.addHandler(NIOSSLServerHandler(context: tls))
                        }
                        // Last: finds requests and runs their exchanges.
                        try pipeline.addHandler(HTTP1Connection(loop: loop, listener: state))
                    } catch {
                        loop.leave()
                        throw error
                    }
                }
            }
    }

    /// New connections are greeted with this context; open ones keep theirs.
    func use(tls: NIOSSLContext?) {
        for state in states { state.eventLoop.execute { state.value.tls = tls } }
    }

    func close() async {
        let open = channels.withLock { channels in
            defer { channels = [] }
            return channels
        }
        for channel in open { try? await channel.close() }
        if case .unix(let path) = address, !open.isEmpty { unlink(path) }
    }
}

extension NIOLoopBound {
    fileprivate static func make(on eventLoop: any EventLoop, _ value: @escaping @Sendable () -> Value) -> EventLoopFuture<NIOLoopBound<Value>> {
        eventLoop.submit { NIOLoopBound(value(), eventLoop: eventLoop) }
    }
}

/// `limits.connections` are open: one more is closed without an answer.
private struct TooManyConnections: Error {}

/// Looks at an address before it is bound for real.
enum PortProbe {
    /// Fails where anybody listens on the address, which `SO_REUSEPORT` would hide.
    static func check(_ address: SocketAddress, name: String) throws {
        let family = address.protocol == .inet6 ? AF_INET6 : AF_INET
        let descriptor = socket(family, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw BindProblem(address: name, reason: String(cString: strerror(errno))) }
        defer { Glibc.close(descriptor) }
        var yes: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        let result = address.withSockAddr { pointer, length in Glibc.bind(descriptor, pointer, socklen_t(length)) }
        guard result == 0 else { throw BindProblem(address: name, reason: String(cString: strerror(errno))) }
    }

    /// Removes what a gateway that was killed has left; refuses where one still answers.
    static func removeStaleSocket(_ path: String, name: String) throws {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFSOCK else { throw BindProblem(address: name, reason: "something that is no socket is there") }
        let address = try SocketAddress(unixDomainSocketPath: path)
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw BindProblem(address: name, reason: String(cString: strerror(errno))) }
        defer { Glibc.close(descriptor) }
        let result = address.withSockAddr { pointer, length in Glibc.connect(descriptor, pointer, socklen_t(length)) }
        guard result != 0 else { throw BindProblem(address: name, reason: String(cString: strerror(EADDRINUSE))) }
        unlink(path)
    }

    static func describe(_ error: any Error) -> String {
        if let error = error as? IOError { return String(cString: strerror(error.errnoCode)) }
        return String(describing: error)
    }
}
