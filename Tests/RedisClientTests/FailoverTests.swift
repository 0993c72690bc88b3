// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import RedisClient

@Suite("Failovers by real Sentinels", .serialized)
struct FailoverTests {
    /// Adds members one after the other, each with the confirmation of both replicas, and remembers which were confirmed: the one that becomes
    /// the primary may be another than the only one that has confirmed.
    private final class Writer: Sendable {
        private let state = Mutex((confirmed: [String](), failed: 0, servers: Set<UInt64>()))
        private let script = RedisScript("return redis.call('SADD', KEYS[1], ARGV[1])")

        var confirmed: [String] { state.withLock { $0.confirmed } }
        var failed: Int { state.withLock { $0.failed } }

        func run(_ connections: RedisConnections) async {
            var number = 0
            while !Task.isCancelled {
                number += 1
                let member = "\(number)"
                let replies = try? await connections.run(
                    script, keys: [Array("set".utf8)], arguments: [Array(member.utf8)], then: [RedisCommand("WAIT", "2", "100")])
                let isConfirmed = replies?.first == .integer(1) && (replies?.last?.integer ?? 0) >= 2
                state.withLock { if isConfirmed { $0.confirmed.append(member) } else { $0.failed += 1 } }
                // An outage is no reason to spin.
                if isConfirmed { await Task.yield() } else { try? await Task.sleep(for: .milliseconds(2)) }
            }
        }
    }

    private func withLoad(_ body: (SentinelRedis, RedisConnections, Writer) async throws -> Void) async throws {
        try await withSentinelRedis { redis in
            let addresses = redis.sentinels.map { RedisConfiguration.Address.loopback($0.port) }
            let configuration = RedisConfiguration.local(0, connectTimeout: .seconds(1), commandTimeout: .milliseconds(500))
            try await withConnections(.sentinel(addresses, primary: redis.name), configuration) { connections in
                let writer = Writer()
                let task = Task { await writer.run(connections) }
                defer { task.cancel() }
                try await eventually("writes are confirmed") { writer.confirmed.count > 20 }
                try await body(redis, connections, writer)
                task.cancel()
                await task.value
                let primary = try #require(try redis.primary())
                let lost = try Set(writer.confirmed).subtracting((primary.command("SMEMBERS", "set").elements ?? []).compactMap(\.text))
                #expect(lost.isEmpty, "of \(writer.confirmed.count) confirmed writes")
            }
        }
    }

    @Test("a killed primary's successor is used as soon as it is named, and nothing that was confirmed is lost")
    func killed() async throws {
        try await withLoad { redis, connections, writer in
            for _ in 0..<rounds {
                let old = try #require(try redis.primary())
                old.kill()
                let new = try await redis.waitForFailover(from: old)
                let named = ContinuousClock.now
                try await eventually("the new one is used") { try await connections.serverID("set") == new.serverID() }
                #expect(ContinuousClock.now - named < .seconds(1))
                // Empty, and as a primary, the others might take that from it, and be named next: what Redis warns of.
                try await old.restart(asReplicaOf: new)
                try await redis.waitUntilWhole()
                let before = writer.confirmed.count
                try await eventually("writes are confirmed again") { writer.confirmed.count > before + 20 }
                // On a busy machine the Sentinels may have named yet another one by now.
                try await eventually("what the Sentinels name is used", within: .seconds(30)) {
                    guard let named = try redis.primary() else { return false }
                    return try await connections.serverID("set") == named.serverID()
                }
            }
        }
    }

    @Test("a failover on command costs writes for a moment, and the old primary is not written to any more")
    func onCommand() async throws {
        try await withLoad { redis, connections, writer in
            for _ in 0..<rounds {
                let old = try #require(try redis.primary())
                try await redis.failOver()
                let new = try await redis.waitForFailover(from: old)
                try await eventually("the new one is used") { try await connections.serverID("set") == new.serverID() }
                // The Sentinels take their time to make a replica of the old one.
                try await redis.waitUntilWhole()
                let before = writer.confirmed.count
                try await eventually("writes are confirmed again") { writer.confirmed.count > before + 20 }
            }
        }
    }

    @Test("one Sentinel that hangs and one that is gone delay nothing for long")
    func hanging() async throws {
        try await withLoad { redis, connections, writer in
            let primary = try #require(try redis.primary())
            redis.sentinels[1].pause()
            redis.sentinels[2].kill()
            try primary.command("CLIENT", "KILL", "TYPE", "normal")
            let before = writer.confirmed.count
            try await eventually("writes are confirmed again", within: .seconds(5)) { writer.confirmed.count > before + 20 }
            redis.sentinels[1].resume()
        }
    }
}
