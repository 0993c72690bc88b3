// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation

/// A client's connection: one request at a time, blocking, nothing done behind the test's back (no retry, no cookie, no redirect).
package final class HTTPConnection {
    /// The connection was closed before the answer's head was whole.
    package struct NoAnswer: Error {}

    package let socket: LoopbackSocket
    package let reader: HTTPReader

    package init(port: Int, timeout: Duration? = .seconds(20)) throws {
        socket = try LoopbackSocket(port: port, timeout: timeout)
        reader = HTTPReader(socket)
    }

    package init(unixSocket path: String) throws {
        socket = try LoopbackSocket(unixSocket: path, timeout: .seconds(20))
        reader = HTTPReader(socket)
    }

    /// Sends a request and waits for its answer.
    package func call(
        _ method: String, _ target: String, token: String? = nil, json: String? = nil, fields: [(String, String)] = []
    ) throws -> HTTPMessage {
        var fields = fields
        if let token { fields.append(("Authorization", "Bearer \(token)")) }
        if let json { fields += [("Content-Type", "application/json"), ("Content-Length", "\(json.utf8.count)")] }
        guard socket.write(Self.head(method, target, fields) + (json ?? "")) else { throw NoAnswer() }
        return try answer(to: method)
    }

    package func get(_ target: String, token: String? = nil, fields: [(String, String)] = []) throws -> HTTPMessage {
        try call("GET", target, token: token, fields: fields)
    }

    package func answer(to method: String = "GET") throws -> HTTPMessage {
        guard let answer = reader.answer(to: method) else { throw NoAnswer() }
        return answer
    }

    /// A request head with its empty line.
    package static func head(_ method: String, _ target: String, _ fields: [(String, String)]) -> String {
        "\(method) \(target) HTTP/1.1\r\nHost: app.example\r\n" + fields.map { "\($0): \($1)\r\n" }.joined() + "\r\n"
    }

    package func close() { socket.shutdown() }

    deinit { socket.shutdown() }
}

@available(*, unavailable)
extension HTTPConnection: Sendable {}

extension FakeServer {
    /// An upstream that answers every request whose body has arrived with 200 and, as text, the request's head as it came.
    package static func echo() throws -> FakeServer {
        try FakeServer { connection in
            let reader = HTTPReader(connection.socket)
            while let request = reader.request() {
                let text = request.start + "\n" + request.fields.map { "\($0.name): \($0.value)\n" }.joined()
                guard connection.write("HTTP/1.1 200 OK\r\nContent-Length: \(text.utf8.count)\r\n\r\n\(text)") else { return }
            }
        }
    }
}
