// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import TestSupport
import Testing

extension EverySessionStore {
    @Suite("Logout tokens")
    struct LogoutTokens {
        private static let issuer = "https://idp.example"

        private static func use(
            _ token: String, of issuer: String = issuer, until end: UnixMilliseconds? = nil, in world: StoreWorld
        ) async throws -> Bool {
            let now = systemTime()
            return try await world.store.use(logoutToken: token, of: issuer, until: end ?? now + 600_000, now: now)
        }

        private static func hasUsed(_ token: String, of issuer: String = issuer, in world: StoreWorld) async throws -> Bool {
            try await world.store.hasUsed(logoutToken: token, of: issuer, now: systemTime())
        }

        @Test("are used once each, and asking uses none", arguments: StoreKind.allCases)
        func once(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                for _ in 0..<2 {
                    let used = try await Self.hasUsed("t1", in: world)
                    #expect(!used)
                }
                #expect(try await Self.use("t1", in: world))
                for _ in 0..<2 {
                    #expect(try await Self.hasUsed("t1", in: world))
                    #expect(try await !Self.use("t1", in: world))
                }
                #expect(try await !Self.hasUsed("t2", in: world))
            }
        }

        @Test("of two issuers are two, whatever is in their names", arguments: StoreKind.allCases)
        func issuers(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let names = [
                    ("a", "b:c"), ("a:b", "c"), ("a%3Ab", "c"), ("A", "b:c"), ("a", "b:C"), ("a{b}", "c"), ("caf\u{E9}", "x"), ("cafe\u{301}", "x"),
                ]
                for (issuer, token) in names {
                    let used = try await Self.hasUsed(token, of: issuer, in: world)
                    #expect(!used, "\(issuer) \(token)")
                    #expect(try await Self.use(token, of: issuer, in: world), "\(issuer) \(token)")
                }
                for (issuer, token) in names { #expect(try await Self.hasUsed(token, of: issuer, in: world)) }
            }
        }

        @Test("that many use at once tell one of them that it was the first", arguments: StoreKind.allCases)
        func atOnce(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                for round in 0..<20 {
                    let first = try await withThrowingTaskGroup(of: Bool.self) { tasks in
                        for _ in 0..<8 { tasks.addTask { try await Self.use("t\(round)", in: world) } }
                        return try await tasks.reduce(0) { $0 + ($1 ? 1 : 0) }
                    }
                    #expect(first == 1)
                }
            }
        }

        @Test("are forgotten when nobody would accept them any more, and not before", arguments: StoreKind.allCases)
        func forgotten(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let end = systemTime() + 700
                #expect(try await Self.use("t1", until: end, in: world))
                let used = try await Self.hasUsed("t1", in: world)
                #expect(used || systemTime() >= end)
                try await eventually("it is forgotten") { try await !Self.hasUsed("t1", in: world) }
                // Redis counts from when it was told, which is never before the gateway counted.
                #expect(systemTime() >= end)
                #expect(try await Self.use("t1", in: world))
            }
        }

        @Test("stand under the prefix, encoded, and end by themselves")
        func key() async throws {
            try await StoreWorld.run(.redis) { world in
                let redis = try #require(world.redis), end = systemTime() + 60_000
                #expect(try await Self.use("a/b{c}:*", until: end, in: world))
                let audit = try KeyAudit(redis)
                #expect(audit.names == ["jti:https%3A%2F%2Fidp.example:a%2Fb%7Bc%7D%3A%2A"])
                let expiresAt = try #require(audit.keys.first?.expiresAt)
                #expect((Int(end) - 1...Int(systemTime()) + 60_000).contains(expiresAt))
            }
        }

        @Test("are neither used nor unused for a Redis that answers something else")
        func odd() async throws {
            try await withRedisServer { redis in
                try await StoreWorld.run(on: redis) { world in
                    try redis.command("CONFIG", "SET", "maxmemory", "1")
                    // A read goes on; a write is refused, and nothing is said to have been used.
                    #expect(try await !Self.hasUsed("t1", in: world))
                    await #expect(throws: StoreUnavailable.self) { try await Self.use("t1", in: world) }
                    try redis.command("CONFIG", "SET", "maxmemory", "0")
                    #expect(try await Self.use("t1", in: world))
                    redis.kill()
                    await #expect(throws: StoreUnavailable.self) { try await Self.hasUsed("t1", in: world) }
                    await #expect(throws: StoreUnavailable.self) { try await Self.use("t1", in: world) }
                }
            }
        }
    }
}
