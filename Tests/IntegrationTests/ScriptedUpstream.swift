// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Synchronization
import TestSupport

/// An upstream that keeps what it was sent, and answers each request as the script says.
final class ScriptedUpstream: Sendable {
    enum Reply: Sendable {
        /// 200 with the number of the body's bytes.
        case answer
        /// The connection is closed without a byte.
        case close
        /// These bytes, and then the connection is closed.
        case breakOff(String)
        /// These bytes, and then nothing until the other side closes.
        case stall(String)
    }

    private let server: FakeServer
    private let log: Log

    private final class Log: Sendable {
        let requests = Mutex<[HTTPMessage]>([])
    }

    /// - Parameter script: given the number of the request, from 1, and the request.
    init(_ script: @escaping @Sendable (Int, HTTPMessage) -> Reply) throws {
        let log = Log()
        self.log = log
        server = try FakeServer { connection in
            let reader = HTTPReader(connection.socket)
            while let request = reader.request() {
                let number = log.requests.withLock { requests in
                    requests.append(request)
                    return requests.count
                }
                switch script(number, request) {
                case .answer:
                    let text = request.method == "HEAD" ? "" : "\(request.body.count)"
                    guard connection.write("HTTP/1.1 200 OK\r\nContent-Length: \(text.utf8.count)\r\n\r\n\(text)") else { return }
                case .close: return
                case .breakOff(let text):
                    connection.write(text)
                    return
                case .stall(let text):
                    connection.write(text)
                    connection.waitForEnd()
                    return
                }
            }
        }
    }

    var port: Int { server.port }
    /// In the order of their arrival, those whose body broke off among them.
    var requests: [HTTPMessage] { log.requests.withLock { $0 } }
    var acceptedConnections: Int { server.acceptedConnections }
    var openConnections: Int { server.openConnections }

    func stop() { server.stop() }
}

extension GatewaySetup {
    /// One upstream with more to say about it, and one event loop, so that requests find the connections of those before.
    init(endpoints ports: [Int], _ more: String = "") {
        self.init(upstream: ports[0])
        self["workers"] = "1"
        let endpoints = ports.map { "\"127.0.0.1:\($0)\"" }.joined(separator: ", ")
        self["upstreams"] = "{legacy: {endpoints: [\(endpoints)]\(more.isEmpty ? "" : ", \(more)")}}"
    }
}
