// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import NIOCore
import NIOSSL
import PeerTLS
import Synchronization
import TestSupport

@testable import BenchHarness

/// A server that answers as a script says, and counts.
final class ScriptedServer: Sendable {
    enum Reply: Sendable {
        /// With a counted body.
        case status(Int)
        case raw(String)
        /// FIN, after these bytes.
        case breakOff(String)
        case reset
        /// Nothing until the other side closes.
        case silence
        /// Nothing: every connection is ended, and nobody listens any more.
        case goAway
    }

    private let server: FakeServer
    private let log: Log

    private final class Log: Sendable {
        let requests = Mutex<[HTTPMessage]>([])
        let server = Mutex(Weak())
    }

    private struct Weak: Sendable {
        weak var server: FakeServer?
    }

    /// - Parameter script: given the number of the request, from 1, and the request; may block its connection.
    init(_ script: @escaping @Sendable (Int, HTTPMessage) -> Reply = { _, _ in .status(200) }) throws {
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
                case .status(let status): connection.write("HTTP/1.1 \(status) X\r\nContent-Length: 2\r\n\r\nok")
                case .raw(let text): connection.write(text)
                case .breakOff(let text):
                    connection.write(text)
                    return
                case .reset: return connection.reset()
                case .silence: return connection.waitForEnd()
                case .goAway:
                    log.server.withLock { $0.server }?.stop()
                    return
                }
            }
        }
        log.server.withLock { [server] in $0.server = server }
    }

    var port: Int { server.port }
    var requests: [HTTPMessage] { log.requests.withLock { $0 } }
    var acceptedConnections: Int { server.acceptedConnections }
    func stop() { server.stop() }
}

/// A gate that opens once; whoever comes before waits.
final class Gate: Sendable {
    private let condition = NSCondition()
    private let isOpen = Mutex(false)

    func pass() {
        condition.lock()
        while !isOpen.withLock({ $0 }) { condition.wait() }
        condition.unlock()
    }

    func open() {
        condition.lock()
        isOpen.withLock { $0 = true }
        condition.broadcast()
        condition.unlock()
    }
}

extension Dialer {
    /// To a port of this machine.
    static func to(_ port: Int, path: String = "/", certificates: TestCertificates? = nil, alpn: String = "http/1.1", streams: Int? = nil) throws
        -> Dialer
    {
        var tls: PeerTLS?
        if let certificates {
            var configuration = TLSConfiguration.makeClientConfiguration()
            configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(certificates.authority))
            configuration.applicationProtocols = [alpn]
            tls = try PeerTLS(configuration)
        }
        return Dialer(
            target: try Target("\(certificates == nil ? "http" : "https")://127.0.0.1:\(port)\(path)"),
            address: try SocketAddress(ipAddress: "127.0.0.1", port: port), tls: tls, streams: streams, connectTimeout: .seconds(5))
    }
}

extension LoadPlan {
    /// One kind of request to a port of this machine. Times are milliseconds.
    static func simple(
        _ port: Int, _ pace: Pace, warmup: Int64 = 0, duration: Int64, timeout: Int64 = 20_000, connections: Int = LoadPlan.maxConnections,
        loops: Int = 1
    ) throws -> LoadPlan {
        LoadPlan(
            dialer: try .to(port), shapes: [RequestShape(target: "/")], pace: pace, warmup: warmup * 1_000_000, duration: duration * 1_000_000,
            timeout: timeout * 1_000_000, connectionLimit: connections, loops: loops)
    }

    /// Runs it, and what it reports.
    func report() async throws -> RunReport { RunReport(try await LoadRun(self).run(), plan: self, process: nil) }
}
