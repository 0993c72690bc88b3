// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import Testing

extension EverySessionStore {
    @Suite("Names")
    struct Names {
        /// Users that are easily taken for each other, or for a piece of a key.
        static let users: [UserID] = [
            UserID(name: "a"), UserID(name: "A"), UserID(name: "a/b"), UserID(namespace: "a", name: "b"), UserID(name: "b"),
            UserID(name: "a%2Fb"), UserID(name: "a%2fb"), UserID(name: "a%252Fb"), UserID(namespace: "a", name: "b/c"),
            UserID(namespace: "a/b", name: "c"), UserID(name: "a/b/c"), UserID(name: "{a}"), UserID(name: "a}"), UserID(name: "}{"),
            UserID(name: "{"), UserID(name: "}:s"), UserID(name: "a b"), UserID(name: "a  b"), UserID(name: "a:s"), UserID(name: "*"),
            UserID(name: "a*"), UserID(name: "[a]"), UserID(name: "a?"), UserID(name: "."), UserID(name: ".."), UserID(name: "a\r\nb"),
            UserID(name: "a\0b"), UserID(name: "\\"), UserID(name: "'"), UserID(name: "\""), UserID(name: "a@b.example"),
            UserID(name: "J\u{f6}rg"), UserID(name: "Jo\u{308}rg"), UserID(name: "\u{65e5}\u{672c}"), UserID(name: "\u{1f469}\u{200d}\u{1f4bb}"),
            UserID(name: "%"), UserID(name: "%s%d%n"), UserID(name: "%%"), UserID(name: String(repeating: "x", count: 256)),
            UserID(name: String(repeating: "x", count: 255)), UserID(name: String(repeating: "\u{e9}", count: 128)),
            UserID(namespace: "{a}", name: "b"), UserID(name: "a:b"), UserID(name: "user:1:sessions"), UserID(name: "sessions:{a}"),
            UserID(name: "\r\nDEL a\r\n"), UserID(name: String(repeating: "long ", count: 1024)),
        ]

        @Test("of users are kept apart, whatever bytes they have", arguments: StoreKind.allCases)
        func users(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime(), users = Self.users
                #expect(Set(users).count == users.count)
                for (index, user) in users.enumerated() {
                    try await world.login("s\(index)", of: user, at: now)
                    try await world.store.revoke("r\(index)", of: user, until: now + 600_000, now: now)
                }
                for (index, user) in users.enumerated() {
                    #expect(try await world.list(of: user, at: now).map(\.session) == ["s\(index)"], "\(user)")
                    for other in users.indices {
                        #expect(try await world.ask("s\(other)", of: user) == (other == index ? .active : .revoked), "\(user) \(other)")
                        let revocable = try await world.ask("r\(other)", of: user, kind: .revocable)
                        #expect(revocable == (other == index ? .revoked : .active), "\(user) \(other)")
                    }
                }
                for (index, user) in users.enumerated() {
                    #expect(try await world.logoutAll(of: user, at: now) == 1, "\(user)")
                    #expect(try await world.list(of: user, at: now).map(\.summary) == ["s\(index) logout_all"])
                }
            }
        }

        @Test("of sessions are kept apart, whatever bytes they have, in each operation", arguments: StoreKind.allCases)
        func sessions(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime()
                let sessions = Self.users.map(\.display).filter { $0 != "a/b" && $0 != "a/b/c" } + ["a/b", "s:1", "1", "01", "-1", "nil", "a/b/c"]
                for (index, session) in sessions.enumerated() {
                    if index.isMultiple(of: 2) {
                        try await world.login(session, at: now)
                    } else {
                        #expect(try await world.register(session, until: now + 60_000, at: now) == .registered, "\(session)")
                    }
                }
                #expect(try await world.list(at: now).map { Array($0.session.utf8) }.count == sessions.count)
                for (index, session) in sessions.enumerated() {
                    try await world.expect(.active, session)
                    if index.isMultiple(of: 2) {
                        guard case .rotated = try await world.refresh(session, "first", to: "second", at: now) else {
                            Issue.record("not rotated: \(session)")
                            continue
                        }
                    }
                    #expect(try await world.logout(session, at: now) == .ended, "\(session)")
                    try await world.expect(.revoked, session)
                    #expect(try await world.register(session, until: now + 60_000, at: now) == .revokedBefore, "\(session)")
                    #expect(try await world.list(at: now).count { $0.active } == sessions.count - index - 1, "\(session)")
                }
            }
        }

        @Test("that look alike but differ in their bytes are different sessions", arguments: StoreKind.allCases)
        func canonical(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime()
                try await world.login("\u{e9}", at: now)
                try await world.expect(.active, "\u{e9}")
                try await world.expect(.revoked, "e\u{301}")
                #expect(try await world.logout("e\u{301}", at: now) == .unknown)
                try await world.expect(.active, "\u{e9}")
                try await world.store.revoke("\u{e9}", of: StoreWorld.user, until: now + 600_000, now: now)
                try await world.expect(.active, "e\u{301}", kind: .revocable)
            }
        }

        @Test("and values are kept byte by byte", arguments: StoreKind.allCases)
        func values(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let now = systemTime()
                let record = SessionRecord(
                    session: "s1", user: StoreWorld.user, device: "a\r\nb \u{1f4bb}", ip: "2001:db8::1", userAgent: "",
                    claims: Array("{\"a\":\"\\u0000\"}".utf8),
                    createdAt: now, lastSeenAt: now, expiresAt: now + 60_000)
                let hash = (0...255).map { UInt8($0) }
                _ = try await world.store.create(record, refreshHash: hash, rules: .usual, now: now)
                #expect(try await world.store.record("s1", of: StoreWorld.user, currentHash: hash) == record)
                let bare = SessionRecord(session: "s2", user: StoreWorld.user, createdAt: now + 1, expiresAt: now + 60_000)
                _ = try await world.store.create(bare, refreshHash: hash, rules: .usual, now: now + 1)
                #expect(try await world.list(at: now + 1) == [bare, record])
            }
        }
    }
}
