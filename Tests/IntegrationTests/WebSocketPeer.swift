// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport

/// A client's end of a WebSocket through a gateway, with short frames whose mask is zero.
final class WebSocketPeer {
    private let connection: HTTPConnection
    private var unread: [UInt8] = []

    struct NotUpgraded: Error { let answer: HTTPMessage }

    init(_ gateway: RunningGateway, token: String) throws {
        connection = try HTTPConnection(port: gateway.port)
        let answer = try connection.get(
            "/socket", token: token,
            fields: [
                ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
            ])
        guard answer.status == 101, answer["Upgrade"] == ["websocket"] else { throw NotUpgraded(answer: answer) }
    }

    /// Whether a text comes back from the upstream.
    func echoes(_ text: String) -> Bool {
        connection.socket.write([0x81, 0x80 | UInt8(text.utf8.count), 0, 0, 0, 0] + Array(text.utf8))
        return frame(length: text.utf8.count) == [0x81, UInt8(text.utf8.count)] + Array(text.utf8)
    }

    /// Reads to the end: the code of the close frame, if that is all that still came.
    func closeCode() -> Int? {
        var last = unread
        while case let more = connection.reader.bytes(), !more.isEmpty { last += more }
        guard last.count >= 4, last[0] == 0x88, Int(last[1]) == last.count - 2 else { return nil }
        return Int(last[2]) << 8 | Int(last[3])
    }

    private func frame(length: Int) -> [UInt8] {
        while unread.count < 2 + length {
            let more = connection.reader.bytes()
            if more.isEmpty { break }
            unread += more
        }
        defer { unread.removeFirst(min(unread.count, 2 + length)) }
        return Array(unread.prefix(2 + length))
    }
}

@available(*, unavailable)
extension WebSocketPeer: Sendable {}

extension FakeServer {
    /// An upstream that upgrades every connection and sends each text frame back.
    static func webSocketEcho() throws -> FakeServer {
        try FakeServer { connection in
            let reader = HTTPReader(connection.socket)
            guard let request = reader.head(), request["Upgrade"] == ["websocket"] else { return }
            connection.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            var unread: [UInt8] = []
            while case let bytes = reader.bytes(), !bytes.isEmpty {
                unread += bytes
                // A client's frame as a server's: the mask is zero, so that only its bit and its bytes have to go.
                while unread.count >= 6, case let length = Int(unread[1] & 0x7F), unread.count >= 6 + length {
                    if unread[0] == 0x81 { connection.write([0x81, UInt8(length)] + unread[6..<(6 + length)]) }
                    unread.removeFirst(6 + length)
                }
            }
        }
    }
}
