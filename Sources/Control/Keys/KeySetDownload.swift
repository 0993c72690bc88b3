// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import AsyncHTTPClient
import NIOCore
import NIOSSL
import PeerTLS
import Synchronization
import Tokens

/// Fetches one key set over HTTP, strictly: one request, no redirect, bounded in time and size.
final class KeySetDownload: Sendable {
    /// Contract §3: 5 s for everything, from the name's resolution to the last byte.
    static let timeLimit = Duration.seconds(5)
    static let byteLimit = 1 << 20

    enum Failure: Error, CustomStringConvertible {
        case url, authority, timeout, tooLarge
        case status(UInt)
        case connection(String)
        case keys(KeyProblem)

        /// Never holds what the server sent.
        var description: String {
            switch self {
            case .url: "the URL cannot be used"
            case .authority: "the ca file cannot be used"
            case .timeout: "it took longer than 5 s"
            case .tooLarge: "it is larger than 1 MiB"
            case .status(let status): "the status is \(status)"
            case .connection(let reason): "the connection failed: \(reason)"
            case .keys(let problem): "the key set \(problem)"
            }
        }
    }

    private let group: any EventLoopGroup
    /// By the path of the authorities; `""` is the system's. Kept, as making one reads and parses them.
    private let clients = Mutex<[String: HTTPClient]>([:])

    init(group: any EventLoopGroup) {
        self.group = group
    }

    func shutDown() async {
        let clients = clients.withLock { clients in
            defer { clients = [:] }
            return Array(clients.values)
        }
        for client in clients { try? await client.shutdown() }
    }

    func keys(of source: KeySource) async -> Result<KeySet, Failure> {
        await withTaskGroup(of: Result<KeySet, Failure>?.self) { tasks in
            tasks.addTask { await self.fetch(source) }
            tasks.addTask {
                try? await Task.sleep(for: Self.timeLimit)
                return nil
            }
            let first = await tasks.next()
            tasks.cancelAll()
            return first.flatMap { $0 } ?? .failure(.timeout)
        }
    }

    private func fetch(_ source: KeySource) async -> Result<KeySet, Failure> {
        guard let client = client(ca: source.ca) else { return .failure(.authority) }
        guard source.url.hasPrefix("https://") || source.url.hasPrefix("http://") else { return .failure(.url) }
        var request = HTTPClientRequest(url: source.url)
        request.headers.add(name: "Accept", value: "application/jwk-set+json, application/json")
        request.headers.add(name: "User-Agent", value: "portcullis")
        do {
            let response = try await client.execute(request, timeout: .seconds(5))
            guard response.status == .ok else { return .failure(.status(response.status.code)) }
            let body = try await response.body.collect(upTo: Self.byteLimit)
            do throws(KeyProblem) {
                return .success(try KeySet(jwks: Array(body.readableBytesView), algorithms: source.algorithms))
            } catch {
                return .failure(.keys(error))
            }
        } catch is NIOTooManyBytesError {
            return .failure(.tooLarge)
        } catch let error as HTTPClientError {
            return .failure(.connection(error.shortDescription))
        } catch {
            return .failure(.connection(connectionReason(error)))
        }
    }

    private func client(ca: String?) -> HTTPClient? {
        clients.withLock { clients in
            if let client = clients[ca ?? ""] { return client }
            var tls = TLSConfiguration.makeClientConfiguration()
            if let ca {
                guard let authorities = try? NIOSSLCertificate.fromPEMFile(ca), !authorities.isEmpty else { return nil }
                tls.trustRoots = .certificates(authorities)
            }
            var configuration = HTTPClient.Configuration(tlsConfiguration: tls, redirectConfiguration: .disallow)
            configuration.timeout.connect = .seconds(5)
            configuration.httpVersion = .http1Only
            // The next try is the schedule's: this one fails at once, and says why.
            configuration.connectionPool.retryConnectionEstablishment = false
            let client = HTTPClient(eventLoopGroupProvider: .shared(group), configuration: configuration)
            clients[ca ?? ""] = client
            return client
        }
    }
}
