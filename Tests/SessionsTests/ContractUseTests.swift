// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import TestSupport
import Testing

extension EverySessionStore {
    @Suite("When a session was last used")
    struct Use {
        private func lastSeen(_ session: String, _ world: StoreWorld) async throws -> UnixMilliseconds? {
            try await world.store.record(session, of: StoreWorld.user, currentHash: nil)?.lastSeenAt
        }

        @Test("is told soon after it was, also of a session that was registered and never used before", arguments: StoreKind.allCases)
        func told(kind: StoreKind) async throws {
            try await StoreWorld.run(kind, useTick: .milliseconds(20)) { world in
                let now = systemTime(), before = now - 120_000
                try await world.login("s1", at: before)
                try await world.login("idle", at: before)
                #expect(try await world.register("s2", until: now + 3_600_000, at: before) == .registered)
                for session in ["s1", "s2"] { #expect(try await world.ask(session) == .active) }
                for session in ["s1", "s2"] {
                    try await eventually("\(session) was seen") { try await lastSeen(session, world) ?? 0 >= now }
                    #expect(try await lastSeen(session, world) ?? .max <= systemTime())
                }
                #expect(try await lastSeen("idle", world) == before)
                let listed = try await world.list(at: systemTime())
                #expect(listed.first { $0.session == "s1" }?.lastSeenAt ?? 0 >= now)
            }
        }

        @Test("moves at most once a minute", arguments: StoreKind.allCases)
        func once(kind: StoreKind) async throws {
            try await StoreWorld.run(kind, useTick: .milliseconds(5)) { world in
                let now = systemTime()
                try await world.login("recent", at: now - 50_000)
                try await world.login("old", at: now - 70_000)
                // The older one shows when notes of both have been written.
                for _ in 1...3 {
                    _ = try await world.use("recent", times: 20)
                    _ = try await world.use("old", times: 20)
                }
                try await eventually("the old one was seen") { try await lastSeen("old", world) ?? 0 >= now }
                let seen = try await lastSeen("old", world)
                _ = try await world.use("old", times: 20)
                _ = try await world.use("recent", times: 20)
                #expect(try await lastSeen("recent", world) == now - 50_000 || systemTime() >= now + 10_000)
                #expect(try await lastSeen("old", world) == seen || systemTime() >= now + 60_000)
            }
        }

        @Test("is not what the control plane's own questions are, nor requests of a session that has ended", arguments: StoreKind.allCases)
        func noUse(kind: StoreKind) async throws {
            try await StoreWorld.run(kind, useTick: .milliseconds(5)) { world in
                let now = systemTime(), before = now - 120_000
                for session in ["s1", "ended", "used"] { try await world.login(session, at: before) }
                _ = try await world.logout("ended", at: before)
                #expect(try await world.store.answer("s1", of: StoreWorld.user, kind: .registered, issuedAt: nil))
                #expect(try await world.ask("ended") == .revoked)
                _ = try await world.ask("used")
                try await eventually("uses have been written") { try await lastSeen("used", world) ?? 0 >= now }
                for session in ["s1", "ended"] { #expect(try await lastSeen(session, world) == before) }
            }
        }
    }
}
