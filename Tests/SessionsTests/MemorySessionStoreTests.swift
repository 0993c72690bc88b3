// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Synchronization
import Testing

@testable import Sessions

@Suite("Time in the memory store")
struct MemorySessionStoreTests {
    /// A clock that stands still until a test moves it.
    private final class Clock: Sendable {
        private let time = Mutex<UnixMilliseconds>(1_000_000)
        var now: UnixMilliseconds { time.withLock { $0 } }
        func advance(_ milliseconds: UnixMilliseconds) { time.withLock { $0 += milliseconds } }
    }

    private let clock = Clock()
    private let store: MemorySessionStore
    private let user = UserID(name: "alice")

    init() {
        store = MemorySessionStore(now: { [clock] in clock.now })
    }

    private func isActive(_ session: String, kind: SessionKind = .registered, issuedAt: Int64? = nil) async -> Bool {
        await store.answer(session, of: user, kind: kind, issuedAt: issuedAt)
    }

    @Test("ends a session to the millisecond")
    func end() async {
        #expect(await store.register("s1", of: user, expiresAt: clock.now + 100, rules: .usual, now: clock.now) == .registered)
        clock.advance(99)
        #expect(await isActive("s1"))
        clock.advance(1)
        #expect(await !isActive("s1"))
        #expect(await store.end("s1", of: user, reason: .logout, rules: .usual, now: clock.now) == .endedBefore)
    }

    @Test("ends what is remembered of revocable sessions to the millisecond")
    func revocable() async {
        await store.revoke("s1", of: user, until: clock.now + 100, now: clock.now)
        _ = await store.endAll(
            of: user, reason: .logoutAll, alsoRevokeIssued: RevokedBefore(moment: 1_000, until: clock.now + 200), rules: .usual, now: clock.now)
        clock.advance(99)
        #expect(await !isActive("s1", kind: .revocable, issuedAt: 1_001))
        clock.advance(1)
        #expect(await isActive("s1", kind: .revocable, issuedAt: 1_001))
        clock.advance(99)
        #expect(await !isActive("s1", kind: .revocable, issuedAt: 1_000))
        clock.advance(1)
        #expect(await isActive("s1", kind: .revocable, issuedAt: 1_000))
    }

    @Test("forgets a revoked session when its memory is over, whether or not anything has been cleared up since")
    func forgotten() async {
        let rules = SessionRules.usual.with { $0.retainRevoked = 1_000 }
        func register() async -> Registration {
            await store.register("s1", of: user, expiresAt: clock.now + 600_000, rules: rules, now: clock.now)
        }
        for _ in 1...3 {
            #expect(await register() == .registered)
            #expect(await store.end("s1", of: user, reason: .logout, rules: rules, now: clock.now) == .ended)
            clock.advance(999)
            #expect(await register() == .revokedBefore)
            #expect(await store.list(of: user, rules: rules, now: clock.now).count == 1)
            clock.advance(1)
            #expect(await store.list(of: user, rules: rules, now: clock.now).isEmpty)
        }
        #expect(await register() == .registered)
        #expect(await isActive("s1"))
    }

    @Test("keeps what is not over when it clears up")
    func sweep() async {
        let other = UserID(name: "bob")
        #expect(await store.register("short", of: user, expiresAt: clock.now + 1_000, rules: .usual, now: clock.now) == .registered)
        #expect(await store.register("long", of: user, expiresAt: clock.now + 600_000, rules: .usual, now: clock.now) == .registered)
        await store.revoke("r1", of: user, until: clock.now + 600_000, now: clock.now)
        await store.revoke("r2", of: other, until: clock.now + 1_000, now: clock.now)
        let rules = AttemptRules(limit: 1, window: 600_000)
        #expect(await store.beginAttempt("1", under: "f", rules: rules, now: clock.now) == .admitted)
        await store.endAttempt("1", under: "f", failed: true, rules: rules, now: clock.now)
        for _ in 1...5 {
            clock.advance(61_000)
            _ = await store.create(
                SessionRecord(session: "s", user: other, createdAt: clock.now, expiresAt: clock.now + 1), refreshHash: [1], rules: .usual,
                now: clock.now)
            #expect(await isActive("long"))
            #expect(await !isActive("r1", kind: .revocable, issuedAt: 1))
            #expect(await store.beginAttempt("2", under: "f", rules: rules, now: clock.now) == .limited)
        }
        #expect(store.health == StoreHealth(isUp: true, wasEverUp: true))
    }

    @Test("remembers the newest failures of a flood of made-up names, and not all of them")
    func flood() {
        var ledger = AttemptLedger()
        let rules = AttemptRules(limit: 1, window: 60_000)
        func fail(_ name: String) {
            let start = ledger.begin("1", under: name, rules: rules, now: clock.now)
            #expect(start == .admitted)
            ledger.end("1", under: name, failed: true, rules: rules, now: clock.now)
        }
        for number in 0..<(AttemptLedger.keyLimit * 3) { fail("\(number)") }
        #expect(ledger.keyCount <= AttemptLedger.keyLimit * 2)
        let newest = ledger.begin("2", under: "\(AttemptLedger.keyLimit * 3 - 1)", rules: rules, now: clock.now)
        #expect(newest == .limited)
        // All is over, and goes: what is asked next finds nothing, and what was kept is dropped in two windows.
        for _ in 0..<2 {
            clock.advance(60_001)
            fail("one")
        }
        #expect(ledger.keyCount <= 2)
    }
}
