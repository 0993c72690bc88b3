// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import TestSupport
import Testing

@testable import RedisClient

@Suite("A primary that Sentinels name", .serialized)
struct SentinelTests {
    private let unavailable = RedisOutcome.failure(.unavailable(wasSent: false))

    private func write(_ connections: RedisConnections, _ key: String = "key") async -> RedisOutcome {
        await connections.outcome("INCR", key, key: key)
    }

    @Test("is found by the very first command, which waits for it; username, password and database are the data's alone")
    func first() async throws {
        try await withRedisServer(password: "word") { redis in
            let sentinel = try FakeSentinel(primary: redis.port)
            defer { sentinel.stop() }
            try await withConnections(
                .sentinels(sentinel.port), .local(0, password: "word", database: 2, connectTimeout: .seconds(20), commandTimeout: .seconds(20))
            ) { connections in
                #expect(await write(connections) == .reply(.integer(1)))
                #expect(connections.isConnected && connections.wasEverConnected)
                #expect(connections.status.nodes.map(\.primary.address) == [.loopback(redis.port)])
                try await eventually("it listens") { sentinel.listeners == 1 }
                #expect(!sentinel.commands.contains { ["AUTH", "SELECT"].contains($0.first) })
            }
        }
    }

    @Test("is none while it says itself that it is a replica, and is used as soon as it is a primary")
    func liar() async throws {
        try await withRedisServer(["--replicaof", "127.0.0.1 1"]) { redis in
            let sentinel = try FakeSentinel(primary: redis.port)
            defer { sentinel.stop() }
            let told = Told()
            try await withConnections(.sentinels(sentinel.port), told: told) { connections in
                #expect(await write(connections) == unavailable)
                #expect(connections.topology.primaries.nodes.isEmpty)
                #expect(told.warnings == ["Redis primaries cannot be found who is named does not answer as a primary"])
                try redis.command("REPLICAOF", "NO", "ONE")
                try await eventually("found") { connections.isConnected }
                #expect(await write(connections) == .reply(.integer(1)))
            }
        }
    }

    @Test("is looked for until a Sentinel is there; meanwhile commands fail at once")
    func late() async throws {
        try await withRedisServer { redis in
            let port = try freePort()
            let told = Told()
            try await withConnections(.sentinels(port), told: told) { connections in
                #expect(await write(connections) == unavailable)
                #expect(await write(connections) == unavailable)
                #expect(!connections.isConnected && told.warnings == ["Redis primaries cannot be found no sentinel answers"])
                let sentinel = try FakeSentinel(primary: redis.port, port: port)
                defer { sentinel.stop() }
                try await eventually("found") { connections.isConnected }
                #expect(await write(connections) == .reply(.integer(1)))
            }
        }
    }

    @Test("gives way at once to another when a Sentinel announces it, though it says that it is a primary, too")
    func announced() async throws {
        try await withTwo { old, new, sentinel, connections in
            sentinel.name(new.port, epoch: 2)
            sentinel.publish(name: "another")
            #expect(await write(connections) == .reply(.integer(2)), "that was about another one")
            sentinel.publish()
            try await eventually("switched") { try await connections.serverID("key") == new.serverID() }
            #expect(await write(connections) == .reply(.integer(1)))
            #expect(try old.command("GET", "key") == .text("2"))
            try await eventually("the old one's connection is closed") {
                try old.command("CLIENT", "LIST").text?.split(separator: "\n").count == 1
            }
            #expect(connections.topology.primaries.generation == 2)
        }
    }

    @Test("that has come back after the Sentinels have named another is not connected to again, though nobody has announced it")
    func cameBack() async throws {
        for _ in 0..<max(rounds, 3) {
            try await withTwo { old, new, sentinel, connections in
                sentinel.name(new.port, epoch: 2)
                try old.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                try await eventually("switched") {
                    if case .reply(let reply) = await write(connections) { #expect(reply != .integer(3)) }
                    return try await connections.serverID("key") == new.serverID()
                }
                let kept = try old.command("GET", "key")
                #expect([.text("1"), .text("2")].contains(kept), "at most what was sent before the connection was lost")
            }
        }
    }

    @Test("that was lost is connected to again while no Sentinel answers")
    func alone() async throws {
        try await withTwo { old, _, sentinel, connections in
            sentinel.stop()
            try old.command("CLIENT", "KILL", "TYPE", "normal")
            try await eventually("connected again", within: .seconds(20)) {
                let outcome = await write(connections)
                return !outcome.isFailure
            }
            #expect(try await connections.serverID("key") == old.serverID())
        }
    }

    @Test("that has become a replica is not written to or read from; who is named instead is found without an announcement")
    func demoted() async throws {
        try await withTwo { old, new, sentinel, connections in
            try old.command("REPLICAOF", "127.0.0.1", "1")
            sentinel.name(new.port, epoch: 2)
            guard case .reply(let refusal) = await write(connections) else {
                Issue.record("no reply")
                return
            }
            #expect(refusal.errorCode == "READONLY")
            try await eventually("switched") { try await connections.serverID("key") == new.serverID() }
        }
    }

    @Test("is still heard of when some Sentinels are gone, also by such as only another one has named")
    func learned() async throws {
        try await withRedisServer { old in
            try await withRedisServer { new in
                let (first, second) = (try FakeSentinel(primary: old.port), try FakeSentinel(primary: old.port))
                defer {
                    first.stop()
                    second.stop()
                }
                first.introduce(second.port)
                try await withConnections(.sentinels(first.port)) { connections in
                    try await eventually("both are listened to") { first.listeners == 1 && second.listeners == 1 && connections.isConnected }
                    first.stop()
                    second.name(new.port, epoch: 2)
                    second.publish()
                    try await eventually("switched") { try await connections.serverID("key") == new.serverID() }
                }
            }
        }
    }

    /// Two primaries, the first of which a Sentinel names and commands are sent to: `key` is 1 there.
    private func withTwo(_ body: (RedisServer, RedisServer, FakeSentinel, RedisConnections) async throws -> Void) async throws {
        try await withRedisServer { old in
            try await withRedisServer { new in
                let sentinel = try FakeSentinel(primary: old.port)
                defer { sentinel.stop() }
                try await withConnections(.sentinels(sentinel.port)) { connections in
                    try await eventually("connected") { connections.isConnected }
                    #expect(await write(connections) == .reply(.integer(1)))
                    try await eventually("it listens") { sentinel.listeners == 1 }
                    try await body(old, new, sentinel, connections)
                }
            }
        }
    }
}
