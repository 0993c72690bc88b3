// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// One reply of a Redis, as the tests' own small client reads it (RESP2); deliberately not the product's reader.
package indirect enum RESPValue: Sendable, Hashable {
    case integer(Int)
    case text(String)
    case error(String)
    case null
    case array([RESPValue])

    package var text: String? {
        if case .text(let value) = self { value } else { nil }
    }

    /// Whether it is an error with that code.
    package func isError(_ code: String) -> Bool {
        if case .error(let text) = self { text.hasPrefix(code) } else { false }
    }

    package var elements: [RESPValue]? {
        if case .array(let values) = self { values } else { nil }
    }
}

/// A connection to a Redis that an operator or another program has: plain commands, one at a time, blocking.
package final class RESPConnection {
    private let socket: LoopbackSocket
    private var unread: [UInt8] = []
    /// What has been read since a relay began to listen along; nil: nobody does.
    private var recorded: [UInt8]?

    package init(port: Int, timeout: Duration? = .seconds(10)) throws {
        socket = try LoopbackSocket(port: port, timeout: timeout)
    }

    package init(socket: LoopbackSocket) {
        self.socket = socket
    }

    /// Sends one command and waits for its reply.
    @discardableResult
    package func callAsFunction(_ words: String...) throws -> RESPValue { try call(words) }

    package func call(_ words: [String]) throws -> RESPValue {
        guard socket.write(Self.encode(words)) else { throw ConnectionEnded() }
        return try read()
    }

    /// The next reply, also one that nobody asked for; throws when the connection ends or is silent for the timeout.
    package func read() throws -> RESPValue {
        let line = try readLine()
        let rest = String(line.dropFirst())
        switch line.first {
        case "+": return .text(rest)
        case "-": return .error(rest)
        case ":": return .integer(Int(rest) ?? 0)
        case "$":
            guard let length = Int(rest), length >= 0 else { return .null }
            let bytes = try take(length + 2)
            return .text(String(decoding: bytes.dropLast(2), as: UTF8.self))
        case "*":
            guard let count = Int(rest), count >= 0 else { return .null }
            var values: [RESPValue] = []
            for _ in 0..<count { values.append(try read()) }
            return .array(values)
        default: throw ConnectionEnded()
        }
    }

    /// The next value, and the bytes in which it came.
    func readExactly() throws -> (value: RESPValue, bytes: [UInt8]) {
        recorded = []
        defer { recorded = nil }
        let value = try read()
        return (value, recorded ?? [])
    }

    /// Passes on all that comes from now on, until one of the two ends.
    func pump(to other: RESPConnection) {
        guard unread.isEmpty || other.write(unread) else { return }
        unread = []
        while true {
            let bytes = socket.read()
            guard !bytes.isEmpty, other.write(bytes) else { return }
        }
    }

    @discardableResult
    func write(_ bytes: [UInt8]) -> Bool { socket.write(bytes) }

    package func close() { socket.shutdown() }

    package static func encode(_ words: [String]) -> [UInt8] {
        var bytes = Array("*\(words.count)\r\n".utf8)
        for word in words { bytes += Array("$\(word.utf8.count)\r\n\(word)\r\n".utf8) }
        return bytes
    }

    private func readLine() throws -> String {
        while true {
            if let end = unread.firstIndex(of: UInt8(ascii: "\n")), end > 0 {
                let line = String(decoding: unread[..<(end - 1)], as: UTF8.self)
                recorded?.append(contentsOf: unread[...end])
                unread.removeFirst(end + 1)
                return line
            }
            try more()
        }
    }

    private func take(_ count: Int) throws -> [UInt8] {
        while unread.count < count { try more() }
        defer { unread.removeFirst(count) }
        recorded?.append(contentsOf: unread[..<count])
        return Array(unread[..<count])
    }

    private func more() throws {
        let bytes = socket.read()
        guard !bytes.isEmpty else { throw ConnectionEnded() }
        unread += bytes
    }
}

/// The other side closed the connection, or said nothing for the timeout.
package struct ConnectionEnded: Error {
    package init() {}
}

@available(*, unavailable)
extension RESPConnection: Sendable {}
