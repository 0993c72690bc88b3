// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions

/// Every operation of a store on the session `s1` of `alice`.
enum Call: CaseIterable {
    case create, register, end, endAll, endAllIssued, revoke, list, answer, answerRevocable, rotate, record, beginAttempt, endAttempt

    var writes: Bool {
        switch self {
        case .create, .register, .end, .endAll, .endAllIssued, .revoke, .rotate, .beginAttempt, .endAttempt: true
        case .list, .answer, .answerRevocable, .record: false
        }
    }

    /// Whether any number is an answer to it.
    var isCount: Bool {
        switch self {
        case .endAll, .endAllIssued: true
        default: false
        }
    }

    /// Whether 2 is an answer to it.
    var isOne: Bool { self == .end }

    func run(_ world: StoreWorld) async throws {
        let now = systemTime(), user = StoreWorld.user
        switch self {
        case .create: try await world.login("s9", at: now)
        case .register: _ = try await world.register("s8", until: now + 60_000, at: now)
        case .end: _ = try await world.logout("s1", at: now)
        case .endAll: _ = try await world.logoutAll(at: now)
        case .endAllIssued: _ = try await world.logoutAll(issued: RevokedBefore(moment: 1, until: now + 60_000), at: now)
        case .revoke: try await world.store.revoke("r1", of: user, until: now + 60_000, now: now)
        case .list: _ = try await world.list(at: now)
        case .answer: _ = try await world.store.answer("s1", of: user, kind: .registered, issuedAt: nil)
        case .answerRevocable: _ = try await world.store.answer("s1", of: user, kind: .revocable, issuedAt: 2)
        case .rotate: _ = try await world.refresh("s1", "first", to: "second", at: now)
        case .record: _ = try await world.store.record("s1", of: user, currentHash: nil)
        case .beginAttempt: _ = try await world.begin("1")
        case .endAttempt: try await world.end("1", failed: true)
        }
    }
}
