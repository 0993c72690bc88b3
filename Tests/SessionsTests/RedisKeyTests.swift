// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import TestSupport
import Testing

@Suite("Keys in Redis")
struct RedisKeyTests {
    private static let prefix = StoreWorld.prefix

    @Test(
        "are named as other programs expect them: escaped with capital digits, the user in braces",
        arguments: [
            (UserID(name: "alice"), "{alice}"), (UserID(namespace: "idp", name: "alice"), "{idp/alice}"),
            (UserID(name: "idp/alice"), "{idp%2Falice}"),
            (UserID(name: "A-z_0.9@x"), "{A-z_0.9@x}"), (UserID(name: "{a}:*~ "), "{%7Ba%7D%3A%2A%7E%20}"), (UserID(name: "%2f"), "{%252f}"),
            (UserID(name: "J\u{f6}\n"), "{J%C3%B6%0A}"), (UserID(namespace: "a/b", name: "c/d"), "{a%2Fb/c%2Fd}"), (UserID(name: "\0"), "{%00}"),
        ])
    func names(user: UserID, tag: String) async throws {
        try await StoreWorld.run(.redis) { world in
            let redis = try #require(world.redis), now = systemTime()
            try await world.login("s/1", of: user, at: now)
            try await world.store.revoke("r1", of: user, until: now + 60_000, now: now)
            try await world.login("s2", of: user, at: now)
            _ = try await world.logout("s/1", of: user, at: now)
            var audit = try KeyAudit(redis)
            #expect(audit["sessions:\(tag)"]?.contents == ["s2"])
            #expect(audit["session:\(tag):s%2F1"]?.type == "hash" && audit["session:\(tag):s2"]?.type == "hash")
            #expect(audit["revoked:\(tag)"]?.contents == ["r1"])
            _ = try await world.logoutAll(of: user, issued: RevokedBefore(moment: now / 1000, until: now + 60_000), at: now)
            audit = try KeyAudit(redis)
            #expect(audit["sessions:\(tag)"] == nil)
            #expect(audit["revoked_before:\(tag)"]?.contents == ["\(now / 1000)"])
            #expect(audit["logouts:\(tag)"]?.type == "zset" && audit["logouts:\(tag)"]?.contents.count == 1)
            #expect(audit.names.allSatisfy { $0.contains(tag) }, "\(audit.names)")
        }
    }

    @Test("of a user are all in one slot of a cluster, and users are spread over its slots")
    func slots() async throws {
        try await StoreWorld.run(.clusterNode) { world in
            let redis = try #require(world.redis), now = systemTime()
            var all: Set<Int> = []
            for user in [UserID(name: "alice"), UserID(namespace: "idp", name: "alice"), UserID(name: "a}{b"), UserID(name: "J\u{f6}rg/ {x}")] {
                try redis.command("FLUSHALL")
                try await world.login("s{1}", of: user, at: now)
                try await world.login("s}2", of: user, at: now)
                try await world.store.revoke("r1", of: user, until: now + 60_000, now: now)
                _ = try await world.logoutAll(of: user, issued: RevokedBefore(moment: 1, until: now + 60_000), at: now)
                try await world.login("s3", of: user, at: now)
                let names = try KeyAudit(redis).keys.map(\.name)
                let slots = Set(try names.map { try redis.command("CLUSTER", "KEYSLOT", $0).number })
                #expect(names.count == 10 && slots.count == 1, "\(names)")
                all.formUnion(slots.compactMap(\.self))
            }
            #expect(all.count == 4)
        }
    }

    @Test("hold of a session what the contract says, in its spelling: times in milliseconds, hashes as they are, and nothing else")
    func record() async throws {
        try await StoreWorld.run(.redis) { world in
            let redis = try #require(world.redis), now = systemTime(), lifetime = SessionRules.usual.refreshLifetime
            try await world.login("s1", at: now)
            _ = try await world.refresh("s1", "first", to: "second", at: now + 1)
            _ = try await world.logout("s1", at: now + 2)
            #expect(
                try redis.fields("session:{alice}:s1") == [
                    "created_at": "\(now)", "last_seen_at": "\(now + 1)", "expires_at": "\(now + 1 + lifetime)", "ip": "192.0.2.1",
                    "user_agent": "browser", "device": "phone", "claims": #"{"role":"x"}"#, "refresh_hash": "second", "previous_hash": "first",
                    "rotated_at": "\(now + 1)", "revoked_at": "\(now + 2)", "revoke_reason": "logout",
                ])
            #expect(try await world.register("s2", until: now + 60_000, at: now) == .registered)
            #expect(try redis.fields("session:{alice}:s2") == ["created_at": "\(now)", "expires_at": "\(now + 60_000)"])
        }
    }

    @Test("hold no refresh token that a client could show: only the hashes that the store was given")
    func noTokens() async throws {
        try await StoreWorld.run(.redis) { world in
            let redis = try #require(world.redis), now = systemTime()
            try await world.login("s1", hash: "HASH-1", at: now)
            _ = try await world.refresh("s1", "HASH-1", to: "HASH-2", at: now)
            _ = try await world.refresh("s1", "HASH-1", to: "HASH-3", at: now + 1)
            _ = try await world.refresh("s1", "HASH-4", to: "HASH-5", proven: false, at: now + 1)
            _ = try await world.refresh("s1", "HASH-6", to: "HASH-7", at: now + 1)
            let found = try KeyAudit(redis).keys.flatMap { [$0.name] + $0.contents }.filter { $0.contains("HASH") }
            #expect(found.sorted() == ["HASH-1", "HASH-2"], "what was only presented, or offered in vain, is nowhere")
        }
    }

    // MARK: How long they live

    @Test("of a user live as long as their longest entry, and no shorter one takes of that")
    func lives() async throws {
        try await StoreWorld.run(.redis) { world in
            let redis = try #require(world.redis), now = systemTime(), retain = Int(SessionRules.usual.retainRevoked)
            let minute = 60_000, base = Int(now)
            for (session, end) in [("s1", 10), ("s2", 30), ("s3", 20)] {
                #expect(try await world.register(session, until: now + Int64(end * minute), at: now) == .registered)
            }
            var audit = try KeyAudit(redis)
            #expect(audit["sessions:{alice}"]?.expiresAt == base + 30 * minute)
            for key in ["ends:{alice}", "begins:{alice}"] { #expect(audit[key]?.expiresAt == base + 30 * minute) }
            #expect(audit["records:{alice}"]?.expiresAt == base + 30 * minute + retain)
            #expect(audit["session:{alice}:s1"]?.expiresAt == base + 10 * minute + retain)
            #expect(audit["session:{alice}:s2"]?.expiresAt == base + 30 * minute + retain)

            _ = try await world.logout("s1", at: now + 5)
            try await world.store.revoke("r1", of: StoreWorld.user, until: now + 900_000, now: now)
            try await world.store.revoke("r2", of: StoreWorld.user, until: now + 600_000, now: now)
            audit = try KeyAudit(redis)
            #expect(audit["session:{alice}:s1"]?.expiresAt == base + 5 + retain)
            #expect(audit["sessions:{alice}"]?.expiresAt == base + 30 * minute)
            #expect(audit["revoked:{alice}"]?.expiresAt == base + 900_000)

            _ = try await world.logoutAll(issued: RevokedBefore(moment: now / 1000, until: now + 900_000), at: now + 6)
            _ = try await world.logoutAll(issued: RevokedBefore(moment: now / 1000 + 1, until: now + 600_000), at: now + 7)
            audit = try KeyAudit(redis)
            #expect(audit["revoked_before:{alice}"]?.expiresAt == base + 900_000)
            #expect(audit["revoked_before:{alice}"]?.contents == ["\(now / 1000 + 1)"])
            #expect(audit["records:{alice}"]?.expiresAt == base + 6 + retain, "what ended then is told no longer than that")
            #expect(audit["logouts:{alice}"]?.expiresAt == base + 30 * minute + retain, "as long as there are records that it concerns")
            #expect(audit["ends:{alice}"] == nil && audit["begins:{alice}"] == nil)
        }
    }

    @Test("grow older with a refresh")
    func refreshed() async throws {
        try await StoreWorld.run(.redis) { world in
            let redis = try #require(world.redis), now = systemTime(), later = now + 86_400_000
            try await world.login("s1", at: now)
            _ = try await world.refresh("s1", "first", to: "second", at: later)
            let audit = try KeyAudit(redis), end = Int(later + SessionRules.usual.refreshLifetime)
            #expect(audit["sessions:{alice}"]?.expiresAt == end)
            #expect(audit["session:{alice}:s1"]?.expiresAt == end + Int(SessionRules.usual.retainRevoked))
        }
    }

    @Test("that another program made without an end are left without one")
    func foreign() async throws {
        try await withRedisServer { redis in
            try await StoreWorld.run(on: redis) { world in
                let now = systemTime()
                try redis.command("SADD", "\(Self.prefix)sessions:{alice}", "theirs")
                try redis.command("SADD", "\(Self.prefix)revoked:{alice}", "theirs")
                try redis.command("SET", "\(Self.prefix)revoked_before:{alice}", "5")
                try await world.login("s1", at: now)
                _ = try await world.refresh("s1", "first", to: "second", at: now)
                #expect(try await world.register("s2", until: now + 60_000, at: now) == .registered)
                _ = try await world.logout("s1", at: now)
                try await world.store.revoke("r1", of: StoreWorld.user, until: now + 60_000, now: now)
                var audit = try KeyAudit(redis)
                for key in ["sessions:{alice}", "revoked:{alice}"] { #expect(audit[key]?.expiresAt == -1 && audit[key]?.contents.count == 2) }
                _ = try await world.logoutAll(issued: RevokedBefore(moment: 7, until: now + 60_000), at: now)
                audit = try KeyAudit(redis)
                #expect(audit["revoked_before:{alice}"]?.expiresAt == -1 && audit["revoked_before:{alice}"]?.contents == ["7"])
            }
        }
    }

    @Test("are gone, all of them, when everything is over, but for what a repeated logout writes: that a minute later")
    func gone() async throws {
        try await withRedisServer { redis in
            try await StoreWorld.run(on: redis) { world in
                let now = systemTime(), end = now + 1000
                let rules = SessionRules.usual.with {
                    $0.sessionLifetime = 1000
                    $0.retainRevoked = 300
                }
                for session in ["s1", "s2", "s3"] { try await world.login(session, rules: rules, at: now) }
                _ = try await world.refresh("s1", "first", to: "second", rules: rules, at: now)
                _ = try await world.logout("s2", rules: rules, at: now)
                _ = try await world.logoutAll(issued: RevokedBefore(moment: 1, until: end), rules: rules, at: now)
                try await world.login("s4", rules: rules, at: now)
                try await world.store.revoke("r1", of: StoreWorld.user, until: end, now: now)
                let window = AttemptRules(limit: 30, window: 300)
                for key in ["failed", "running"] { #expect(try await world.begin("1", under: key, rules: window) == .admitted) }
                try await world.end("1", under: "failed", failed: true, rules: window)
                var left: [KeyAudit.Key] = []
                try await eventually("nothing is left") {
                    left = try KeyAudit(redis).keys
                    return left.allSatisfy { $0.name == "\(Self.prefix)logouts:{alice}" }
                }
                #expect(left.allSatisfy { $0.expiresAt == Int(now) + 60_000 && $0.contents == ["\(now):logout_all"] })
            }
        }
    }
}

extension RedisServer {
    /// A hash under the prefix.
    func fields(_ name: String) throws -> [String: String] {
        let parts = try command("HGETALL", StoreWorld.prefix + name).strings
        return Dictionary(uniqueKeysWithValues: stride(from: 0, to: parts.count, by: 2).map { (parts[$0], parts[$0 + 1]) })
    }
}
