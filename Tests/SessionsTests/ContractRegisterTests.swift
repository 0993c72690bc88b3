// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import TestSupport
import Testing

extension EverySessionStore {
    @Suite("Registering ids of other issuers")
    struct Register {
        @Test("makes the id active, and registering it again moves its end either way", arguments: StoreKind.allCases)
        func moves(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime()
                #expect(try await world.register("s1", until: now + 60_000, at: now) == .registered)
                try await world.expect(.active, "s1")
                #expect(try await world.list(at: now + 1).map(\.expiresAt) == [now + 60_000])
                for end in [now + 120_000, now + 30_000] {
                    #expect(try await world.register("s1", until: end, at: now + 10) == .registered)
                    #expect(try await world.list(at: now + 11).map(\.expiresAt) == [end])
                }
                let record = SessionRecord(session: "s1", user: StoreWorld.user, createdAt: now, expiresAt: now + 30_000)
                #expect(try await world.list(at: now + 12).map { $0.with { $0.lastSeenAt = nil } } == [record])
                try await world.expect(.active, "s1")
            }
        }

        @Test("ends the session at its time, at most 2 s late, beside one that goes on", arguments: StoreKind.allCases)
        func ends(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime(), end = now + 700
                #expect(try await world.register("s1", until: end, at: now) == .registered)
                #expect(try await world.register("s2", until: now + 3_600_000, at: now) == .registered)
                try await world.login("s3", at: now)
                let answer = try await world.ask("s1")
                #expect(answer == .active || systemTime() >= end)
                // What the machine is late itself is not the store's: asking takes a moment, and is what shows how busy it is.
                let begun = systemTime()
                var asked = begun, longest = Int64(0)
                try await eventually("s1 has ended", within: .seconds(60)) {
                    let answer = try await world.ask("s1")
                    longest = max(longest, systemTime() - asked)
                    asked = systemTime()
                    return answer == .revoked
                }
                let late = asked - max(begun, end)
                #expect(asked >= end && late <= 2_000 + 8 * longest, "\(late) ms after its end, \(longest) ms between answers")
                for session in ["s2", "s3"] { try await world.expect(.active, session) }
                #expect(try await world.list(at: systemTime()).map(\.session).sorted() == ["s2", "s3"], "what ended by time is not listed")
            }
        }

        @Test("with a moved end counts that end alone", arguments: StoreKind.allCases)
        func movedEnd(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                // Each at its own time: a slow machine must not have let the first end pass.
                func register(_ session: String, in time: Int64) async throws -> Registration {
                    let now = systemTime()
                    return try await world.register(session, until: now + time, at: now)
                }
                #expect(try await register("later", in: 3_000) == .registered)
                #expect(try await register("later", in: 3_600_000) == .registered)
                #expect(try await register("sooner", in: 3_600_000) == .registered)
                let moved = systemTime()
                #expect(try await register("sooner", in: 3_100) == .registered)
                try await eventually("the sooner one has ended") { try await world.ask("sooner") == .revoked }
                #expect(systemTime() >= moved + 3_100)
                try await world.expect(.active, "later")
            }
        }

        @Test("with an end in the past lets nobody in", arguments: StoreKind.allCases)
        func past(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime()
                try await world.login("other", at: now)
                _ = try await world.register("s1", until: now - 1, at: now)
                try await eventually("s1 has ended", within: .seconds(5)) { try await world.ask("s1") == .revoked }
                #expect(try await world.list(at: systemTime()).map(\.session) == ["other"])
                #expect(try await world.register("s2", until: now + 60_000, at: now) == .registered)
                _ = try await world.register("s2", until: now - 1, at: now)
                try await eventually("s2 has ended", within: .seconds(5)) { try await world.ask("s2") == .revoked }
                try await world.expect(.active, "other")
            }
        }

        @Test(
            "is refused for an id that was revoked, in whatever way, and is not active again",
            arguments: StoreKind.allCases, [RevokeReason.logout, .logoutAll, .refreshReuse, .maxPerUser])
        func revoked(kind: StoreKind, reason: RevokeReason) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime()
                switch reason {
                case .refreshReuse:
                    try await world.login("s1", rules: .usual.with { $0.sessionLifetime = 60_000 }, at: now)
                    #expect(try await world.refresh("s1", "old", to: "new", at: now + 1) == .reused)
                case .maxPerUser:
                    #expect(try await world.register("s1", until: now + 60_000, at: now) == .registered)
                    #expect(try await world.login("s2", rules: .usual.with { $0.maxPerUser = 1 }, at: now + 1) == ["s1"])
                case .logoutAll:
                    #expect(try await world.register("s1", until: now + 60_000, at: now) == .registered)
                    #expect(try await world.logoutAll(at: now + 1) == 1)
                default:
                    #expect(try await world.register("s1", until: now + 60_000, at: now) == .registered)
                    #expect(try await world.logout("s1", reason: reason, at: now + 1) == .ended)
                }
                #expect(try await world.register("s1", until: now + 600_000, at: now + 2) == .revokedBefore)
                try await world.expect(.revoked, "s1")
                // Also when the time is over that it would have had: it did not end by that.
                let over = now + 60_001
                #expect(try await world.register("s1", until: over + 60_000, at: over) == .revokedBefore)
                try await world.expect(.revoked, "s1")
                #expect(try await world.register("s3", until: now + 60_000, at: now + 2) == .registered, "another id is not concerned")
            }
        }

        @Test("is possible again for an id that ended by its time, as if it were new", arguments: StoreKind.allCases)
        func again(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime()
                #expect(try await world.register("s1", until: now + 60_000, at: now) == .registered)
                // A logout after its end is not about it.
                #expect(try await world.logoutAll(at: now + 70_000) == 0)
                for start in [now + 80_000, now + 200_000] {
                    #expect(try await world.register("s1", until: start + 60_000, at: start) == .registered)
                    try await world.expect(.active, "s1")
                    #expect(try await world.list(at: start).map(\.createdAt) == [start])
                }
            }
        }

        @Test("is possible again for a revoked id when that is no longer remembered", arguments: StoreKind.allCases)
        func forgotten(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime(), rules = SessionRules.usual.with { $0.retainRevoked = 300 }
                #expect(try await world.register("s1", until: now + 3_600_000, rules: rules, at: now) == .registered)
                #expect(try await world.logout("s1", rules: rules, at: systemTime()) == .ended)
                try await eventually("it may be registered") {
                    let now = systemTime()
                    return try await world.register("s1", until: now + 3_600_000, rules: rules, at: now) == .registered
                }
                #expect(systemTime() >= now + 300)
                try await world.expect(.active, "s1")
            }
        }
    }
}
