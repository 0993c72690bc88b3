// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import TestSupport
import Testing

extension EverySessionStore {
    @Suite("Refreshing")
    struct Refresh {
        @Test("makes the successor current and extends the session, up to its absolute end", arguments: StoreKind.allCases)
        func rotates(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime(), day = Int64(86_400_000)
                try await world.login("s1", at: now)
                for (step, days) in [Int64(20), 40, 60, 80].enumerated() {
                    let later = now + days * day
                    let names = ["first", "second", "third", "fourth", "fifth"]
                    guard case .rotated(let record) = try await world.refresh("s1", names[step], to: names[step + 1], at: later) else {
                        Issue.record("not rotated after \(days) days")
                        return
                    }
                    #expect(record.expiresAt == min(later + 30 * day, now + 90 * day))
                    #expect(record.lastSeenAt == later && record.createdAt == now && record.active)
                    #expect(record.device == "phone" && record.claims == Array(#"{"role":"x"}"#.utf8))
                    #expect(try await world.list(at: later) == [record])
                    let found = try await world.store.record("s1", of: StoreWorld.user, currentHash: Array(names[step + 1].utf8))
                    #expect(found == record)
                    #expect(try await world.store.record("s1", of: StoreWorld.user, currentHash: Array(names[step].utf8)) == nil)
                }
                #expect(try await world.refresh("s1", "fifth", to: "sixth", at: now + 90 * day) == .expired)
            }
        }

        @Test("again with the token before, inside the window, changes nothing, and does not extend the window", arguments: StoreKind.allCases)
        func retry(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime()
                try await world.login("s1", at: now)
                guard case .rotated(let record) = try await world.refresh("s1", "first", to: "second", at: now) else {
                    Issue.record("not rotated")
                    return
                }
                for later in [Int64(1), 5_000, 9_999] {
                    // Not proven: the store knows the token itself.
                    #expect(try await world.refresh("s1", "first", to: "second", proven: false, at: now + later) == .repeated(record))
                }
                try await world.expect(.active, "s1")
                #expect(try await world.refresh("s1", "first", to: "second", at: now + 10_000) == .reused)
                try await world.expect(.revoked, "s1")
            }
        }

        @Test(
            "with an older token is reuse at once, however short ago it was current: it ends the session and says why", arguments: StoreKind.allCases)
        func reuse(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime()
                for session in ["s1", "s2"] { try await world.login(session, at: now) }
                _ = try await world.refresh("s1", "first", to: "second", at: now)
                _ = try await world.refresh("s1", "second", to: "third", at: now + 1)
                #expect(try await world.refresh("s1", "first", to: "second", at: now + 2) == .reused)
                try await world.expect(.revoked, "s1")
                try await world.expect(.active, "s2")
                for token in ["first", "second", "third"] {
                    #expect(try await world.refresh("s1", token, to: "fourth", at: now + 3) == .ended)
                }
                try await world.expect(.revoked, "s1")
                #expect(try await world.list(at: now + 4).map(\.summary).sorted() == ["s1 refresh_reuse", "s2"])
                #expect(try await world.list(at: now + 4).first { $0.session == "s1" }?.revokedAt == now + 2)
            }
        }

        @Test("without a window lets no retry pass", arguments: StoreKind.allCases)
        func noWindow(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime(), rules = SessionRules.usual.with { $0.reuseWindow = 0 }
                try await world.login("s1", at: now)
                _ = try await world.refresh("s1", "first", to: "second", rules: rules, at: now)
                #expect(try await world.refresh("s1", "first", to: "second", rules: rules, at: now) == .reused)
            }
        }

        @Test("with a token that was never given out changes nothing", arguments: StoreKind.allCases)
        func madeUp(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime()
                try await world.login("s1", at: now)
                let before = try await world.list(at: now)
                #expect(try await world.refresh("s1", "made up", to: "second", proven: false, at: now) == .unknown)
                #expect(try await world.refresh("s1", "", to: "second", proven: false, at: now) == .unknown)
                #expect(try await world.refresh("s2", "first", to: "second", proven: false, at: now) == .unknown)
                #expect(try await world.refresh("s1", "first", to: "second", proven: false, of: UserID(name: "bob"), at: now) == .unknown)
                #expect(try await world.refresh("s2", "first", to: "second", at: now) == .ended, "given out, but nothing is left of the session")
                #expect(try await world.list(at: now) == before)
                try await world.expect(.revoked, "s2")
                try await world.expect(.active, "s1")
            }
        }

        @Test("never revives a session, whatever ended it", arguments: StoreKind.allCases)
        func ended(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime()
                for session in ["s1", "s2", "s3"] {
                    try await world.login(session, at: now)
                    _ = try await world.refresh(session, "first", to: "second", at: now)
                }
                _ = try await world.logout("s1", at: now)
                _ = try await world.login("s4", rules: .usual.with { $0.maxPerUser = 2 }, at: now + 1)
                _ = try await world.logoutAll(at: now + 2)
                for session in ["s1", "s2", "s3", "s4"] {
                    for token in ["first", "second"] {
                        #expect(try await world.refresh(session, token, to: "third", at: now + 3) == .ended)
                    }
                    try await world.expect(.revoked, session)
                }
                #expect(try await world.list(at: now + 4).allSatisfy { !$0.active })
            }
        }

        @Test("after the session's time says so, also when others have logged in or looked meanwhile", arguments: StoreKind.allCases)
        func expired(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime(), short = SessionRules.usual.with { $0.refreshLifetime = 60_000 }
                try await world.login("s1", rules: short, at: now)
                #expect(try await world.refresh("s1", "first", to: "second", rules: short, at: now + 60_000) == .expired)
                try await world.login("s2", at: now + 60_000)
                #expect(try await world.list(at: now + 60_000).map(\.session) == ["s2"])
                #expect(try await world.refresh("s1", "first", to: "second", rules: short, at: now + 60_001) == .expired)
                #expect(try await world.list(at: now + 60_002).map(\.session) == ["s2"])
            }
        }
    }
}
