// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import RedisSessions
import Sessions
import TestSupport
import Testing

@Suite("Several gateways at one Redis")
struct RedisSweepTests {
    @Test("know of each other's logins and logouts at once")
    func together() async throws {
        try await withRedisServer { redis in
            try await StoreWorld.run(on: redis) { one in
                try await StoreWorld.run(on: redis) { other in
                    let now = systemTime()
                    for session in ["s1", "s2"] { try await one.login(session, at: now) }
                    try await other.expect(.active, "s1")
                    #expect(try await other.logout("s1", at: now) == .ended)
                    try await one.expect(.revoked, "s1")
                    guard case .rotated = try await one.refresh("s2", "first", to: "second", at: now) else {
                        Issue.record("not rotated")
                        return
                    }
                    #expect(try await other.refresh("s2", "first", to: "second", at: now + 20_000) == .reused)
                    try await one.expect(.revoked, "s2")
                    let once = AttemptRules(limit: 1, window: 60_000)
                    #expect(try await one.begin("1", rules: once) == .admitted)
                    #expect(try await other.begin("2", rules: once) == .crowded)
                    try await one.end("1", failed: true, rules: once)
                    #expect(try await other.begin("2", rules: once) == .limited)
                }
            }
        }
    }

    @Test("rotate a token presented to both at once once")
    func rotation() async throws {
        try await withRedisServer { redis in
            try await StoreWorld.run(on: redis) { one in
                try await StoreWorld.run(on: redis) { other in
                    let now = systemTime()
                    for number in 0..<20 {
                        let session = "s\(number)"
                        try await one.login(session, at: now)
                        async let first = one.refresh(session, "first", to: "second", at: now)
                        async let second = other.refresh(session, "first", to: "second", at: now)
                        let outcomes = try await [first, second]
                        let rotated = outcomes.count { if case .rotated = $0 { true } else { false } }
                        let repeated = outcomes.count { if case .repeated = $0 { true } else { false } }
                        #expect(rotated == 1 && repeated == 1, "\(outcomes)")
                    }
                }
            }
        }
    }

    @Test("end a registered session that one registered which is gone")
    func inherited() async throws {
        try await withRedisServer { redis in
            let now = systemTime(), end = now + 1_500
            try await StoreWorld.run(on: redis) { world in
                let one = try await world.register("s1", until: end, at: now)
                let other = try await world.register("s2", until: now + 3_600_000, at: now)
                #expect(one == .registered && other == .registered)
            }
            try await StoreWorld.run(on: redis) { world in
                try await eventually("it has ended") { try await world.ask("s1") == .revoked }
                #expect(systemTime() >= end)
                try await world.expect(.active, "s2")
            }
        }
    }

    @Test("end the registered sessions of many users whose time comes at once, and of those only what is over")
    func many() async throws {
        try await StoreWorld.run(.redis) { world in
            let redis = try #require(world.redis), now = systemTime(), end = now + 2_000
            let users = (0..<250).map { UserID(namespace: "idp", name: "user\($0)") }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for user in users {
                    group.addTask {
                        _ = try await world.register("over", of: user, until: end, at: now)
                        _ = try await world.register("stays", of: user, until: now + 3_600_000, at: now)
                    }
                }
                try await group.waitForAll()
            }
            // Something that no sweep understands must not keep it from the others.
            try redis.command("SET", "\(StoreWorld.prefix)sessions:{idp/user7}", "x")
            try await eventually("all have ended") {
                for user in users where user.name != "user7" {
                    guard try await world.ask("over", of: user) == .revoked else { return false }
                }
                return true
            }
            #expect(systemTime() >= end)
            for user in users where user.name != "user7" { #expect(try await world.ask("stays", of: user) == .active) }
            #expect(try await world.ask("over", of: UserID(namespace: "idp", name: "user7")) == .unavailable)
            try redis.command("DEL", "\(StoreWorld.prefix)sessions:{idp/user7}")
        }
    }
}
