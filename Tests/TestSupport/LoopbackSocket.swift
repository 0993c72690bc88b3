// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation

/// A blocking socket on the loopback interface, for the far side of a test: no event loop that the code under test could share.
///
/// One thread reads and one writes at a time; `shutdown` may come from any.
package final class LoopbackSocket: Sendable {
    let descriptor: Int32

    init(descriptor: Int32) {
        self.descriptor = descriptor
        var one: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
    }

    deinit { close(descriptor) }

    /// Connects to `127.0.0.1:port`. Reads fail after `timeout` without a byte; nil waits for ever.
    package convenience init(port: Int, timeout: Duration? = .seconds(10)) throws {
        self.init(descriptor: try Self.make())
        var address = Self.address(port)
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
        guard result == 0 else { throw SocketError(call: "connect") }
        limitReads(to: timeout)
    }

    /// Connects to a Unix socket.
    package convenience init(unixSocket path: String, timeout: Duration? = .seconds(10)) throws {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw SocketError(call: "socket") }
        self.init(descriptor: descriptor)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix($0.count - 1)) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
        guard result == 0 else { throw SocketError(call: "connect") }
        limitReads(to: timeout)
    }

    private func limitReads(to timeout: Duration?) {
        guard let timeout else { return }
        var value = timeval(tv_sec: Int(timeout.components.seconds), tv_usec: Int(timeout.components.attoseconds / 1_000_000_000_000))
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &value, socklen_t(MemoryLayout<timeval>.size))
    }

    /// A listening socket on `port`, or on a free one for 0.
    static func listening(port: Int) throws -> LoopbackSocket {
        let socket = LoopbackSocket(descriptor: try make())
        var one: Int32 = 1
        setsockopt(socket.descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        try socket.bind(to: port)
        guard listen(socket.descriptor, 128) == 0 else { throw SocketError(call: "listen") }
        return socket
    }

    /// Bound to a port and not listening: as long as it lives, who connects is refused, and nobody else is given the port.
    package static func deaf() throws -> LoopbackSocket {
        let socket = LoopbackSocket(descriptor: try make())
        try socket.bind(to: 0)
        return socket
    }

    private func bind(to port: Int) throws {
        var address = Self.address(port)
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { Foundation.bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
        guard bound == 0 else { throw SocketError(call: "bind") }
    }

    /// The port that the socket is bound to.
    package var port: Int {
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    /// The next connection; nil when the socket has been shut down.
    func accept() -> LoopbackSocket? {
        while true {
            let accepted = Foundation.accept(descriptor, nil, nil)
            if accepted >= 0 { return LoopbackSocket(descriptor: accepted) }
            guard errno == EINTR || errno == ECONNABORTED else { return nil }
        }
    }

    /// Waits for bytes; empty at the end of the stream, at an error and after the timeout.
    package func read(atMost count: Int = 65536) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            filled = 0
            while true {
                let read = recv(descriptor, buffer.baseAddress, count, 0)
                if read > 0 { filled = read }
                guard read < 0, errno == EINTR else { return }
            }
        }
    }

    /// Whether `read` would return at once with some bytes.
    package var hasBytes: Bool {
        var byte: UInt8 = 0
        return recv(descriptor, &byte, 1, Int32(MSG_PEEK | MSG_DONTWAIT)) == 1
    }

    /// Writes everything; false when the other side is gone.
    @discardableResult
    package func write(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if written < 0 {
                if errno == EINTR { continue }
                return false
            }
            rest = rest.dropFirst(written)
        }
        return true
    }

    @discardableResult
    package func write(_ text: String) -> Bool { write(Array(text.utf8)) }

    /// Writes as much as is taken: the number of bytes after which nothing more was for `patience`, or all of them.
    package func writeUntilStuck(_ bytes: [UInt8], patience: Duration = .milliseconds(700)) -> Int {
        var written = 0
        while written < bytes.count, waits(for: Int16(POLLOUT), patience) {
            let step = bytes.withUnsafeBytes {
                send(descriptor, $0.baseAddress! + written, $0.count - written, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
            }
            if step > 0 { written += step } else if errno != EAGAIN, errno != EINTR { break }
        }
        return written
    }

    private func waits(for events: Int16, _ duration: Duration) -> Bool {
        var descriptor = pollfd(fd: descriptor, events: events, revents: 0)
        let milliseconds = duration.components.seconds * 1000 + duration.components.attoseconds / 1_000_000_000_000_000
        return poll(&descriptor, 1, Int32(milliseconds)) > 0
    }

    /// How the other side ended the connection.
    package enum Ending: Sendable, Equatable {
        /// FIN: it looks complete.
        case finished
        /// RST: it does not.
        case reset
        /// It did not, within the time that reads are given.
        case open
    }

    /// Reads to the end, and tells which it was.
    package func ending() -> Ending {
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let read = recv(descriptor, &buffer, buffer.count, 0)
            if read == 0 { return .finished }
            if read < 0, errno != EINTR { return errno == EAGAIN ? .open : .reset }
        }
    }

    /// Whether nothing comes for a while, neither bytes nor the end.
    package func staysSilent(for duration: Duration) -> Bool { !waits(for: Int16(POLLIN), duration) }

    /// Ends both directions with FIN; a blocked `read` or `accept` returns. The descriptor is closed with the last reference.
    package func shutdown() { Foundation.shutdown(descriptor, Int32(SHUT_RDWR)) }

    /// Ends the connection with RST, as a host does that knows nothing of it.
    package func reset() {
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Foundation.linger>.size))
        // Connecting to "no address" dissolves the association: RST goes out now, whoever still holds the descriptor.
        var none = sockaddr(sa_family: sa_family_t(AF_UNSPEC), sa_data: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
        _ = connect(descriptor, &none, socklen_t(MemoryLayout<sockaddr>.size))
    }

    private static func make() throws -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw SocketError(call: "socket") }
        return descriptor
    }

    private static func address(_ port: Int) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        return address
    }
}

/// A socket call failed; names the call and errno's text.
package struct SocketError: Error, CustomStringConvertible {
    package let description: String
    init(call: String) { description = "\(call): \(String(cString: strerror(errno)))" }
}

/// A TCP port on 127.0.0.1 that was free a moment ago.
package func freePort() throws -> Int { try LoopbackSocket.listening(port: 0).port }

/// Several, no two the same: one after the other the system might give the same port twice.
package func freePorts(_ count: Int) throws -> [Int] {
    let sockets = try (0..<count).map { _ in try LoopbackSocket.listening(port: 0) }
    return sockets.map(\.port)
}
