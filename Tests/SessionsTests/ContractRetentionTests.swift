// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import TestSupport
import Testing

extension EverySessionStore {
    @Suite("Forgetting")
    struct Retention {
        private static let minute = SessionRules.usual.with { $0.retainRevoked = 60_000 }
        private static let hour = Int64(3_600_000)

        @Test(
            "an ended session in time means that it is neither listed nor refused nor known, whatever ended it",
            arguments: StoreKind.allCases, [RevokeReason.logout, .logoutAll, .maxPerUser])
        func forgotten(kind: StoreKind, reason: RevokeReason) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime(), rules = Self.minute
                #expect(try await world.register("s1", until: now + Self.hour, rules: rules, at: now) == .registered)
                switch reason {
                case .logoutAll: #expect(try await world.logoutAll(rules: rules, at: now + 1) == 1)
                case .maxPerUser: #expect(try await world.login("s2", rules: rules.with { $0.maxPerUser = 1 }, at: now + 1) == ["s1"])
                default: #expect(try await world.logout("s1", rules: rules, at: now + 1) == .ended)
                }
                let last = now + 60_000
                #expect(try await world.list(rules: rules, at: last).contains { $0.summary == "s1 \(reason.rawValue)" })
                #expect(try await world.logout("s1", rules: rules, at: last) == .endedBefore)
                #expect(try await world.register("s1", until: last + Self.hour, rules: rules, at: last) == .revokedBefore)
                try await world.expect(.revoked, "s1")

                let after = last + 1
                #expect(try await world.list(rules: rules, at: after).allSatisfy { $0.session != "s1" })
                #expect(try await world.logout("s1", rules: rules, at: after) == .unknown)
                #expect(try await world.register("s1", until: after + Self.hour, rules: rules, at: after) == .registered)
                try await world.expect(.active, "s1")
                #expect(try await world.list(rules: rules, at: after).first { $0.session == "s1" }?.createdAt == after)
            }
        }

        @Test("comes for each logout from everywhere in its own time, however many there were", arguments: StoreKind.allCases)
        func several(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime(), rules = Self.minute, step = Int64(25_000)
                for round in Int64(0)..<6 {
                    #expect(try await world.register("s\(round)", until: now + Self.hour, rules: rules, at: now + round * step) == .registered)
                    #expect(try await world.logoutAll(rules: rules, at: now + round * step + 1) == 1)
                    let told = try await world.list(rules: rules, at: now + round * step + 2).map(\.summary)
                    #expect(told == (max(0, round - 2)...round).reversed().map { "s\($0) logout_all" })
                }
                let end = now + 5 * step + 2
                for round in 0..<3 {
                    #expect(try await world.logout("s\(round)", rules: rules, at: end) == .unknown, "s\(round)")
                    #expect(try await world.register("s\(round)", until: end + Self.hour, rules: rules, at: end) == .registered, "s\(round)")
                }
                for round in 3..<6 {
                    #expect(try await world.logout("s\(round)", rules: rules, at: end) == .endedBefore, "s\(round)")
                    #expect(try await world.register("s\(round)", until: end + Self.hour, rules: rules, at: end) == .revokedBefore, "s\(round)")
                }
            }
        }

        @Test("at once, where nothing is to be remembered, holds for a logout from everywhere as for any other", arguments: StoreKind.allCases)
        func atOnce(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime(), rules = SessionRules.usual.with { $0.retainRevoked = 0 }
                for session in ["s1", "s2"] {
                    #expect(try await world.register(session, until: now + Self.hour, rules: rules, at: now) == .registered)
                }
                #expect(try await world.logout("s1", rules: rules, at: now + 1) == .ended)
                #expect(try await world.logoutAll(rules: rules, at: now + 1) == 1)
                for session in ["s1", "s2"] {
                    #expect(try await world.logout(session, rules: rules, at: now + 2) == .unknown)
                    #expect(try await world.register(session, until: now + Self.hour, rules: rules, at: now + 2) == .registered)
                    try await world.expect(.active, session)
                }
                #expect(try await world.list(rules: rules, at: now + 3).map(\.summary).sorted() == ["s1", "s2"])
            }
        }

        @Test("leaves nothing of a session to one that begins under its id later: no token, no device, no claims", arguments: StoreKind.allCases)
        func anew(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime(), rules = Self.minute
                try await world.login("logged out", rules: rules, at: now)
                try await world.login("over", rules: rules.with { $0.sessionLifetime = 100_000 }, at: now)
                #expect(try await world.logout("logged out", rules: rules, at: now + 1) == .ended)
                let later = now + 120_000
                for session in ["logged out", "over"] {
                    #expect(try await world.register(session, until: later + Self.hour, rules: rules, at: later) == .registered)
                    #expect(try await world.refresh(session, "first", to: "second", proven: false, rules: rules, at: later) == .unknown)
                    try await world.expect(.active, session)
                    let record = try #require(try await world.store.record(session, of: StoreWorld.user, currentHash: nil))
                    let expected = SessionRecord(session: session, user: StoreWorld.user, createdAt: later, expiresAt: later + Self.hour)
                    #expect(record.with { $0.lastSeenAt = nil } == expected)
                }
            }
        }

        @Test("of what ended by its time comes as late: until then it is known to have ended", arguments: StoreKind.allCases)
        func byTime(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime(), rules = Self.minute.with { $0.sessionLifetime = 60_000 }
                try await world.login("s1", rules: rules, at: now)
                #expect(try await world.logout("s1", rules: rules, at: now + 60_000) == .endedBefore)
                try await world.expect(.active, "s1", kind: .revocable)
                #expect(try await world.list(rules: rules, at: now + 60_000) == [])
                #expect(try await world.refresh("s1", "first", to: "second", rules: rules, at: now + 70_000) == .expired)
            }
        }

        @Test("does not make a session that was logged out one that ended by its time, when that time has come", arguments: StoreKind.allCases)
        func loggedOutFirst(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime(), short = SessionRules.usual.with { $0.sessionLifetime = 60_000 }
                for session in ["s1", "s2"] { try await world.login(session, rules: short, at: now) }
                #expect(try await world.logout("s1", at: now + 1) == .ended)
                #expect(try await world.logoutAll(at: now + 2) == 1)
                for session in ["s1", "s2"] {
                    #expect(try await world.refresh(session, "first", to: "second", rules: short, at: now + 70_000) == .ended)
                    #expect(try await world.logout(session, at: now + 70_000) == .endedBefore)
                }
            }
        }
    }

    @Suite("Clocks that differ")
    struct Skew {
        @Test(
            "by less than a few seconds: a session that one gateway has ended by its time goes on when another moves its end",
            arguments: StoreKind.allCases)
        func moved(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime(), end = now + 60_000
                for ahead in [Int64(1), 1_000, 3_900] {
                    let session = "s\(ahead)"
                    #expect(try await world.register(session, until: end, at: now) == .registered)
                    // By this one's clock it is over.
                    try await world.login("by another \(ahead)", at: end + 1)
                    #expect(try await world.list(at: end + 1 - ahead).filter { !$0.active }.map(\.session) == [], "it was not logged out")
                    #expect(try await world.register(session, until: end + 600_000, at: end + 1 - ahead) == .registered, "\(ahead)")
                    try await world.expect(.active, session)
                    #expect(try await world.list(at: end + 1_000).contains { $0.session == session && $0.active })
                }
            }
        }

        @Test("do not let a session that was logged out just before its end be registered again", arguments: StoreKind.allCases)
        func loggedOut(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime(), end = now + 60_000
                for session in ["s1", "s2"] { #expect(try await world.register(session, until: end, at: now) == .registered) }
                #expect(try await world.logout("s1", at: end - 1_000) == .ended)
                #expect(try await world.logoutAll(at: end - 500) == 1)
                for session in ["s1", "s2"] {
                    for moment in [end - 400, end + 400] {
                        #expect(try await world.register(session, until: end + 600_000, at: moment) == .revokedBefore)
                    }
                    try await world.expect(.revoked, session)
                }
            }
        }
    }
}
