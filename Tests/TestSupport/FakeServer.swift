// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import Synchronization

/// A server on a free port whose every connection is played by a script on a thread of its own, with blocking calls.
///
///     let server = try FakeServer { connection in
///         guard connection.readCommand() != nil else { return }
///         connection.write("+PONG\r\n")
///     }
///
/// When the script returns the connection is closed. `stop` ends all that is open.
package final class FakeServer: Sendable {
    package let port: Int
    private let listener: LoopbackSocket
    private let state = Mutex(State())

    private struct State {
        var open: [LoopbackSocket] = []
        var accepted = 0
        var stopped = false
    }

    package init(port: Int = 0, script: @escaping @Sendable (FakeConnection) -> Void) throws {
        listener = try LoopbackSocket.listening(port: port)
        self.port = listener.port
        let thread = Thread { [weak self, listener] in
            while let socket = listener.accept() {
                guard let self, self.admit(socket) else { return socket.shutdown() }
                Thread.detachNewThread { [weak self] in
                    script(FakeConnection(socket))
                    socket.shutdown()
                    self?.forget(socket)
                }
            }
        }
        thread.start()
    }

    deinit { listener.shutdown() }

    /// How many connections have been accepted so far.
    package var acceptedConnections: Int { state.withLock { $0.accepted } }

    /// How many connections are open now.
    package var openConnections: Int { state.withLock { $0.open.count } }

    /// Ends every open connection; new ones are still accepted.
    package func cut() {
        for socket in state.withLock({ $0.open }) { socket.shutdown() }
    }

    /// Ends the listener and every connection.
    package func stop() {
        state.withLock { $0.stopped = true }
        listener.shutdown()
        cut()
    }

    private func admit(_ socket: LoopbackSocket) -> Bool {
        state.withLock {
            guard !$0.stopped else { return false }
            $0.open.append(socket)
            $0.accepted += 1
            return true
        }
    }

    private func forget(_ socket: LoopbackSocket) {
        state.withLock { $0.open.removeAll { $0 === socket } }
    }
}

/// The server's end of one connection, confined to its script's thread.
package final class FakeConnection {
    package let socket: LoopbackSocket
    private let commands: RESPConnection

    init(_ socket: LoopbackSocket) {
        self.socket = socket
        commands = RESPConnection(socket: socket)
    }

    /// The next Redis command; nil when the other side has closed. Don't mix with `read`.
    package func readCommand() -> [String]? {
        guard case .array(let words)? = try? commands.read() else { return nil }
        return words.map { $0.text ?? "" }
    }

    /// The next bytes as they come; empty when the other side has closed. Don't mix with `readCommand`.
    package func read() -> [UInt8] { socket.read() }

    @discardableResult
    package func write(_ bytes: [UInt8]) -> Bool { socket.write(bytes) }

    @discardableResult
    package func write(_ text: String) -> Bool { socket.write(text) }

    /// Plays a primary at the beginning of a connection, as `redisGreeting`; false when something else came.
    package func greet() -> Bool {
        for expected in ["PING", "ROLE", "INFO"] {
            guard let command = readCommand(), command.first == expected, let reply = redisGreeting(command) else { return false }
            write(reply)
        }
        return true
    }

    /// Waits until the other side has closed.
    package func waitForEnd() {
        while !socket.read().isEmpty {}
    }

    /// Ends the connection with RST.
    package func reset() { socket.reset() }
}

@available(*, unavailable)
extension FakeConnection: Sendable {}

/// What a primary answers to the commands that every connection begins with; nil for others.
package func redisGreeting(_ command: [String]) -> String? {
    switch command {
    case ["PING"]: "+PONG\r\n"
    case ["ROLE"]: "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"
    case ["INFO", "server"]: "$28\r\nredis_mode:fake\r\nrun_id:00\r\n\r\n"
    default: nil
    }
}
