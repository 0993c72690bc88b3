// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import TestSupport
import Testing

/// WAIT counts what its own connection has written last: a logout that writes nothing would be taken for replicated.
@Suite("A logout that is repeated")
struct RepeatedEndingTests {
    /// How much has been written so far, by everybody; heartbeats are far apart.
    private func changes(_ redis: RedisServer) throws -> Int {
        let line = try redis.command("INFO", "persistence").text?.split(whereSeparator: \.isNewline).first {
            $0.hasPrefix("rdb_changes_since_last_save:")
        }
        return try #require(line.flatMap { Int($0.drop { $0 != ":" }.dropFirst()) })
    }

    @Test("writes something, also where nothing is told of what has ended")
    func writes() async throws {
        try await withRedisServer { redis in
            try redis.command("CONFIG", "SET", "save", "")
            try await StoreWorld.run(on: redis, staleness: .seconds(600)) { world in
                let now = systemTime(), rules = SessionRules.usual.with { $0.retainRevoked = 0 }
                try await world.login("s1", rules: rules, at: now)
                #expect(try await world.logout("s1", rules: rules, at: now) == .ended)
                var before = try changes(redis)
                #expect(try await world.logout("s1", rules: rules, at: now) == .unknown)
                #expect(try changes(redis) > before)

                try redis.command("SADD", "\(StoreWorld.prefix)sessions:{alice}", "s2")
                #expect(try await world.logoutAll(rules: rules, at: now) == 1)
                before = try changes(redis)
                #expect(try await world.logoutAll(rules: rules, at: now) == 0)
                #expect(try changes(redis) > before)

                try redis.command("SADD", "\(StoreWorld.prefix)revoked:{alice}", "r1")
                before = try changes(redis)
                try await world.store.revoke("r1", of: StoreWorld.user, until: now + 60_000, now: now)
                #expect(try changes(redis) > before)
                try await world.expect(.revoked, "r1", kind: .revocable, issuedAt: .max)
                #expect(try redis.command("PTTL", "\(StoreWorld.prefix)revoked:{alice}") == .integer(-1))
            }
        }
    }
}
