// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import TestSupport
import Testing

extension EverySessionStore {
    @Suite("Logging out")
    struct Logout {
        @Test("ends this session and no other, from the return of the call on", arguments: StoreKind.allCases)
        func one(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime()
                for session in ["s1", "s2"] { try await world.login(session, at: now) }
                #expect(try await world.logout("s1", at: now + 1) == .ended)
                try await world.expect(.revoked, "s1")
                try await world.expect(.active, "s2")
            }
        }

        @Test("may be repeated, and the first time and reason stay", arguments: StoreKind.allCases)
        func again(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime()
                try await world.login("s1", at: now)
                #expect(try await world.logout("s1", reason: .user, at: now + 1) == .ended)
                for later in 2...4 { #expect(try await world.logout("s1", reason: .admin, at: now + Int64(later)) == .endedBefore) }
                let record = try #require(try await world.list(at: now + 5).first)
                #expect(record.revokedAt == now + 1 && record.revokeReason == .user)
                _ = try await world.logoutAll(at: now + 6)
                #expect(try await world.list(at: now + 7).first == record)
            }
        }

        @Test("of an unknown session or another user's ends nothing and says so", arguments: StoreKind.allCases)
        func unknown(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime(), bob = UserID(name: "bob")
                try await world.login("s1", at: now)
                #expect(try await world.logout("s2", at: now) == .unknown)
                #expect(try await world.logout("s1", of: bob, at: now) == .unknown)
                try await world.expect(.active, "s1")
                #expect(try await world.list(of: bob, at: now) == [])
            }
        }

        @Test("from everywhere ends all of the user's sessions, tells how many were active, and touches no other user", arguments: StoreKind.allCases)
        func all(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime(), bob = UserID(name: "bob")
                for number in 1...5 { try await world.login("s\(number)", at: now) }
                #expect(try await world.register("s6", until: now + 60_000, at: now) == .registered)
                try await world.login("s1", of: bob, at: now)
                _ = try await world.logout("s5", at: now + 1)
                #expect(try await world.logoutAll(at: now + 2) == 5)
                for number in 1...6 { try await world.expect(.revoked, "s\(number)") }
                try await world.expect(.active, "s1", of: bob)
                #expect(try await world.logoutAll(at: now + 3) == 0)
                #expect(try await world.logoutAll(of: UserID(name: "nobody"), at: now) == 0)
                #expect(try await world.logout("s1", at: now + 4) == .endedBefore)
                try await world.login("s7", at: now + 5)
                try await world.expect(.active, "s7")
                #expect(try await world.logoutAll(at: now + 6) == 1)
            }
        }

        @Test("from everywhere does not count what had ended by its time", arguments: StoreKind.allCases)
        func countsActive(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime()
                try await world.login("short", rules: .usual.with { $0.sessionLifetime = 60_000 }, at: now)
                try await world.login("long", at: now)
                #expect(try await world.logoutAll(at: now + 60_000) == 1)
            }
        }

        @Test("from everywhere after 100 parallel logins leaves none", arguments: StoreKind.allCases)
        func hundred(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime()
                try await withThrowingTaskGroup(of: [String].self) { group in
                    for number in 0..<100 { group.addTask { try await world.login("s\(number)", at: now) } }
                    for try await gone in group { #expect(gone == []) }
                }
                #expect(try await world.list(at: now).count { $0.active } == 100)
                #expect(try await world.logoutAll(at: now + 1) == 100)
                for number in 0..<100 { #expect(try await world.ask("s\(number)") == .revoked) }
                #expect(try await world.list(at: now + 2).count { $0.active } == 0)
            }
        }

        @Test("of one session by many at once ends it once", arguments: StoreKind.allCases)
        func parallel(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime()
                try await world.login("s1", at: now)
                let endings = try await withThrowingTaskGroup(of: Ending.self) { group in
                    for _ in 0..<20 { group.addTask { try await world.logout("s1", at: now) } }
                    return try await group.reduce(into: [Ending]()) { $0.append($1) }
                }
                #expect(endings.count { $0 == .ended } == 1 && endings.count { $0 == .endedBefore } == 19)
            }
        }
    }
}
