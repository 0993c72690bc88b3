// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import TestSupport
import Testing

extension EverySessionStore {
    @Suite("Revocable issuers")
    struct Revocable {
        @Test("have sessions that are active until one is revoked, and only that one", arguments: StoreKind.allCases)
        func byID(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime(), bob = UserID(name: "bob")
                for issuedAt in [nil, now / 1000] as [Int64?] { try await world.expect(.active, "s1", kind: .revocable, issuedAt: issuedAt) }
                try await world.store.revoke("s1", of: StoreWorld.user, until: now + 600_000, now: now)
                for issuedAt in [nil, now / 1000, now / 1000 + 10] as [Int64?] {
                    try await world.expect(.revoked, "s1", kind: .revocable, issuedAt: issuedAt)
                }
                try await world.expect(.active, "s2", kind: .revocable)
                try await world.expect(.active, "s1", of: bob, kind: .revocable)
                try await world.store.revoke("s1", of: StoreWorld.user, until: now + 600_000, now: now)
                try await world.expect(.revoked, "s1", kind: .revocable)
            }
        }

        @Test("forget a revoked session when its last token has ended, and not before", arguments: StoreKind.allCases)
        func forgotten(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime()
                try await world.store.revoke("s1", of: StoreWorld.user, until: now + 700, now: now)
                let answer = try await world.ask("s1", kind: .revocable)
                #expect(answer == .revoked || systemTime() >= now + 700)
                try await eventually("it is forgotten") { try await world.ask("s1", kind: .revocable) == .active }
                #expect(systemTime() >= now + 700)

                let later = systemTime()
                try await world.store.revoke("s2", of: StoreWorld.user, until: later + 600_000, now: later)
                // A later logout with a shorter memory takes nothing away.
                try await world.store.revoke("s2", of: StoreWorld.user, until: later - 1, now: later)
                try await world.store.revoke("s3", of: StoreWorld.user, until: later + 1, now: later)
                try await world.expect(.revoked, "s2", kind: .revocable)
            }
        }

        @Test("end with a logout from everywhere what was issued at or before it, and tokens that do not say when", arguments: StoreKind.allCases)
        func byMoment(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime(), moment = now / 1000
                _ = try await world.logoutAll(issued: RevokedBefore(moment: moment, until: now + 600_000), at: now)
                for session in ["s1", "s2"] {
                    for issuedAt in [moment, moment - 1, 0, -1, nil] as [Int64?] {
                        try await world.expect(.revoked, session, kind: .revocable, issuedAt: issuedAt)
                    }
                    try await world.expect(.active, session, kind: .revocable, issuedAt: moment + 1)
                }
                try await world.expect(.active, "s1", of: UserID(name: "bob"), kind: .revocable, issuedAt: moment)
            }
        }

        @Test("keep the greatest of those moments and the longest memory, in whatever order they come", arguments: StoreKind.allCases)
        func greatest(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime(), moment = now / 1000
                _ = try await world.logoutAll(issued: RevokedBefore(moment: moment + 100, until: now + 600_000), at: now)
                _ = try await world.logoutAll(issued: RevokedBefore(moment: moment, until: now + 1), at: now)
                try await eventually("the shorter memory is over") { systemTime() > now + 10 }
                try await world.expect(.revoked, "s1", kind: .revocable, issuedAt: moment + 100)
                try await world.expect(.active, "s1", kind: .revocable, issuedAt: moment + 101)
                _ = try await world.logoutAll(issued: RevokedBefore(moment: moment + 200, until: now + 600_000), at: now)
                try await world.expect(.revoked, "s1", kind: .revocable, issuedAt: moment + 200)
                _ = try await world.logoutAll(at: now)
                try await world.expect(.revoked, "s1", kind: .revocable, issuedAt: moment + 200)
                try await world.expect(.active, "s1", kind: .revocable, issuedAt: moment + 201)
            }
        }

        @Test("forget the moment when the last token that it concerns has ended", arguments: StoreKind.allCases)
        func momentForgotten(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime()
                _ = try await world.logoutAll(issued: RevokedBefore(moment: now / 1000, until: now + 700), at: now)
                try await eventually("it is forgotten") { try await world.ask("s1", kind: .revocable, issuedAt: now / 1000) == .active }
                #expect(systemTime() >= now + 700)
            }
        }

        @Test("take moments of twelve digits", arguments: StoreKind.allCases)
        func twelveDigits(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime(), moment = Int64(999_999_999_999)
                _ = try await world.logoutAll(issued: RevokedBefore(moment: moment, until: now + 600_000), at: now)
                try await world.expect(.revoked, "s1", kind: .revocable, issuedAt: moment)
                try await world.expect(.active, "s1", kind: .revocable, issuedAt: moment + 1)
                _ = try await world.logoutAll(issued: RevokedBefore(moment: now / 1000, until: now + 600_000), at: now)
                try await world.expect(.revoked, "s1", kind: .revocable, issuedAt: moment)
            }
        }

        @Test("and registered sessions of the same user do not mix: each kind has its own truth", arguments: StoreKind.allCases)
        func kinds(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime(), moment = now / 1000
                try await world.login("s1", at: now)
                try await world.store.revoke("s1", of: StoreWorld.user, until: now + 600_000, now: now)
                try await world.expect(.active, "s1")
                #expect(try await world.logoutAll(issued: RevokedBefore(moment: moment, until: now + 600_000), at: now) == 1)
                try await world.expect(.revoked, "s1")
                try await world.login("s2", at: now)
                try await world.expect(.active, "s2", issuedAt: moment)
                try await world.expect(.revoked, "s2", kind: .revocable, issuedAt: moment)
            }
        }
    }
}
