// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import Synchronization

/// A real redis-server on a free port, with a folder of its own. Ends with `stop`, or with the test process.
///
///     try await withRedisServer { redis in
///         try redis.command("SADD", "key", "member")
///     }
package final class RedisServer: Sendable {
    /// Plain TCP on 127.0.0.1.
    package let port: Int
    /// TLS on 127.0.0.1, when made with certificates.
    package let tlsPort: Int?
    /// The bus between the nodes of a cluster.
    package let busPort: Int?
    package let folder: String
    private let arguments: [String]
    private let password: String?
    private let child: Mutex<ChildProcess?>

    /// A Unix socket of the same server.
    package var unixSocket: String { "\(folder)/redis.sock" }
    /// `127.0.0.1:port`.
    package var address: String { "127.0.0.1:\(port)" }

    package enum ClusterPart: Sendable {
        /// It is no node of a cluster.
        case none
        /// It is the only node, and has all slots.
        case whole
        /// It is a node without slots, and knows no other.
        case empty
    }

    /// Starts a server and waits until it answers.
    ///
    /// - Parameters:
    ///   - options: redis-server's, e.g. `["--maxclients", "10"]`.
    ///   - durable: every write survives `kill` and `restart`.
    ///   - password: `requirepass`; also used by `command`.
    ///   - certificates: TLS on `tlsPort`; clients need no certificate unless the options say so.
    ///   - cluster: whether it is a node of a cluster, and what it has of it.
    package static func start(
        _ options: [String] = [], durable: Bool = false, password: String? = nil, certificates: TestCertificates? = nil,
        cluster: ClusterPart = .none
    ) async throws -> RedisServer {
        var attempt = 1
        while true {
            // Each attempt has ports of its own.
            let bus = cluster == .none ? nil : try freePort()
            let server = try RedisServer(options, durable: durable, password: password, certificates: certificates, busPort: bus)
            do {
                try await server.launch()
                if cluster == .whole { try await server.takeAllSlots() }
                return server
            } catch {
                server.stop()
                // Somebody may have taken the port meanwhile.
                guard attempt < 3 else { throw error }
                attempt += 1
            }
        }
    }

    private init(_ options: [String], durable: Bool, password: String?, certificates: TestCertificates?, busPort: Int?) throws {
        self.busPort = busPort
        port = try freePort()
        tlsPort = try certificates.map { _ in try freePort() }
        folder = try temporaryFolder("redis")
        self.password = password
        child = Mutex(nil)
        var arguments = ["--port", "\(port)", "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--daemonize", "no"]
        arguments += ["--unixsocket", "\(folder)/redis.sock"]
        arguments += durable ? ["--appendonly", "yes", "--appendfsync", "always"] : ["--appendonly", "no"]
        if let password { arguments += ["--requirepass", password] }
        if let certificates, let tlsPort {
            arguments += ["--tls-port", "\(tlsPort)", "--tls-cert-file", certificates.certificate, "--tls-key-file", certificates.privateKey]
            arguments += ["--tls-ca-cert-file", certificates.authority, "--tls-auth-clients", "optional"]
        }
        if let busPort {
            arguments += ["--cluster-enabled", "yes", "--cluster-port", "\(busPort)", "--cluster-node-timeout", "2000"]
        }
        self.arguments = arguments + options
    }

    /// One command on a connection of its own, as an operator or another program would send it. Error replies are values.
    @discardableResult
    package func command(_ words: String...) throws -> RESPValue {
        let connection = try connect()
        defer { connection.close() }
        return try connection.call(words)
    }

    /// A connection for several commands, authenticated if the server was made with a password.
    package func connect() throws -> RESPConnection {
        let connection = try RESPConnection(port: port)
        if let password { try connection("AUTH", password) }
        return connection
    }

    /// SIGKILL, as a crash.
    package func kill() { child.withLock { $0?.kill() } }

    /// Kills it if it runs, and starts it again on the same port and folder; returns when it answers.
    ///
    /// - Parameter primary: of which it is a replica from now on; nil: it is what it was started as.
    package func restart(asReplicaOf primary: RedisServer? = nil) async throws {
        kill()
        try await launch(primary.map { ["--replicaof", "127.0.0.1 \($0.port)"] } ?? [])
    }

    /// SIGSTOP: connections stay open, nothing answers.
    package func pause() { child.withLock { $0?.send(signal: SIGSTOP) } }

    /// SIGCONT.
    package func resume() { child.withLock { $0?.send(signal: SIGCONT) } }

    /// Ends it and removes its folder.
    package func stop() {
        kill()
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// What the server has logged since it was launched.
    package var log: String { (try? String(contentsOfFile: "\(folder)/log", encoding: .utf8)) ?? "" }

    private func launch(_ more: [String] = []) async throws {
        let started = try ChildProcess("/usr/bin/env", ["redis-server"] + arguments + more, output: "\(folder)/log")
        child.withLock { $0 = started }
        do {
            try await eventually("redis-server answers", within: .seconds(20)) {
                // One that has ended, perhaps because its port was taken meanwhile, is not waited for.
                try !started.isRunning || self.answers()
            }
            guard started.isRunning else { throw NotInTime(description: "redis-server ended") }
        } catch {
            throw NotInTime(description: "\(error)\n\(log)")
        }
    }

    private func takeAllSlots() async throws {
        try command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        try await eventually("the cluster is up") { try command("CLUSTER", "INFO").text?.contains("cluster_state:ok") == true }
    }

    private func answers() throws -> Bool {
        let connection = try RESPConnection(port: port, timeout: .seconds(2))
        defer { connection.close() }
        guard case .error(let message) = try connection("PING") else { return true }
        return !message.hasPrefix("LOADING")
    }
}

/// Runs `body` with a Redis of its own, which is stopped afterwards.
package func withRedisServer<Result>(
    _ options: [String] = [], durable: Bool = false, password: String? = nil, certificates: TestCertificates? = nil,
    cluster: RedisServer.ClusterPart = .none, isolation: isolated (any Actor)? = #isolation, _ body: (RedisServer) async throws -> Result
) async throws -> Result {
    let server = try await RedisServer.start(options, durable: durable, password: password, certificates: certificates, cluster: cluster)
    defer { server.stop() }
    return try await body(server)
}

/// A new folder under the system's one for temporary files; its maker removes it.
extension RedisServer {
    /// As if gateways had been there for long. In a Redis that was empty just now a logout is answered only after `max_staleness`, as there may be
    /// gateways that have lost their heartbeats.
    ///
    /// - Parameter tag: of the node, in a cluster.
    package func growOld(prefix: String = "portcullis:", tag: String? = nil) throws {
        let info = try command("INFO", "server").text ?? ""
        guard let line = info.split(whereSeparator: \.isNewline).first(where: { $0.hasPrefix("run_id:") }) else { return }
        // FNV-1a, as the connection's handshake hashes it.
        let run = line.dropFirst(7).utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        let mark = "@\(String(run, radix: 36))"
        try command("SADD", "\(prefix)edges" + (tag.map { ":{\($0)}" } ?? ""), mark, "\(mark):1")
    }
}

package func temporaryFolder(_ name: String) throws -> String {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("portcullis-\(name)-\(UUID().uuidString.prefix(8))").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    return path
}
