// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import HTTPTypes
import Sessions
import Tokens

/// What both APIs do with sessions: begin them, end them, show them. Ending one returns when nothing of it is open in the fleet (contract §1).
///
/// Throws `Refusal` or `StoreUnavailable`; what has thrown is not known to have taken effect.
struct SessionService: Sendable {
    /// No token is remembered as revoked for longer than until the end of this year's last second, whatever its `exp` says: 9999.
    private static let latestSecond: Double = 253_402_300_799

    let store: any SessionStore
    let metrics: ControlMetrics
    let now: @Sendable () -> UnixMilliseconds

    /// What a login answers.
    struct Issued: Sendable {
        let user: String
        let session: String
        let access: AccessToken
        let refresh: RefreshToken
        let sessionEnd: UnixMilliseconds
        let now: UnixMilliseconds
        /// Older sessions of the user that gave way to it (`sessions.max_per_user`).
        var displaced: [String] = []

        func answer(status: HTTPResponse.Status, configuration: ControlConfiguration) -> ControlAnswer {
            .json(status: status) { json in
                json.member("token_type", "Bearer")
                json.member("access_token", access.text)
                json.member("expires_in", max(0, (access.expiresAt * 1000 - now) / 1000))
                json.member("refresh_token", refresh.text)
                json.member("session_id", session)
                json.member("user", user)
            }
        }

        func cookies(_ configuration: ControlConfiguration) -> [String] {
            configuration.cookies(access: access, refresh: refresh, sessionEnd: sessionEnd, now: now)
        }
    }

    /// Where a new session comes from; for people to recognise it by.
    struct Origin: Sendable {
        var device: String?
        var ip: String?
        var userAgent: String?
    }

    /// A session's id: 128 random bits.
    static func makeID() -> String { Base64URL.encode(Digest.randomBytes(16)) }

    /// Begins a session of an own user who has been authenticated, and ends the oldest beyond the limit.
    func begin(_ user: String, origin: Origin, claims: [UInt8]?, key: SigningKey, configuration: ControlConfiguration) async throws -> Issued {
        let now = now(), rules = configuration.rules
        let session = Self.makeID()
        let sessionEnd = now + min(rules.refreshLifetime, rules.sessionLifetime)
        // Signed before it is stored: claims that make it too long leave nothing behind.
        let access = try AccessToken(
            user: user, session: session, claims: claims, sessionEnd: sessionEnd, key: key, configuration: configuration, now: now)
        let refresh = RefreshToken(user: user, session: session, key: key)
        let record = SessionRecord(
            session: session, user: UserID(name: user), device: ControlRequest.note(origin.device), ip: ControlRequest.note(origin.ip),
            userAgent: ControlRequest.note(origin.userAgent), claims: claims, createdAt: now, lastSeenAt: now, expiresAt: sessionEnd)
        let displaced = try await store.create(record, refreshHash: refresh.hash, rules: rules, now: now)
        return Issued(user: user, session: session, access: access, refresh: refresh, sessionEnd: sessionEnd, now: now, displaced: displaced)
    }

    /// Rotates a refresh token (contract §5, Refresh).
    func refresh(_ presented: RefreshToken, key: SigningKey, configuration: ControlConfiguration) async throws -> Issued {
        let now = now(), user = UserID(name: presented.user)
        var successor = presented.successor(key: key)
        let rotation = try await store.rotate(
            presented.session, of: user, presentedHash: presented.hash, successorHash: successor.hash,
            provenOrigin: presented.isProven(by: configuration.allKeys), rules: configuration.rules, now: now)
        let record: SessionRecord
        switch rotation {
        case .rotated(let rotated):
            record = rotated
        case .repeated(let repeated):
            record = repeated
            successor = try await successorGivenBefore(presented, configuration: configuration)
        case .reused: throw Refusal.refreshReused
        case .unknown: throw Refusal.refreshMalformed
        case .ended: throw Refusal.sessionRevoked
        case .expired: throw Refusal.refreshExpired
        }
        let sessionEnd = record.expiresAt ?? now + configuration.rules.refreshLifetime
        let access = try AccessToken(
            user: presented.user, session: presented.session, claims: record.claims, sessionEnd: sessionEnd, key: key, configuration: configuration,
            now: now)
        return Issued(user: presented.user, session: presented.session, access: access, refresh: successor, sessionEnd: sessionEnd, now: now)
    }

    /// The successor that a retry has to get again: derived under the key that signed then, which a reload may have replaced since.
    private func successorGivenBefore(_ presented: RefreshToken, configuration: ControlConfiguration) async throws -> RefreshToken {
        let candidates = configuration.allKeys.map { presented.successor(key: $0) }
        for candidate in candidates.dropFirst() {
            let user = UserID(name: presented.user)
            if try await store.record(presented.session, of: user, currentHash: candidate.hash) != nil { return candidate }
        }
        guard let first = candidates.first else { throw Refusal.notFound }
        return first
    }

    /// Ends one session, whose user has been authenticated or named by an administrator.
    ///
    /// - Parameters:
    ///   - kind: how its issuer's sessions are decided; nil where that is not known: then it is ended in every way that its namespace has.
    ///   - mustBeKnown: ends nothing where there is no such session. What is revoked of a `revocable` issuer has to be remembered for long, so a user may
    ///     not have ids remembered that were made up.
    ///   - tokenEnd: when the token that asks is no longer accepted, Unix seconds.
    func end(
        _ session: String, of user: UserID, kind: SessionKind?, reason: RevokeReason, mustBeKnown: Bool = false, tokenEnd: Double? = nil,
        configuration: ControlConfiguration
    ) async throws -> Ending {
        let start = ContinuousClock.now, now = now(), rules = configuration.rules
        var ending = Ending.unknown
        if kind != .revocable {
            ending = try await store.end(session, of: user, reason: reason, rules: rules, now: now)
            if mustBeKnown, ending == .unknown { return .unknown }
        }
        if kind == .revocable || kind == nil && configuration.hasRevocable(in: user.namespace) {
            try await store.revoke(session, of: user, until: rememberedUntil(tokenEnd, rules: rules, now: now), now: now)
            if ending == .unknown { ending = .ended }
        }
        if ending != .unknown { metrics.logoutTook(.now - start) }
        return ending
    }

    /// Ends all sessions of a user and returns how many were active.
    ///
    /// - Parameters:
    ///   - issuedAt: `iat` of the token that asks, Unix seconds; nil for an administrator.
    ///   - tokenEnd: when that token is no longer accepted, Unix seconds.
    func endAll(
        of user: UserID, reason: RevokeReason, issuedAt: Int64? = nil, tokenEnd: Double? = nil, configuration: ControlConfiguration
    ) async throws -> Int {
        let start = ContinuousClock.now, now = now(), rules = configuration.rules
        var before: RevokedBefore?
        if configuration.hasRevocable(in: user.namespace) {
            before = RevokedBefore(moment: max(now / 1000, issuedAt ?? 0), until: rememberedUntil(tokenEnd, rules: rules, now: now))
        }
        let count = try await store.endAll(of: user, reason: reason, alsoRevokeIssued: before, rules: rules, now: now)
        metrics.logoutTook(.now - start)
        return count
    }

    /// How long a revocation of what another issuer has issued must be remembered: nobody knows its other tokens of the session, so as long as
    /// any session may last, and longer where the token that asks does.
    private func rememberedUntil(_ tokenEnd: Double?, rules: SessionRules, now: UnixMilliseconds) -> UnixMilliseconds {
        let end = min(tokenEnd ?? 0, Self.latestSecond) * 1000
        return max(now + rules.sessionLifetime, Int64(end.rounded(.up)))
    }

    func list(of user: UserID, current: String?, configuration: ControlConfiguration) async throws -> ControlAnswer {
        let records = try await store.list(of: user, rules: configuration.rules, now: now())
        return .json { json in
            json.name("sessions")
            json.beginArray()
            for record in records { Self.write(record, isCurrent: current.map(record.session.isIdentical) ?? false, to: &json) }
            json.endArray()
        }
    }

    /// One session as contract §5 shows it: an object.
    static func write(_ record: SessionRecord, isCurrent: Bool, to json: inout JSONWriter) {
        json.beginObject()
        json.member("session_id", record.session)
        json.member("current", isCurrent)
        json.member("device", record.device)
        json.member("ip", record.ip)
        json.member("user_agent", record.userAgent)
        json.member("created_at", record.createdAt.map(Timestamp.spelling))
        json.member("last_seen_at", record.lastSeenAt.map(Timestamp.spelling))
        json.member("expires_at", record.expiresAt.map(Timestamp.spelling))
        json.member("revoked", !record.active)
        json.member("revoked_at", record.revokedAt.map(Timestamp.spelling))
        json.member("revoke_reason", record.revokeReason?.rawValue)
        json.endObject()
    }
}
