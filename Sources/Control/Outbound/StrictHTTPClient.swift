// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import AsyncHTTPClient
import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import PeerTLS
import Synchronization

/// Asks other services over HTTP, strictly: one request, no redirect, no retry, bounded in time and size, TLS always verified. Connections are reused.
///
/// Safe to use from any task; no event loop waits for anything.
final class StrictHTTPClient: Sendable {
    struct Answer: Sendable {
        let status: UInt
        let body: [UInt8]
    }

    /// Why there is no answer. No description holds anything that the server sent.
    enum Failure: Error, Sendable, CustomStringConvertible {
        case url
        case timeout(Duration)
        case tooLarge(byteLimit: Int)
        /// No connection could be made: nothing was asked.
        case unreachable(reason: String)
        /// The connection ended before the answer did.
        case cut
        /// What came is no HTTP.
        case malformed

        var description: String {
            switch self {
            case .url: "the URL cannot be used"
            case .timeout(let limit): "it took longer than \(limit.components.seconds) s"
            case .tooLarge(let byteLimit): "it is larger than \(byteLimit >> 10) KiB"
            case .unreachable(let reason): "the connection failed: \(reason)"
            case .cut: "the connection was cut"
            case .malformed: "it is no HTTP"
            }
        }
    }

    /// A client and who still uses it: one that a reload has made superfluous ends with its last request.
    private struct Client {
        let client: HTTPClient
        var users = 0
        var isKept = true
    }

    private let group: any EventLoopGroup
    /// To one host at a time; requests beyond it wait within their time.
    private let connections: Int
    /// By the authorities that they trust, none being the system's.
    private let clients = Mutex<[[NIOSSLCertificate]: Client]>([:])

    init(group: any EventLoopGroup, connections: Int) {
        self.group = group
        self.connections = connections
    }

    /// - Parameters:
    ///   - authorities: those whose certificates are trusted; empty: the system's.
    ///   - timeLimit: for everything, from the name's resolution to the last byte.
    ///   - reads: the statuses whose body is wanted; that of every other answer is not waited for.
    ///   - byteLimit: of such a body.
    func answer(
        to request: HTTPClientRequest, trusting authorities: [NIOSSLCertificate], within timeLimit: Duration, reading reads: Set<UInt>,
        upTo byteLimit: Int
    ) async -> Result<Answer, Failure> {
        guard request.url.hasPrefix("https://") || request.url.hasPrefix("http://") else { return .failure(.url) }
        let client = take(authorities)
        let result = await withTaskGroup(of: Result<Answer, Failure>?.self) { tasks in
            tasks.addTask { await Self.ask(client, request, timeLimit, reads, byteLimit) }
            tasks.addTask {
                try? await Task.sleep(for: timeLimit)
                return nil
            }
            let first = await tasks.next()
            tasks.cancelAll()
            return first.flatMap { $0 } ?? .failure(.timeout(timeLimit))
        }
        await giveBack(authorities)
        return result
    }

    /// After a reload: clients that trust others end with their last request.
    func keep(_ wanted: Set<[NIOSSLCertificate]>) async {
        let idle = clients.withLock { clients in
            for authorities in clients.keys { clients[authorities]?.isKept = wanted.contains(authorities) }
            return Self.removeIdle(&clients)
        }
        for client in idle { try? await client.shutdown() }
    }

    /// Ends every connection, also those in use.
    func shutDown() async {
        let all = clients.withLock { clients in
            defer { clients = [:] }
            return clients.values.map(\.client)
        }
        for client in all { try? await client.shutdown() }
    }

    private static func ask(
        _ client: HTTPClient, _ request: HTTPClientRequest, _ timeLimit: Duration, _ reads: Set<UInt>, _ byteLimit: Int
    ) async -> Result<Answer, Failure> {
        do {
            let response = try await client.execute(request, timeout: .nanoseconds(timeLimit.components.seconds * 1_000_000_000))
            guard reads.contains(response.status.code) else { return .success(Answer(status: response.status.code, body: [])) }
            let body = try await response.body.collect(upTo: byteLimit)
            return .success(Answer(status: response.status.code, body: Array(body.readableBytesView)))
        } catch {
            return .failure(failure(error, timeLimit, byteLimit))
        }
    }

    private static func failure(_ error: any Error, _ timeLimit: Duration, _ byteLimit: Int) -> Failure {
        switch error {
        case is NIOTooManyBytesError: return .tooLarge(byteLimit: byteLimit)
        case is CancellationError: return .timeout(timeLimit)
        case let error as HTTPClientError:
            switch error {
            case .deadlineExceeded, .connectTimeout, .getConnectionFromPoolTimeout, .tlsHandshakeTimeout: return .timeout(timeLimit)
            case .remoteConnectionClosed, .cancelled, .writeTimeout: return .cut
            case .invalidURL, .emptyHost, .emptyScheme: return .url
            default: return .malformed
            }
        case HTTPParserError.invalidEOFState, NIOSSLError.uncleanShutdown, ChannelError.eof, ChannelError.ioOnClosedChannel,
            ChannelError.alreadyClosed:
            return .cut
        case let error as IOError where [ECONNRESET, EPIPE, ESHUTDOWN].contains(error.errnoCode): return .cut
        case ChannelError.connectTimeout: return .timeout(timeLimit)
        case is IOError, is NIOConnectionError, is SocketAddressError, is NIOSSLError, is BoringSSLError, is NIOSSLExtraError:
            return .unreachable(reason: connectionReason(error))
        default: return .malformed
        }
    }

    private func take(_ authorities: [NIOSSLCertificate]) -> HTTPClient {
        clients.withLock { clients in
            var client = clients[authorities] ?? Client(client: make(authorities))
            client.users += 1
            clients[authorities] = client
            return client.client
        }
    }

    private func giveBack(_ authorities: [NIOSSLCertificate]) async {
        let idle = clients.withLock { clients in
            clients[authorities]?.users -= 1
            return Self.removeIdle(&clients)
        }
        for client in idle { try? await client.shutdown() }
    }

    private static func removeIdle(_ clients: inout [[NIOSSLCertificate]: Client]) -> [HTTPClient] {
        let idle = clients.filter { !$0.value.isKept && $0.value.users == 0 }
        for authorities in idle.keys { clients[authorities] = nil }
        return idle.values.map(\.client)
    }

    private func make(_ authorities: [NIOSSLCertificate]) -> HTTPClient {
        var tls = TLSConfiguration.makeClientConfiguration()
        if !authorities.isEmpty { tls.trustRoots = .certificates(authorities) }
        var configuration = HTTPClient.Configuration(tlsConfiguration: tls, redirectConfiguration: .disallow)
        configuration.timeout.connect = .seconds(5)
        configuration.httpVersion = .http1Only
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = connections
        // The next try is somebody else's: this one fails at once, and says why.
        configuration.connectionPool.retryConnectionEstablishment = false
        return HTTPClient(eventLoopGroupProvider: .shared(group), configuration: configuration)
    }
}
