// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import TestSupport
import Testing

@Suite("A key of another type", .serialized)
struct RedisWrongTypeTests {
    /// An operation, and the keys without which it cannot be done. All others may hold whatever they like.
    enum Operation: String, CaseIterable, CustomTestStringConvertible {
        case login, loginAtLimit, register, registerAgain, logout, logoutAll, logoutAllIssued, revoke, refresh, reuse, list, failure

        var testDescription: String { rawValue }

        var needs: Set<String> {
            let sets: Set = ["sessions:{alice}", "records:{alice}", "ends:{alice}", "begins:{alice}"]
            return switch self {
            case .login, .loginAtLimit: sets.union(["session:{alice}:new"])
            case .register: sets.union(["session:{alice}:new", "logouts:{alice}"])
            case .registerAgain: sets.union(["session:{alice}:s1", "logouts:{alice}"])
            case .logout: ["sessions:{alice}"]
            case .logoutAll: []
            case .logoutAllIssued: ["revoked_before:{alice}"]
            case .revoke: ["revoked:{alice}"]
            case .refresh: sets.union(["session:{alice}:s1"])
            case .reuse: ["sessions:{alice}", "session:{alice}:s1"]
            case .list: ["sessions:{alice}", "records:{alice}", "logouts:{alice}"]
            case .failure: ["failures:f"]
            }
        }

        /// Whether it has taken the session `s1` from the user when it is done.
        var ends: Bool {
            switch self {
            case .loginAtLimit, .logout, .logoutAll, .logoutAllIssued, .reuse: true
            case .login, .register, .registerAgain, .revoke, .refresh, .list, .failure: false
            }
        }

        func run(_ world: StoreWorld, at now: UnixMilliseconds) async throws {
            switch self {
            case .login: #expect(try await world.login("new", at: now) == [])
            case .loginAtLimit: #expect(try await world.login("new", rules: .usual.with { $0.maxPerUser = 2 }, at: now) == ["s1"])
            case .register: #expect(try await world.register("new", until: now + 60_000, at: now) == .registered)
            case .registerAgain: #expect(try await world.register("s1", until: now + 60_000, at: now) == .registered)
            case .logout: #expect(try await world.logout("s1", at: now) == .ended)
            case .logoutAll: _ = try await world.logoutAll(at: now)
            case .logoutAllIssued: _ = try await world.logoutAll(issued: RevokedBefore(moment: 1, until: now + 60_000), at: now)
            case .revoke: try await world.store.revoke("r1", of: StoreWorld.user, until: now + 60_000, now: now)
            case .refresh:
                guard case .rotated = try await world.refresh("s1", "first", to: "second", at: now) else {
                    Issue.record("not rotated")
                    return
                }
            case .reuse: #expect(try await world.refresh("s1", "other", to: "second", at: now) == .reused)
            case .list: #expect(try await world.list(at: now).filter(\.active).map(\.session).sorted() == ["s1", "s2"])
            case .failure: #expect(try await world.begin("1", under: "f") == .admitted)
            }
        }
    }

    private static let keys = [
        "sessions:{alice}", "session:{alice}:s1", "session:{alice}:new", "records:{alice}", "ends:{alice}", "begins:{alice}", "logouts:{alice}",
        "revoked:{alice}", "revoked_before:{alice}", "failures:f",
    ]

    @Test(
        "is refused where the operation needs that key, which then has changed nothing at all, and is no obstacle elsewhere",
        arguments: Operation.allCases)
    func each(operation: Operation) async throws {
        try await withRedisServer { redis in
            try await StoreWorld.run(on: redis) { world in
                for name in Self.keys {
                    let now = systemTime()
                    try redis.command("FLUSHALL")
                    try await world.login("s1", at: now - 2)
                    try await world.login("s2", at: now - 1)
                    try redis.command("DEL", StoreWorld.prefix + name)
                    try redis.command("RPUSH", StoreWorld.prefix + name, "x")
                    try redis.command("PEXPIRE", StoreWorld.prefix + name, "600000")
                    let before = try KeyAudit(redis)
                    do {
                        try await operation.run(world, at: now)
                        #expect(!operation.needs.contains(name), "\(operation) with \(name)")
                        if operation.ends { #expect(try await world.ask("s1") == .revoked, "\(operation) with \(name)") }
                    } catch is StoreUnavailable {
                        #expect(operation.needs.contains(name), "\(operation) with \(name)")
                        // A registration notes in advance when the sweep has to look at the user. It finds nothing then.
                        let changes = try KeyAudit(redis).changes(from: before).filter { $0 != "\(StoreWorld.prefix)due" }
                        #expect(changes == [], "\(operation) with \(name)")
                    }
                    // Whatever became of it, logging out works while the set itself is what it is.
                    if name != "sessions:{alice}", try await world.ask("s2") == .active {
                        #expect(try await world.logout("s2", at: now) == .ended, "\(operation) with \(name)")
                        #expect(try await world.ask("s2") == .revoked)
                    }
                    _ = try await world.logoutAll(at: now)
                    for session in ["s1", "s2", "new"] { #expect(try await world.ask(session) == .revoked, "\(operation) with \(name)") }
                }
            }
        }
    }

    @Test("in the sorted set of ends lets the sweep go on with the others, and is left as it is")
    func sweep() async throws {
        try await withRedisServer { redis in
            try await StoreWorld.run(on: redis) { world in
                let now = systemTime(), bob = UserID(name: "bob")
                #expect(try await world.register("s1", until: now + 300, at: now) == .registered)
                try redis.command("DEL", "\(StoreWorld.prefix)ends:{alice}")
                try redis.command("RPUSH", "\(StoreWorld.prefix)ends:{alice}", "x")
                #expect(try await world.register("s1", of: bob, until: now + 300, at: now) == .registered)
                try await eventually("bob's has ended") { try await world.ask("s1", of: bob) == .revoked }
                #expect(try redis.command("LRANGE", "\(StoreWorld.prefix)ends:{alice}", "0", "-1").strings == ["x"])
            }
        }
    }
}
