// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import RedisClient
import Sessions
import Synchronization
import TestSupport
import Testing

@testable import RedisSessions

@Suite("Gateways that Redis lists")
struct FleetScriptTests {
    @Test("one whose heartbeat is gone is left out, and counts as lost from then on: it may still act")
    func lost() async throws {
        try await withRedisServer { redis in
            try await StoreWorld.run(on: redis, staleness: .seconds(600)) { world in
                let store = try #require(world.store as? RedisSessionStore), edges = "\(StoreWorld.prefix)edges"
                let run = String(try #require(store.fleet.leases.first).serverID, radix: 36)
                func list() async throws -> (undisturbed: Int64, count: Int) {
                    let reply = try await store.connections.run(
                        FleetScripts.list, keys: [Array(edges.utf8)], arguments: [Array("\(StoreWorld.prefix)edge:".utf8), Array(run.utf8)])
                    let elements = try #require(reply.first?.elements)
                    return (try #require(elements.first?.integer), elements.count - 1)
                }
                let before = try await list()
                #expect(before.undisturbed > 60_000 && before.count == 1)
                try redis.command("SADD", edges, "lost")
                #expect(try await list() == (0, 1))
                let after = try await list()
                #expect(after.undisturbed < before.undisturbed && after.count == 1)
                // The mark of this run is there once.
                let members = try #require(try redis.command("SMEMBERS", edges).elements).compactMap(\.text)
                #expect(members.filter { $0.hasPrefix("@\(run):") }.count == 1 && members.contains("@\(run)"))
            }
        }
    }

    @Test("FLUSHALL is told to every loop, where nothing that was confirmed before lets anybody pass then")
    func flushed() async throws {
        try await withRedisServer { redis in
            try await StoreWorld.run(on: redis, staleness: .seconds(600)) { world in
                let told = Told()
                try await world.onLoop { $0.onFlush = { told.count.withLock { $0 += 1 } } }
                try redis.command("SET", "\(StoreWorld.prefix)sessions:odd", "x")
                try redis.command("FLUSHALL")
                try await eventually("it is told") { told.count.withLock { $0 == 1 } }
            }
        }
    }

    private final class Told: Sendable {
        let count = Mutex(0)
    }
}
