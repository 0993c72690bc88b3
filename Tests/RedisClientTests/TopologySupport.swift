// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import NIOCore
import NIOPosix
import Synchronization
import TestSupport

@testable import RedisClient

/// How often the tests that break things break them; more with the environment variable `PORTCULLIS_ROUNDS`.
let rounds = ProcessInfo.processInfo.environment["PORTCULLIS_ROUNDS"].flatMap { Int($0) } ?? 1

/// Runs `body` with the connections of one loop to a deployment, and closes them and its topology, which is on another loop, afterwards.
func withConnections<Result>(
    _ deployment: RedisDeployment, _ configuration: RedisConfiguration = .local(0), told: Told = Told(),
    isolation: isolated (any Actor)? = #isolation, _ body: (RedisConnections) async throws -> Result
) async throws -> Result {
    let group = MultiThreadedEventLoopGroup.singleton
    let topology = RedisTopology(deployment, configuration: configuration, eventLoop: group.next(), logger: told.logger)
    let connections = RedisConnections(
        eventLoop: group.next(), topology: topology, configuration: configuration, logger: told.logger, onStateChange: { told.changed($0) })
    topology.start()
    connections.start()
    func close() async throws {
        try await connections.close().get()
        topology.close()
    }
    do {
        let result = try await body(connections)
        try await close()
        return result
    } catch {
        try await close()
        throw error
    }
}

extension RedisDeployment {
    static func sentinels(_ ports: Int...) -> RedisDeployment { .sentinel(ports.map { .loopback($0) }, primary: "mymaster") }
    static func nodes(_ ports: Int...) -> RedisDeployment { .cluster(ports.map { .loopback($0) }) }
}

extension RedisConfiguration.Address {
    static func loopback(_ port: Int) -> RedisConfiguration.Address { .host("127.0.0.1", port: port) }
}

extension RedisConnections {
    /// The outcome of a command with a key, failures included.
    func outcome(_ words: String..., key: String) async -> RedisOutcome { await outcome(words, key: key) }

    func outcome(_ words: [String], key: String) async -> RedisOutcome {
        do throws(RedisFailure) { return .reply(try await call(RedisCommand(words), slot: RedisSlot(key: Array(key.utf8)))) } catch {
            return .failure(error)
        }
    }

    /// Which server answers for a key now; 0 while none does.
    func serverID(_ key: String) async throws -> UInt64 {
        try await eventLoop.submit { [self] in
            guard let client = client(for: RedisSlot(key: Array(key.utf8))), client.isConnected else { return 0 }
            return client.status.serverID
        }.get()
    }
}

extension RedisServer {
    /// As `RedisClientStatus.serverID` tells it.
    func serverID() throws -> UInt64 {
        let text = try command("INFO", "server").text ?? ""
        return hashedRunID(info: .bulk(Array(text.utf8))) ?? 0
    }
}

/// A Sentinel that says what a test wants.
final class FakeSentinel: Sendable {
    private struct State {
        var primary = 0
        var epoch = 1
        var others: [Int] = []
        var listeners: [LoopbackSocket] = []
        var commands: [[String]] = []
    }

    private final class Shared: Sendable {
        let state = Mutex(State())
    }

    private let shared = Shared()
    private let server: FakeServer
    var port: Int { server.port }

    init(primary: Int, port: Int = 0) throws {
        shared.state.withLock { $0.primary = primary }
        server = try FakeServer(port: port) { [shared] connection in
            var isListening = false
            while let command = connection.readCommand() {
                let reply = shared.state.withLock { state in
                    state.commands.append(command)
                    return Self.reply(command, state)
                }
                connection.write(isListening ? "*2\r\n$4\r\npong\r\n$0\r\n\r\n" : reply)
                if command.first == "SUBSCRIBE" {
                    isListening = true
                    shared.state.withLock { $0.listeners.append(connection.socket) }
                }
            }
        }
    }

    /// What it names from now on, without saying so.
    func name(_ primary: Int, epoch: Int) {
        shared.state.withLock {
            $0.primary = primary
            $0.epoch = epoch
        }
    }

    func introduce(_ others: Int...) { shared.state.withLock { $0.others = others } }

    /// Tells everybody who listens.
    func publish(name: String = "mymaster") {
        let (listeners, primary) = shared.state.withLock { ($0.listeners, $0.primary) }
        let message = "\(name) 127.0.0.1 1 127.0.0.1 \(primary)"
        for listener in listeners { listener.write(RESPConnection.encode(["message", "+switch-master", message])) }
    }

    var listeners: Int { shared.state.withLock { $0.listeners.count } }
    var commands: [[String]] { shared.state.withLock { $0.commands } }
    func stop() { server.stop() }

    private static func reply(_ command: [String], _ state: State) -> String {
        func list(_ words: [String]) -> String { String(decoding: RESPConnection.encode(words), as: UTF8.self) }
        return switch command.prefix(2) {
        case ["SENTINEL", "GET-MASTER-ADDR-BY-NAME"]: list(["127.0.0.1", "\(state.primary)"])
        case ["SENTINEL", "MASTER"]: list(["name", "mymaster", "config-epoch", "\(state.epoch)"])
        case ["SENTINEL", "SENTINELS"]: "*\(state.others.count)\r\n" + state.others.map { list(["ip", "127.0.0.1", "port", "\($0)"]) }.joined()
        case ["SUBSCRIBE", "+switch-master"]: "*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n"
        case ["PING"]: "+PONG\r\n"
        default: "-ERR unknown command\r\n"
        }
    }
}

/// A node of a cluster that says what a test wants.
final class FakeNode: Sendable {
    private struct State {
        var slots = "*0\r\n"
        var questions = 0
        var commands: [[String]] = []
    }

    private final class Shared: Sendable {
        let state = Mutex(State())
    }

    private let shared = Shared()
    private let server: FakeServer
    var port: Int { server.port }

    /// - Parameter reply: to what is not part of a connection's beginning, nor asked for the map.
    init(_ reply: @escaping @Sendable (_ command: [String], _ port: Int) -> String) throws {
        server = try FakeServer { [shared] connection in
            let port = connection.socket.port
            while let command = connection.readCommand() {
                switch command {
                case ["CLUSTER", "INFO"]: connection.write("+cluster_state:ok\r\n")
                case ["CLUSTER", "SLOTS"]:
                    let slots = shared.state.withLock { state in
                        state.questions += 1
                        return state.slots
                    }
                    connection.write(slots)
                default:
                    if let greeting = redisGreeting(command) {
                        connection.write(greeting)
                    } else {
                        shared.state.withLock { $0.commands.append(command) }
                        connection.write(reply(command, port))
                    }
                }
            }
        }
        own(port: port)
    }

    /// From now on it says that all slots are there.
    func own(host: String = "127.0.0.1", port: Int) {
        let entry = "*3\r\n:0\r\n:16383\r\n*2\r\n$\(host.utf8.count)\r\n\(host)\r\n:\(port)\r\n"
        shared.state.withLock { $0.slots = "*1\r\n" + entry }
    }

    func forgetSlots() { shared.state.withLock { $0.slots = "*0\r\n" } }

    /// How often it was asked for the map.
    var questions: Int { shared.state.withLock { $0.questions } }

    /// What it was sent beside what every connection begins with.
    var commands: [[String]] { shared.state.withLock { $0.commands } }
    func stop() { server.stop() }
}
