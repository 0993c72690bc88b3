// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import TestSupport
import Testing

extension EverySessionStore {
    @Suite("Listing")
    struct List {
        @Test("tells active and ended sessions, newest first, with when and why they ended", arguments: StoreKind.allCases)
        func reasons(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime()
                let reasons: [RevokeReason] = [.logout, .user, .admin, .backchannel, .revoked]
                for (index, reason) in reasons.enumerated() {
                    let start = now + Int64(index)
                    try await world.login(reason.rawValue, at: start)
                    #expect(try await world.logout(reason.rawValue, reason: reason, at: start + 100) == .ended)
                }
                try await world.login("active", at: now + 10)
                let records = try await world.list(at: now + 200)
                #expect(records.map(\.session) == ["active"] + reasons.reversed().map(\.rawValue))
                #expect(records.map(\.revokeReason) == [nil] + reasons.reversed())
                #expect(records.map(\.revokedAt) == [nil] + (0..<5).reversed().map { now + $0 + 100 })
                #expect(records.map(\.active) == [true] + reasons.map { _ in false })
                #expect(records.allSatisfy { $0.device == "phone" && $0.user == StoreWorld.user })
            }
        }

        @Test("tells of a logout from everywhere when it was and whose, and of no session that began later", arguments: StoreKind.allCases)
        func logoutAll(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime()
                try await world.login("a", at: now)
                #expect(try await world.logoutAll(at: now + 10) == 1)
                try await world.login("b", at: now + 20)
                #expect(try await world.logoutAll(reason: .admin, at: now + 30) == 1)
                try await world.login("c", at: now + 40)
                let records = try await world.list(at: now + 50)
                #expect(records.map(\.summary) == ["c", "b admin", "a logout_all"])
                #expect(records.map(\.revokedAt) == [nil, now + 30, now + 10])
            }
        }

        @Test("leaves out what ended by its time", arguments: StoreKind.allCases)
        func ended(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime()
                try await world.login("short", rules: .usual.with { $0.sessionLifetime = 60_000 }, at: now)
                try await world.login("long", at: now)
                #expect(try await world.register("registered", until: now + 60_000, at: now) == .registered)
                #expect(try await world.list(at: now + 59_999).count == 3)
                #expect(try await world.list(at: now + 60_000).map(\.session) == ["long"])
                _ = try await world.logoutAll(at: now + 60_001)
                #expect(try await world.list(at: now + 60_002).map(\.summary) == ["long logout_all"])
            }
        }

        @Test("remembers a revoked session beyond its own end, as long as it was told to", arguments: StoreKind.allCases)
        func beyond(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime()
                #expect(try await world.register("s1", until: now + 60_000, at: now) == .registered)
                #expect(try await world.register("s2", until: now + 60_000, at: now) == .registered)
                _ = try await world.logout("s1", at: now + 1)
                _ = try await world.logoutAll(at: now + 2)
                #expect(try await world.list(at: now + 86_400_000).map(\.summary) == ["s2 logout_all", "s1 logout"])
            }
        }

        @Test("forgets an ended session after the time that was asked for", arguments: StoreKind.allCases)
        func retained(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime(), rules = SessionRules.usual.with { $0.retainRevoked = 400 }
                try await world.login("s1", rules: rules, at: now)
                try await world.login("s2", rules: rules, at: now)
                let ended = systemTime()
                #expect(try await world.logout("s1", rules: rules, at: ended) == .ended)
                let listed = try await world.list(rules: rules, at: ended).count
                #expect(listed == 2 || systemTime() >= ended + 400)
                try await eventually("it is forgotten") { try await world.list(rules: rules, at: systemTime()).map(\.session) == ["s2"] }
                #expect(systemTime() >= ended + 400)
                #expect(try await world.logout("s1", rules: rules, at: systemTime()) == .unknown)
                #expect(try await world.store.record("s1", of: StoreWorld.user, currentHash: nil) == nil)
            }
        }

        @Test("remembers no ended session where none is to be, whatever ended it", arguments: StoreKind.allCases)
        func notRetained(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime(), rules = SessionRules.usual.with { $0.retainRevoked = 0 }
                for session in ["s1", "s2", "s3"] { try await world.login(session, rules: rules, at: now) }
                #expect(try await world.logout("s1", rules: rules, at: now + 1) == .ended)
                #expect(try await world.refresh("s2", "old", to: "new", rules: rules, at: now + 1) == .reused)
                #expect(try await world.list(rules: rules, at: now + 2).map(\.summary) == ["s3"])
                #expect(try await world.logoutAll(rules: rules, at: now + 3) == 1)
                for session in ["s1", "s2", "s3"] { try await world.expect(.revoked, session) }
                #expect(try await world.list(rules: rules, at: now + 4).map(\.summary) == [])
                try await world.login("s4", rules: rules, at: now + 5)
                #expect(try await world.list(rules: rules, at: now + 6).map(\.summary) == ["s4"])
            }
        }

        @Test("of a user that nobody knows is empty", arguments: StoreKind.allCases)
        func nobody(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let records = try await world.list(at: systemTime())
                #expect(records == [])
            }
        }
    }
}
