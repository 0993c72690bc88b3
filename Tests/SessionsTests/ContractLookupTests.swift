// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import TestSupport
import Testing

/// The behaviour that all stores share: each test runs against each of them.
@Suite("Every session store")
enum EverySessionStore {}

extension EverySessionStore {
    @Suite("Looking up and logging in")
    struct Lookup {
        @Test("says active of a session from its login on, and revoked of an unknown one and of another user's", arguments: StoreKind.allCases)
        func answers(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime(), bob = UserID(name: "bob")
                try await world.expect(.revoked, "s1")
                #expect(try await world.login("s1", at: now) == [])
                try await world.expect(.active, "s1")
                try await world.expect(.revoked, "s2")
                try await world.expect(.revoked, "S1")
                try await world.expect(.revoked, "")
                try await world.expect(.revoked, "s1", of: bob)
                try await world.login("s2", of: bob, at: now)
                try await world.expect(.active, "s2", of: bob)
                try await world.expect(.revoked, "s2")
            }
        }

        @Test("lets one answer be asked for again and again", arguments: StoreKind.allCases)
        func repeated(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                try await world.login("s1", at: systemTime())
                let answers = try await withThrowingTaskGroup(of: SessionAnswer.self) { group in
                    for number in 0..<200 { group.addTask { try await world.ask(number.isMultiple(of: 2) ? "s1" : "s2") } }
                    return try await group.reduce(into: [SessionAnswer]()) { $0.append($1) }
                }
                #expect(answers.count { $0 == .active } == 100 && answers.count { $0 == .revoked } == 100)
            }
        }

        @Test("remembers what a login said of its session", arguments: StoreKind.allCases)
        func remembered(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime()
                try await world.login("s1", at: now)
                let expected = SessionRecord(
                    session: "s1", user: StoreWorld.user, device: "phone", ip: "192.0.2.1", userAgent: "browser",
                    claims: Array(#"{"role":"x"}"#.utf8), createdAt: now, lastSeenAt: now, expiresAt: now + SessionRules.usual.refreshLifetime)
                #expect(try await world.list(at: now) == [expected])
                #expect(try await world.store.record("s1", of: StoreWorld.user, currentHash: nil) == expected)
                #expect(try await world.store.record("s1", of: StoreWorld.user, currentHash: Array("first".utf8)) == expected)
                #expect(try await world.store.record("s1", of: StoreWorld.user, currentHash: Array("other".utf8)) == nil)
                #expect(try await world.store.record("s2", of: StoreWorld.user, currentHash: nil) == nil)
                #expect(try await world.store.record("s1", of: UserID(name: "bob"), currentHash: nil) == nil)
            }
        }

        @Test("makes the oldest sessions give way to one that is too many, and no others", arguments: StoreKind.allCases)
        func tooMany(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime(), three = SessionRules.usual.with { $0.maxPerUser = 3 }
                // Neither in the order of their names nor of the times that they were last used.
                for (index, session) in ["c", "a", "b"].enumerated() {
                    #expect(try await world.login(session, rules: three, at: now + Int64(index)) == [])
                }
                try await world.login("z", of: UserID(name: "bob"), at: now)
                _ = try await world.refresh("c", "first", to: "second", rules: three, at: now + 10)
                #expect(try await world.login("d", rules: three, at: now + 11) == ["c"])
                #expect(try await world.login("e", rules: three, at: now + 12) == ["a"])
                for session in ["c", "a"] { try await world.expect(.revoked, session) }
                for session in ["b", "d", "e"] { try await world.expect(.active, session) }
                try await world.expect(.active, "z", of: UserID(name: "bob"))
                #expect(try await world.list(at: now + 13).map(\.summary) == ["e", "d", "b", "a max_per_user", "c max_per_user"])
                #expect(try await world.refresh("c", "second", to: "third", at: now + 14) == .ended)

                let one = SessionRules.usual.with { $0.maxPerUser = 1 }
                #expect(try await world.login("f", rules: one, at: now + 15) == ["b", "d", "e"], "a lower limit takes effect with the next login")
                #expect(try await world.list(at: now + 16).filter(\.active).map(\.session) == ["f"])
            }
        }

        @Test("counts only active sessions against the limit", arguments: StoreKind.allCases)
        func endedDoNotCount(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime()
                let two = SessionRules.usual.with { $0.maxPerUser = 2 }
                let short = two.with { $0.sessionLifetime = 60_000 }
                try await world.login("logged out", rules: two, at: now)
                _ = try await world.logout("logged out", at: now + 1)
                try await world.login("over", rules: short, at: now + 2)
                try await world.login("kept", rules: two, at: now + 3)
                #expect(try await world.login("new", rules: two, at: now + 60_003) == [])
                try await world.expect(.active, "kept")
            }
        }
    }
}
