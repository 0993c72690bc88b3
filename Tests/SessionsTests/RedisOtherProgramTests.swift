// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import TestSupport
import Testing

@Suite("Other programs at the same Redis")
struct RedisOtherProgramTests {
    private static let sessions = "\(StoreWorld.prefix)sessions:{alice}"

    @Test("end one session with SREM and all with DEL, at once")
    func end() async throws {
        try await StoreWorld.run(.redis) { world in
            let redis = try #require(world.redis), now = systemTime()
            for session in ["s1", "s2", "s3"] { try await world.login(session, at: now) }
            #expect(try redis.command("SREM", Self.sessions, "s1") == .integer(1))
            try await world.expect(.revoked, "s1")
            try await world.expect(.active, "s2")
            #expect(try await world.refresh("s1", "first", to: "second", at: now) == .ended)
            #expect(try await world.register("s1", until: now + 60_000, at: now) == .revokedBefore)
            #expect(try await world.list(at: now).map(\.summary) == ["s3", "s2", "s1 ?"])
            #expect(try await world.list(at: now).last?.revokedAt == nil)
            #expect(try await world.logout("s1", at: now) == .endedBefore)
            #expect(try redis.command("DEL", Self.sessions) == .integer(1))
            for session in ["s1", "s2", "s3"] {
                try await world.expect(.revoked, session)
                #expect(try await world.refresh(session, "first", to: "second", at: now) == .ended)
            }
            #expect(try await world.list(at: now).map(\.summary) == ["s3 ?", "s2 ?", "s1 ?"])
            #expect(try await world.logoutAll(at: now) == 0)
        }
    }

    @Test("begin a session with SADD: it is active, listed without times, and ends like any other")
    func begin() async throws {
        try await withRedisServer { redis in
            try await StoreWorld.run(on: redis) { world in
                let now = systemTime()
                try redis.command("SADD", Self.sessions, "s1", "s2")
                try await world.expect(.active, "s1")
                let expected = ["s1", "s2"].map { SessionRecord(session: $0, user: StoreWorld.user) }
                let listed = try await world.list(at: now).sorted { $0.session < $1.session }
                #expect(listed == expected)
                #expect(try await world.logout("s1", at: now) == .ended)
                try await world.expect(.revoked, "s1")
                #expect(try await world.list(at: now).map(\.summary).sorted() == ["s1 logout", "s2"])
                #expect(try await world.register("s1", until: now + 60_000, at: now) == .revokedBefore)
                #expect(try await world.logoutAll(at: now) == 1)
                try await world.expect(.revoked, "s2")
            }
        }
    }

    @Test("revoke tokens of revocable issuers with SADD and SET, at once")
    func revoke() async throws {
        try await withRedisServer { redis in
            try await StoreWorld.run(on: redis) { world in
                try await world.expect(.active, "s1", kind: .revocable, issuedAt: 1000)
                try redis.command("SADD", "\(StoreWorld.prefix)revoked:{alice}", "s1")
                try await world.expect(.revoked, "s1", kind: .revocable, issuedAt: 1000)
                try await world.expect(.active, "s2", kind: .revocable, issuedAt: 1000)
                try redis.command("SET", "\(StoreWorld.prefix)revoked_before:{alice}", "1000")
                try await world.expect(.revoked, "s2", kind: .revocable, issuedAt: 1000)
                try await world.expect(.active, "s2", kind: .revocable, issuedAt: 1001)
                try redis.command("SREM", "\(StoreWorld.prefix)revoked:{alice}", "s1")
                try await world.expect(.active, "s1", kind: .revocable, issuedAt: 1001)
            }
        }
    }

    @Test("that lose everything log users out, and let no revoked session of the gateway's own in")
    func flush() async throws {
        try await StoreWorld.run(.redis) { world in
            let redis = try #require(world.redis), now = systemTime()
            for session in ["s1", "s2"] { try await world.login(session, at: now) }
            _ = try await world.logout("s1", at: now)
            try redis.command("FLUSHALL")
            for session in ["s1", "s2"] {
                try await world.expect(.revoked, session)
                #expect(try await world.refresh(session, "first", to: "second", at: now) == .ended)
            }
            try await world.login("s3", at: now)
            try await world.expect(.active, "s3")
        }
    }

    @Test(
        "that leave a moment that is no number of at most twelve digits make that user's answers unavailable",
        arguments: ["", " ", "x", "1x", " 1", "1 ", "+1", "-1", "1.5", "1e3", "0x10", "9999999999999", "0000000000001", "\u{661}", "1\n", "1\0"])
    func moment(value: String) async throws {
        try await withRedisServer { redis in
            try await StoreWorld.run(on: redis) { world in
                let now = systemTime(), key = "\(StoreWorld.prefix)revoked_before:{alice}"
                try redis.command("SET", key, value)
                try await world.expect(.unavailable, "s1", kind: .revocable, issuedAt: now)
                try await world.expect(.unavailable, "s1", kind: .revocable)
                try await world.expect(.active, "s1", of: UserID(name: "bob"), kind: .revocable)
                try await world.login("own", at: now)
                try await world.expect(.active, "own")
                await #expect(throws: StoreUnavailable.self) {
                    try await world.logoutAll(issued: RevokedBefore(moment: now / 1000, until: now + 60_000), at: now)
                }
                try await world.expect(.active, "own")
                #expect(try redis.command("GET", key) == .text(value), "what nobody understands is left to whoever does")
                try redis.command("SET", key, "000000000012")
                try await world.expect(.revoked, "s1", kind: .revocable, issuedAt: 12)
                try await world.expect(.active, "s1", kind: .revocable, issuedAt: 13)
                #expect(try await world.logoutAll(issued: RevokedBefore(moment: 5, until: now + 60_000), at: now) == 1)
                try await world.expect(.revoked, "s1", kind: .revocable, issuedAt: 12)
            }
        }
    }

    @Test("that leave another type in the set of sessions make that user's answers unavailable, never revoked")
    func wrongType() async throws {
        try await withRedisServer { redis in
            try await StoreWorld.run(on: redis) { world in
                let now = systemTime()
                try await world.login("s1", at: now)
                try redis.command("SET", Self.sessions, "s1")
                try await world.expect(.unavailable, "s1")
                try await world.login("s1", of: UserID(name: "bob"), at: now)
                try await world.expect(.active, "s1", of: UserID(name: "bob"))
                await #expect(throws: StoreUnavailable.self) { try await world.login("s2", at: now) }
                await #expect(throws: StoreUnavailable.self) { try await world.register("s2", until: now + 60_000, at: now) }
                await #expect(throws: StoreUnavailable.self) { try await world.logout("s1", at: now) }
                await #expect(throws: StoreUnavailable.self) { try await world.refresh("s1", "first", to: "second", at: now) }
                await #expect(throws: StoreUnavailable.self) { try await world.list(at: now) }
                await #expect(throws: StoreUnavailable.self) { try await world.store.record("s1", of: StoreWorld.user, currentHash: nil) }
                try await world.expect(.unavailable, "s1")
            }
        }
    }

    @Test(
        "that leave another type in any other key log nobody in or out: what cannot be done is not reported as done",
        arguments: ["session:{alice}:s1", "records:{alice}", "ends:{alice}", "logouts:{alice}", "revoked:{alice}", "revoked_before:{alice}"])
    func otherTypes(name: String) async throws {
        try await withRedisServer { redis in
            try await StoreWorld.run(on: redis) { world in
                let now = systemTime(), key = StoreWorld.prefix + name
                try await world.login("s1", at: now)
                try redis.command("DEL", key)
                try redis.command("LPUSH", key, "x")
                let revocable: SessionAnswer = name.hasPrefix("revoked") ? .unavailable : .active
                try await world.expect(.active, "s1")
                try await world.expect(revocable, "r1", kind: .revocable, issuedAt: 1)
                do {
                    #expect(try await world.logoutAll(issued: RevokedBefore(moment: 1, until: now + 60_000), at: now) == 1)
                    #expect(try await world.ask("s1") == .revoked)
                } catch is StoreUnavailable {
                    #expect(try await world.ask("s1") != .unavailable)
                }
                do {
                    try await world.store.revoke("r1", of: StoreWorld.user, until: now + 60_000, now: now)
                    #expect(try await world.ask("r1", kind: .revocable, issuedAt: 2) != .active)
                } catch is StoreUnavailable {
                    #expect(name == "revoked:{alice}")
                }
            }
        }
    }
}
