// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport

/// A client's end of a WebSocket through a gateway, with short frames whose mask is zero.
final class WebSocketPeer {
    private let connection: HTTPConnection
    private var unread: [UInt8] = []

    struct NotUpgraded: Error { let answer: HTTPMessage }

    /// A close frame's code and reason (RFC 6455 §5.5.1).
    struct CloseFrame: Sendable, Equatable {
        let code: Int
        let reason: String

        /// The body of the frame that these bytes begin with; nil while it is not whole, or no close frame.
        init?(_ bytes: [UInt8]) {
            guard bytes.count >= 2, bytes[0] == 0x88, case let length = Int(bytes[1] & 0x7F), length >= 2 else { return nil }
            let mask = bytes[1] & 0x80 == 0 ? [] : Array(bytes.dropFirst(2).prefix(4))
            var body = Array(bytes.dropFirst(2 + mask.count).prefix(length))
            guard body.count == length, bytes[1] & 0x80 == 0 || mask.count == 4 else { return nil }
            for index in body.indices where !mask.isEmpty { body[index] ^= mask[index % 4] }
            code = Int(body[0]) << 8 | Int(body[1])
            reason = String(decoding: body.dropFirst(2), as: UTF8.self)
        }
    }

    init(_ gateway: RunningGateway, token: String, target: String = "/socket") throws {
        connection = try HTTPConnection(port: gateway.port)
        let answer = try connection.get(
            target, token: token,
            fields: [
                ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
            ])
        guard answer.status == 101, answer["Upgrade"] == ["websocket"] else { throw NotUpgraded(answer: answer) }
    }

    /// Whether a text comes back from the upstream.
    func echoes(_ text: String) -> Bool {
        send(text)
        return frame(length: text.utf8.count) == [0x81, UInt8(text.utf8.count)] + Array(text.utf8)
    }

    /// Sends a text and waits for nothing.
    func send(_ text: String) { connection.socket.write([0x81, 0x80 | UInt8(text.utf8.count), 0, 0, 0, 0] + Array(text.utf8)) }

    /// Waits for the next frame: what it says if it is a close frame.
    func closeFrame() -> CloseFrame? {
        while unread.count < 2 || unread.count < 2 + Int(unread[1] & 0x7F) {
            let more = connection.reader.bytes()
            if more.isEmpty { return nil }
            unread += more
        }
        defer { unread.removeFirst(2 + Int(unread[1] & 0x7F)) }
        return CloseFrame(unread)
    }

    /// Reads to the end: the code of the close frame, if that is all that still came.
    func closeCode() -> Int? {
        let frame = closeFrame()
        var rest = unread
        while case let more = connection.reader.bytes(), !more.isEmpty { rest += more }
        return rest.isEmpty ? frame?.code : nil
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
    ///
    /// - Parameter closed: called for each close frame, with the target of its WebSocket.
    static func webSocketEcho(closed: @escaping @Sendable (String, WebSocketPeer.CloseFrame) -> Void = { _, _ in }) throws -> FakeServer {
        try FakeServer { connection in
            let reader = HTTPReader(connection.socket)
            guard let request = reader.head(), request["Upgrade"] == ["websocket"] else { return }
            connection.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            var unread: [UInt8] = []
            while case let bytes = reader.bytes(), !bytes.isEmpty {
                unread += bytes
                // A client's text as a server's: the mask is zero, so that only its bit and its bytes have to go.
                while unread.count >= 6, case let length = Int(unread[1] & 0x7F), unread.count >= 6 + length {
                    if unread[0] == 0x81 { connection.write([0x81, UInt8(length)] + unread[6..<(6 + length)]) }
                    if let frame = WebSocketPeer.CloseFrame(unread) { closed(request.target, frame) }
                    unread.removeFirst(6 + length)
                }
            }
        }
    }
}
