// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Synchronization

/// Sessions of one process, lost when it ends: for the demo, for tests, and for a single gateway that may forget.
///
/// The same rules as in Redis, under one lock. Loops ask under it as well: an answer given after a logout has returned
/// must know of the logout, and holding a dictionary look-up under a lock is all that this store costs.
package final class MemorySessionStore: SessionStore {
    struct Entry {
        var record: SessionRecord
        var refreshHash: [UInt8]?
        var previousHash: [UInt8]?
        var rotatedAt: UnixMilliseconds = 0
        /// When it is forgotten.
        var forgetAt: UnixMilliseconds
    }

    struct User {
        var sessions: [ExactText: Entry] = [:]
        var revoked: [ExactText: UnixMilliseconds] = [:]
        var revokedBefore: RevokedBefore?
    }

    struct UsedToken: Hashable {
        let issuer: ExactText
        let id: ExactText
    }

    struct State {
        var users: [UserID: User] = [:]
        var attempts = AttemptLedger()
        /// Logout tokens by issuer and `jti`, and until when they are remembered.
        var usedTokens: [UsedToken: UnixMilliseconds] = [:]
        var nextSweep: UnixMilliseconds = 0
    }

    /// How often everything that is over is forgotten, in milliseconds.
    private static let sweepInterval: UnixMilliseconds = 60_000

    private let state = Mutex(State())
    private let loops = SessionLoops<MemorySessionLookup>()
    private let now: @Sendable () -> UnixMilliseconds

    private let edge: EdgeDescription?

    /// - Parameters:
    ///   - now: Unix time in milliseconds, for answers to loops.
    ///   - edge: this process, which is the whole fleet.
    package init(edge: EdgeDescription? = nil, now: @escaping @Sendable () -> UnixMilliseconds) {
        self.edge = edge
        self.now = now
    }

    package func fleet(now: UnixMilliseconds) async -> [FleetMember] {
        edge.map { [FleetMember(edge: $0, lastHeartbeatAt: now, staleness: 0)] } ?? []
    }

    package var health: StoreHealth { StoreHealth(isUp: true, wasEverUp: true) }

    package func lookup(on eventLoop: any EventLoop) -> SessionLookup {
        let lookup = MemorySessionLookup(self, eventLoop: eventLoop)
        loops.add(lookup)
        return lookup
    }

    /// - Parameter isUse: a request is made with the session, so that it is seen (`UseOfSession.interval`).
    func isActive(_ session: String, of user: UserID, kind: SessionKind, issuedAt: Int64?, isUse: Bool) -> Bool {
        let now = now()
        return state.withLock { state in
            guard let known = state.users[user] else { return kind == .revocable }
            switch kind {
            case .registered:
                guard let entry = known.sessions[session], entry.isActive(now) else { return false }
                if isUse, now - (entry.record.lastSeenAt ?? 0) >= UseOfSession.interval {
                    state.users[user]?.sessions[session]?.record.lastSeenAt = now
                }
                return true
            case .revocable:
                if let until = known.revoked[session], until > now { return false }
                guard let before = known.revokedBefore, before.until > now else { return true }
                return issuedAt.map { $0 > before.moment } ?? false
            }
        }
    }

    package func create(_ record: SessionRecord, refreshHash: [UInt8], rules: SessionRules, now: UnixMilliseconds) async -> [String] {
        let ended = state.withLock { state in
            state.sweep(now, every: Self.sweepInterval)
            return state.users[record.user, default: User()].add(record, refreshHash: refreshHash, rules: rules, now: now)
        }
        for session in ended { await loops.end(session, of: record.user) }
        return ended
    }

    package func register(
        _ session: String, of user: UserID, expiresAt: UnixMilliseconds, rules: SessionRules, now: UnixMilliseconds
    ) async -> Registration {
        state.withLock { state in
            state.sweep(now, every: Self.sweepInterval)
            let known = state.users[user]?.sessions[session]
            if let known, known.forgetAt > now, !known.record.active { return .revokedBefore }
            if var entry = known, entry.isActive(now) {
                entry.record.expiresAt = expiresAt
                entry.forgetAt = expiresAt + rules.retainRevoked
                state.users[user]?.sessions[session] = entry
            } else {
                // What is over by its time, or forgotten, begins as if it were new.
                let record = SessionRecord(session: session, user: user, createdAt: now, expiresAt: expiresAt)
                state.users[user, default: User()].sessions[session] = Entry(record: record, forgetAt: expiresAt + rules.retainRevoked)
            }
            return .registered
        }
    }

    package func end(_ session: String, of user: UserID, reason: RevokeReason, rules: SessionRules, now: UnixMilliseconds) async -> Ending {
        let ending = state.withLock { state -> Ending in
            guard let entry = state.users[user]?.sessions[session], entry.forgetAt > now else { return .unknown }
            guard entry.isActive(now) else { return .endedBefore }
            state.users[user]?.end(session, reason, rules, now)
            return .ended
        }
        if ending == .ended { await loops.end(session, of: user) }
        return ending
    }

    package func endAll(
        of user: UserID, reason: RevokeReason, alsoRevokeIssued: RevokedBefore?, rules: SessionRules, now: UnixMilliseconds
    ) async -> Int {
        let count = state.withLock { state in
            state.sweep(now, every: Self.sweepInterval)
            var known = state.users[user] ?? User()
            let active = known.sessions.values.filter { $0.isActive(now) }.map(\.record.session)
            for session in active { known.end(session, reason, rules, now) }
            if let new = alsoRevokeIssued {
                let old = known.revokedBefore
                known.revokedBefore = RevokedBefore(moment: max(new.moment, old?.moment ?? 0), until: max(new.until, old?.until ?? 0))
            }
            state.users[user] = known
            return active.count
        }
        await loops.end(nil, of: user)
        return count
    }

    package func revoke(_ session: String, of user: UserID, until: UnixMilliseconds, now: UnixMilliseconds) async {
        state.withLock { state in
            state.sweep(now, every: Self.sweepInterval)
            let old = state.users[user]?.revoked[session] ?? 0
            state.users[user, default: User()].revoked[session] = max(old, until)
        }
        await loops.end(session, of: user)
    }

    package func list(of user: UserID, rules: SessionRules, now: UnixMilliseconds) async -> [SessionRecord] {
        let records = state.withLock { state in
            (state.users[user]?.sessions.values ?? [:].values)
                .filter { $0.forgetAt > now && ($0.isActive(now) || $0.record.revokedAt != nil) }
                .map(\.record)
        }
        return records.sorted { ($0.createdAt ?? 0, $0.session) > ($1.createdAt ?? 0, $1.session) }
    }

    package func answer(_ session: String, of user: UserID, kind: SessionKind, issuedAt: Int64?) async -> Bool {
        isActive(session, of: user, kind: kind, issuedAt: issuedAt, isUse: false)
    }

    package func rotate(
        _ session: String, of user: UserID, presentedHash: [UInt8], successorHash: [UInt8], provenOrigin: Bool, rules: SessionRules,
        now: UnixMilliseconds
    ) async -> Rotation {
        let rotation = state.withLock { state -> Rotation in
            guard var entry = state.users[user]?.sessions[session], entry.forgetAt > now else { return provenOrigin ? .ended : .unknown }
            let decision = RotationRule.decide(
                presented: presentedHash, current: entry.refreshHash, previous: entry.previousHash, rotatedAt: entry.rotatedAt,
                isActive: entry.record.active,
                expiresAt: entry.record.expiresAt, provenOrigin: provenOrigin, reuseWindow: rules.reuseWindow, now: now)
            switch decision {
            case .rotate:
                entry.previousHash = entry.refreshHash
                entry.refreshHash = successorHash
                entry.rotatedAt = now
                let end = min(now + rules.refreshLifetime, (entry.record.createdAt ?? now) + rules.sessionLifetime)
                entry.record.expiresAt = end
                entry.record.lastSeenAt = now
                entry.forgetAt = end + rules.retainRevoked
                state.users[user]?.sessions[session] = entry
                return .rotated(entry.record)
            case .repeat: return .repeated(entry.record)
            case .reuse:
                state.users[user]?.end(session, .refreshReuse, rules, now)
                return .reused
            case .unknown: return .unknown
            case .ended: return .ended
            case .expired: return .expired
            }
        }
        if rotation == .reused { await loops.end(session, of: user) }
        return rotation
    }

    package func record(_ session: String, of user: UserID, currentHash: [UInt8]?) async -> SessionRecord? {
        let now = now()
        return state.withLock { state in
            guard let entry = state.users[user]?.sessions[session], entry.forgetAt > now else { return nil }
            if let currentHash, entry.refreshHash != currentHash { return nil }
            return entry.record
        }
    }

    package func beginAttempt(_ id: String, under key: String, rules: AttemptRules, now: UnixMilliseconds) async -> AttemptStart {
        state.withLock { $0.attempts.begin(id, under: key, rules: rules, now: now) }
    }

    package func endAttempt(_ id: String, under key: String, failed: Bool, rules: AttemptRules, now: UnixMilliseconds) async {
        state.withLock { $0.attempts.end(id, under: key, failed: failed, rules: rules, now: now) }
    }

    package func hasUsed(logoutToken tokenID: String, of issuer: String, now: UnixMilliseconds) async -> Bool {
        state.withLock { $0.usedTokens[UsedToken(issuer: ExactText(issuer), id: ExactText(tokenID)), default: 0] > now }
    }

    package func use(logoutToken tokenID: String, of issuer: String, until: UnixMilliseconds, now: UnixMilliseconds) async -> Bool {
        state.withLock { state in
            state.sweep(now, every: Self.sweepInterval)
            let token = UsedToken(issuer: ExactText(issuer), id: ExactText(tokenID))
            guard state.usedTokens[token, default: 0] <= now else { return false }
            state.usedTokens[token] = until
            return true
        }
    }
}

extension MemorySessionStore.Entry {
    init(record: SessionRecord, forgetAt: UnixMilliseconds) {
        self.init(record: record, refreshHash: nil, previousHash: nil, rotatedAt: 0, forgetAt: forgetAt)
    }

    func isActive(_ now: UnixMilliseconds) -> Bool { record.active && (record.expiresAt ?? .max) > now }
}

extension MemorySessionStore.User {
    /// Returns the ids of the oldest sessions that had to give way.
    mutating func add(_ record: SessionRecord, refreshHash: [UInt8], rules: SessionRules, now: UnixMilliseconds) -> [String] {
        let end = record.expiresAt ?? now + rules.sessionLifetime
        sessions[record.session] = nil
        let active = sessions.values.filter { $0.isActive(now) }
        sessions[record.session] = MemorySessionStore.Entry(
            record: record, refreshHash: refreshHash, previousHash: nil, rotatedAt: 0, forgetAt: end + rules.retainRevoked)
        guard active.count + 1 > rules.maxPerUser else { return [] }
        let surplus = active.sorted { ($0.record.createdAt ?? 0, $0.record.session) < ($1.record.createdAt ?? 0, $1.record.session) }
            .prefix(active.count + 1 - rules.maxPerUser).map(\.record.session)
        for session in surplus { self.end(session, .maxPerUser, rules, now) }
        return surplus
    }

    mutating func end(_ session: String, _ reason: RevokeReason, _ rules: SessionRules, _ now: UnixMilliseconds) {
        sessions[session]?.record.active = false
        sessions[session]?.record.revokedAt = now
        sessions[session]?.record.revokeReason = reason
        sessions[session]?.forgetAt = now + rules.retainRevoked
        if rules.retainRevoked == 0 { sessions[session] = nil }
    }

    var isEmpty: Bool { sessions.isEmpty && revoked.isEmpty && revokedBefore == nil }
}

extension MemorySessionStore.State {
    mutating func sweep(_ now: UnixMilliseconds, every interval: UnixMilliseconds) {
        guard now >= nextSweep else { return }
        nextSweep = now + interval
        for (id, user) in users {
            var user = user
            user.sessions = user.sessions.filter { $0.value.forgetAt > now }
            user.revoked = user.revoked.filter { $0.value > now }
            if let before = user.revokedBefore, before.until <= now { user.revokedBefore = nil }
            users[id] = user.isEmpty ? nil : user
        }
        usedTokens = usedTokens.filter { $0.value > now }
    }
}

final class MemorySessionLookup: SessionLookup {
    private let store: MemorySessionStore

    init(_ store: MemorySessionStore, eventLoop: any EventLoop) {
        self.store = store
        super.init(eventLoop: eventLoop)
    }

    override func ask(_ reference: SessionReference, _ waiter: SessionWaiter) {
        waiter.sessionAnswered(isActive(reference, isUse: true) ? .active : .revoked, from: .store)
    }

    override func lookAfter(_ sessions: UserSessions) {
        for reference in sessions.heldReferences() where !isActive(reference, isUse: false) { sessions.tellHolders(of: reference.session, .expired) }
    }

    private func isActive(_ reference: SessionReference, isUse: Bool) -> Bool {
        store.isActive(reference.session, of: reference.user, kind: reference.kind, issuedAt: reference.issuedAt, isUse: isUse)
    }
}
