// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Sessions
import Synchronization

/// A store that keeps just enough to answer the control plane, counts what it is asked, and fails when a test wants it to.
/// What a store has to promise is tested with the real ones; here it is only a counterpart.
final class FaultyStore: SessionStore {
    fileprivate struct Entry {
        var record: SessionRecord
        var refreshHash: [UInt8] = []
        var previousHash: [UInt8] = []
        var rotatedAt: Int64 = 0
    }

    private struct State {
        var isUp = true
        var callsLeft = Int.max
        var wasEverUp = true
        var entries: [UserID: [String: Entry]] = [:]
        var revoked: [UserID: [String: Int64]] = [:]
        var before: [UserID: RevokedBefore] = [:]
        /// Ids by key, each with whether it has failed.
        var attempts: [String: [String: Bool]] = [:]
        /// By issuer and id, until when they are remembered.
        var usedTokens: [String: UnixMilliseconds] = [:]
    }

    struct Ending: Sendable, Equatable {
        let user: UserID
        let session: String?
        let reason: RevokeReason
    }

    /// What it was told to end, or ended by itself.
    let endings = Recorded<Ending>()
    private let state = Mutex(State())

    func stop() { state.withLock { $0.isUp = false } }
    /// Does that many calls more.
    func stop(afterCalls calls: Int) { state.withLock { $0.callsLeft = calls } }
    func start() {
        state.withLock { state in
            state.isUp = true
            state.callsLeft = .max
            state.wasEverUp = true
        }
    }
    func neverReached() {
        state.withLock { state in
            state.isUp = false
            state.wasEverUp = false
        }
    }

    /// By key, how many have failed.
    var failures: [String: Int] { state.withLock { $0.attempts.mapValues { $0.values.count { $0 } } } }
    /// How many login attempts nobody has ended, over all keys.
    var runningAttempts: Int { state.withLock { $0.attempts.values.reduce(0) { $0 + $1.values.count { !$0 } } } }
    var usedTokens: [String: UnixMilliseconds] { state.withLock { $0.usedTokens } }
    func revokedIDs(of user: UserID) -> [String: Int64] { state.withLock { $0.revoked[user] ?? [:] } }
    func revokedBefore(of user: UserID) -> RevokedBefore? { state.withLock { $0.before[user] } }
    func record(_ session: String, of user: UserID) -> SessionRecord? { state.withLock { $0.entries[user]?[session]?.record } }
    func forgetRecord(_ session: String, of user: UserID) { state.withLock { _ = $0.entries[user]?.removeValue(forKey: session) } }

    private func use<Result: Sendable>(_ body: (inout State) -> sending Result) throws(StoreUnavailable) -> Result {
        let result = state.withLock { state in
            guard state.isUp, state.callsLeft > 0 else { return nil as Result? }
            state.callsLeft -= 1
            return body(&state)
        }
        guard let result else { throw StoreUnavailable("stopped by the test") }
        return result
    }

    func create(_ record: SessionRecord, refreshHash: [UInt8], rules: SessionRules, now: UnixMilliseconds) async throws(StoreUnavailable) -> [String]
    {
        let ended = try use { state in
            state.entries[record.user, default: [:]][record.session] = Entry(record: record, refreshHash: refreshHash)
            let active = (state.entries[record.user] ?? [:]).values.filter(\.record.active).sorted {
                ($0.record.createdAt ?? 0, $0.record.session) < ($1.record.createdAt ?? 0, $1.record.session)
            }
            let ended = active.map(\.record.session).filter { $0 != record.session }.prefix(max(0, active.count - rules.maxPerUser))
            for session in ended { state.entries[record.user]?[session]?.end(.maxPerUser, now) }
            return Array(ended)
        }
        for session in ended { endings.append(Ending(user: record.user, session: session, reason: .maxPerUser)) }
        return ended
    }

    func register(
        _ session: String, of user: UserID, expiresAt: UnixMilliseconds, rules: SessionRules, now: UnixMilliseconds
    ) async throws(StoreUnavailable) -> Registration {
        try use { state in
            if let entry = state.entries[user]?[session], !entry.record.active { return .revokedBefore }
            state.entries[user, default: [:]][session] = Entry(
                record: SessionRecord(session: session, user: user, createdAt: now, expiresAt: expiresAt))
            return .registered
        }
    }

    func end(
        _ session: String, of user: UserID, reason: RevokeReason, rules: SessionRules, now: UnixMilliseconds
    ) async throws(StoreUnavailable) -> Sessions.Ending {
        let ending = try use { state -> Sessions.Ending in
            guard let entry = state.entries[user]?[session] else { return .unknown }
            guard entry.record.active else { return .endedBefore }
            state.entries[user]?[session]?.end(reason, now)
            return .ended
        }
        if ending != .unknown { endings.append(Ending(user: user, session: session, reason: reason)) }
        return ending
    }

    func endAll(
        of user: UserID, reason: RevokeReason, alsoRevokeIssued: RevokedBefore?, rules: SessionRules, now: UnixMilliseconds
    ) async throws(StoreUnavailable) -> Int {
        try use { state in
            let active = (state.entries[user] ?? [:]).values.filter(\.record.active)
            for entry in active { state.entries[user]?[entry.record.session]?.end(reason, now) }
            state.before[user] = alsoRevokeIssued ?? state.before[user]
            endings.append(Ending(user: user, session: nil, reason: reason))
            return active.count
        }
    }

    func revoke(_ session: String, of user: UserID, until: UnixMilliseconds, now: UnixMilliseconds) async throws(StoreUnavailable) {
        try use { $0.revoked[user, default: [:]][session] = until }
        endings.append(Ending(user: user, session: session, reason: .revoked))
    }

    func list(of user: UserID, rules: SessionRules, now: UnixMilliseconds) async throws(StoreUnavailable) -> [SessionRecord] {
        try use { state in (state.entries[user] ?? [:]).values.map(\.record).sorted { ($0.createdAt ?? 0) > ($1.createdAt ?? 0) } }
    }

    func answer(_ session: String, of user: UserID, kind: SessionKind, issuedAt: Int64?) async throws(StoreUnavailable) -> Bool {
        try use { state in
            switch kind {
            case .registered: state.entries[user]?[session]?.record.active ?? false
            case .revocable: state.revoked[user]?[session] == nil && (state.before[user]?.moment ?? .min) < issuedAt ?? .min + 1
            }
        }
    }

    func rotate(
        _ session: String, of user: UserID, presentedHash: [UInt8], successorHash: [UInt8], provenOrigin: Bool, rules: SessionRules,
        now: UnixMilliseconds
    ) async throws(StoreUnavailable) -> Rotation {
        try use { state in
            guard var entry = state.entries[user]?[session] else { return provenOrigin ? .ended : .unknown }
            let isCurrent = entry.refreshHash == presentedHash
            guard provenOrigin || isCurrent else { return .unknown }
            guard entry.record.active else { return .ended }
            if isCurrent {
                guard now < entry.record.expiresAt ?? .max else { return .expired }
                entry.previousHash = presentedHash
                entry.refreshHash = successorHash
                entry.rotatedAt = now
                entry.record.expiresAt = min(now + rules.refreshLifetime, (entry.record.createdAt ?? now) + rules.sessionLifetime)
                state.entries[user]?[session] = entry
                return .rotated(entry.record)
            }
            if entry.previousHash == presentedHash, now < entry.rotatedAt + rules.reuseWindow { return .repeated(entry.record) }
            state.entries[user]?[session]?.end(.refreshReuse, now)
            endings.append(Ending(user: user, session: session, reason: .refreshReuse))
            return .reused
        }
    }

    func record(_ session: String, of user: UserID, currentHash: [UInt8]?) async throws(StoreUnavailable) -> SessionRecord? {
        try use { state in
            guard let entry = state.entries[user]?[session], currentHash == nil || currentHash == entry.refreshHash else { return nil }
            return entry.record
        }
    }

    func beginAttempt(_ id: String, under key: String, rules: AttemptRules, now: UnixMilliseconds) async throws(StoreUnavailable) -> AttemptStart {
        try use { state in
            let attempts = state.attempts[key] ?? [:]
            guard attempts.values.count(where: { $0 }) < rules.limit else { return .limited }
            guard attempts.count < rules.limit else { return .crowded }
            state.attempts[key, default: [:]][id] = false
            return .admitted
        }
    }

    func hasUsed(logoutToken tokenID: String, of issuer: String, now: UnixMilliseconds) async throws(StoreUnavailable) -> Bool {
        try use { $0.usedTokens["\(issuer) \(tokenID)"] != nil }
    }

    func use(logoutToken tokenID: String, of issuer: String, until: UnixMilliseconds, now: UnixMilliseconds) async throws(StoreUnavailable) -> Bool {
        try use { $0.usedTokens.updateValue(until, forKey: "\(issuer) \(tokenID)") == nil }
    }

    func endAttempt(
        _ id: String, under key: String, failed: Bool, rules: AttemptRules, now: UnixMilliseconds
    ) async throws(StoreUnavailable) {
        try use { $0.attempts[key, default: [:]][id] = failed ? true : nil }
    }

    func lookup(on eventLoop: any EventLoop) -> SessionLookup { SessionLookup(eventLoop: eventLoop) }

    func fleet(now: UnixMilliseconds) async throws(StoreUnavailable) -> [FleetMember] {
        try use { _ in
            [
                FleetMember(edge: EdgeDescription(id: "one", address: "127.0.0.1:8080", version: "1.0"), lastHeartbeatAt: now - 250, staleness: 250),
                FleetMember(edge: EdgeDescription(id: "two", address: "", version: "")),
            ]
        }
    }

    var health: StoreHealth { state.withLock { StoreHealth(isUp: $0.isUp, wasEverUp: $0.wasEverUp) } }
}

extension FaultyStore.Entry {
    fileprivate mutating func end(_ reason: RevokeReason, _ now: UnixMilliseconds) {
        record.active = false
        record.revokedAt = now
        record.revokeReason = reason
    }
}
