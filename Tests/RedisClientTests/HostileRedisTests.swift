// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import RedisClient

@Suite("A hostile Redis")
struct HostileRedisTests {
    /// A server that shakes hands properly, reads one command, says this, and waits.
    private func server(saying text: String) throws -> FakeServer {
        try FakeServer { connection in
            guard connection.greet() else { return }
            guard connection.readCommand() != nil else { return }
            connection.write(text)
            connection.waitForEnd()
        }
    }

    @Test(
        "what no Redis says closes the connection, and the command fails as sent",
        arguments: [
            "*2147483647\r\n", "*-2\r\n", "$-5\r\n", "*4611686018427387904\r\n", "$67108865\r\n", String(repeating: "*1\r\n", count: 8), "garbage",
            "\r\n",
            "%1\r\n", ":1x\r\n", String(repeating: "*1048576\r\n", count: 5),
        ])
    func violations(_ text: String) async throws {
        let server = try server(saying: text)
        defer { server.stop() }
        let told = Told()
        try await withClient(.local(server.port), told: told) { client in
            #expect(await client.outcome("GET", "x") == .failure(.protocolViolation(wasSent: true)))
            try await eventually("connected anew") { server.acceptedConnections >= 2 }
            #expect(told.warnings.first?.hasPrefix("Redis is not available protocol violation") == true)
        }
    }

    @Test(
        "an announced reply that never comes whole ends with the deadline", arguments: ["$1000\r\nabc", "*3\r\n:1\r\n", "+OK", "*7\r\n*7\r\n*7\r\n"])
    func unfinished(_ text: String) async throws {
        let server = try server(saying: text)
        defer { server.stop() }
        try await withClient(.local(server.port, commandTimeout: .milliseconds(200))) { client in
            try await eventually("connected") { client.isConnected }
            #expect(await client.outcome("GET", "x") == .failure(.timedOut(wasSent: true)))
        }
    }

    @Test("a second reply to one command closes the connection before it can be taken for the next one's")
    func unsolicited() async throws {
        let server = try server(saying: ":1\r\n:0\r\n")
        defer { server.stop() }
        let told = Told()
        try await withClient(.local(server.port), told: told) { client in
            #expect(await client.outcome("SISMEMBER", "set", "a") == .reply(.integer(1)))
            try await eventually("the connection is given up") { server.acceptedConnections >= 2 }
            #expect(told.warnings == ["Redis is not available protocol violation: a reply that nobody asked for"])
        }
    }

    @Test("a reply that cannot be one to its command fails it and closes the connection, so that the next one's is not taken for another's")
    func impossible() async throws {
        let server = try FakeServer { connection in
            guard connection.greet() else { return }
            guard connection.readCommand() != nil, connection.readCommand() != nil else { return }
            connection.write("+more\r\n:0\r\n:1\r\n")
            connection.waitForEnd()
        }
        defer { server.stop() }
        let told = Told()
        try await withClient(.local(server.port), told: told) { client in
            let outcomes = Mutex<[RedisOutcome]>([])
            client.onLoop {
                for _ in 1...2 {
                    client.send(RedisCommand("SISMEMBER", "set", "a"), Number { outcome in outcomes.withLock { $0.append(outcome) } })
                }
            }
            try await eventually("both have ended") { outcomes.withLock { $0.count } == 2 }
            #expect(outcomes.withLock { $0 } == [.failure(.protocolViolation(wasSent: true)), .failure(.protocolViolation(wasSent: true))])
            #expect(told.warnings == ["Redis is not available protocol violation: a reply that cannot be one to its command"])
        }
    }

    /// Waits for a number.
    private final class Number: RedisRequest {
        private let completion: (RedisOutcome) -> Void

        init(_ completion: @escaping (RedisOutcome) -> Void) {
            self.completion = completion
            super.init()
        }

        override func redisCompleted(_ outcome: RedisOutcome) { completion(outcome) }
        override func accepts(_ reply: RedisReply) -> Bool { reply.integer != nil }
    }

    @Test("a reply on an idle connection closes it")
    func chatty() async throws {
        let server = try FakeServer { connection in
            guard connection.greet() else { return }
            connection.write("+hello\r\n")
            connection.waitForEnd()
        }
        defer { server.stop() }
        try await withClient(.local(server.port)) { client in
            try await eventually("made and given up") { server.acceptedConnections >= 3 }
            #expect(client.status.connections >= 2)
        }
    }

    @Test("a connection that is reset in the middle of a reply fails its command")
    func reset() async throws {
        let server = try FakeServer { connection in
            guard connection.greet() else { return }
            _ = connection.readCommand()
            connection.write("$10\r\nab")
            connection.reset()
        }
        defer { server.stop() }
        try await withClient(.local(server.port)) { client in
            #expect(await client.outcome("GET", "x") == .failure(.unavailable(wasSent: true)))
        }
    }
}
