// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// Why a session ended; the raw value is what is stored and shown (contract §5, `revoke_reason`).
package enum RevokeReason: String, Sendable, CaseIterable {
    case logout, logoutAll = "logout_all", user, admin, refreshReuse = "refresh_reuse", maxPerUser = "max_per_user", backchannel, revoked
}

/// The store did not do it, or it is not known whether it did: 503, and the caller may repeat.
package struct StoreUnavailable: Error, Sendable {
    /// What went wrong, for the log; never holds a value that a client sent.
    package let reason: String
    package init(_ reason: String) { self.reason = reason }
}

/// Unix time in milliseconds.
package typealias UnixMilliseconds = Int64

/// A session as it is remembered beside the set of active ids. Never consulted to authorise.
package struct SessionRecord: Sendable, Equatable {
    package var session: String
    package var user: UserID
    package var device: String?
    package var ip: String?
    package var userAgent: String?
    /// Claims of the session as one JSON object (UTF-8), put into each of its access tokens; nil for none.
    package var claims: [UInt8]?
    package var createdAt: UnixMilliseconds?
    package var lastSeenAt: UnixMilliseconds?
    package var expiresAt: UnixMilliseconds?
    package var revokedAt: UnixMilliseconds?
    package var revokeReason: RevokeReason?
    /// Whether the id is in the user's set: the truth about it.
    package var active: Bool

    package init(
        session: String, user: UserID, device: String? = nil, ip: String? = nil, userAgent: String? = nil, claims: [UInt8]? = nil,
        createdAt: UnixMilliseconds? = nil, lastSeenAt: UnixMilliseconds? = nil, expiresAt: UnixMilliseconds? = nil,
        revokedAt: UnixMilliseconds? = nil, revokeReason: RevokeReason? = nil, active: Bool = true
    ) {
        self.session = session
        self.user = user
        self.device = device
        self.ip = ip
        self.userAgent = userAgent
        self.claims = claims
        self.createdAt = createdAt
        self.lastSeenAt = lastSeenAt
        self.expiresAt = expiresAt
        self.revokedAt = revokedAt
        self.revokeReason = revokeReason
        self.active = active
    }
}

/// What `register` found.
package enum Registration: Sendable, Equatable {
    case registered
    /// The id was revoked and is remembered as such: 409.
    case revokedBefore
}

/// What ending one session found.
package enum Ending: Sendable, Equatable {
    /// It was active and is no longer.
    case ended
    /// It is remembered as ended already (by logout, revocation or logout-all).
    case endedBefore
    /// The user has no such session.
    case unknown
}

/// What `rotate` found (contract §5, Refresh).
package enum Rotation: Sendable, Equatable {
    /// The presented token was the current one; the successor given is now current.
    case rotated(SessionRecord)
    /// The presented token was the one before, inside the reuse window: the caller derives the same successor again.
    case repeated(SessionRecord)
    /// A token of the session that is neither: the session has been revoked now.
    case reused
    /// Not a token of this session (its origin was not proven by the caller either): nothing was changed.
    case unknown
    /// The session has ended.
    case ended
    /// The session's or the refresh token's time is over.
    case expired
}

/// Rules of the session's life that a store applies (contract §3 `sessions`), all in milliseconds but the count.
package struct SessionRules: Sendable, Equatable {
    package var sessionLifetime: Int64
    package var refreshLifetime: Int64
    package var reuseWindow: Int64
    package var retainRevoked: Int64
    package var maxPerUser: Int

    package init(sessionLifetime: Int64, refreshLifetime: Int64, reuseWindow: Int64, retainRevoked: Int64, maxPerUser: Int) {
        self.sessionLifetime = sessionLifetime
        self.refreshLifetime = refreshLifetime
        self.reuseWindow = reuseWindow
        self.retainRevoked = retainRevoked
        self.maxPerUser = maxPerUser
    }
}

/// The control plane's view of the sessions. Each change is atomic, and throws when it is not known to have taken effect. Of store round trips each call
/// takes one, and one more where the store has been restarted; `register` takes three, and `list` one for some hundred sessions.
///
/// What ends a session returns when no gateway of the fleet lets another request of it pass and everything that was open of it is closed (contract §1).
///
/// Time is an argument (`now`), so that rules can be tested. Safe to call from any task.
package protocol SessionStore: Sendable {
    /// Makes a session: adds the id to the user's set and writes its record. Ends the user's oldest sessions beyond `maxPerUser` and
    /// returns their ids.
    @discardableResult
    func create(_ record: SessionRecord, refreshHash: [UInt8], rules: SessionRules, now: UnixMilliseconds) async throws(StoreUnavailable) -> [String]

    /// Registers an id that another issuer made, or moves its end. Active until `expiresAt`.
    func register(_ session: String, of user: UserID, expiresAt: UnixMilliseconds, rules: SessionRules, now: UnixMilliseconds)
        async throws(StoreUnavailable) -> Registration

    /// Ends one `registered` session.
    func end(_ session: String, of user: UserID, reason: RevokeReason, rules: SessionRules, now: UnixMilliseconds) async throws(StoreUnavailable)
        -> Ending

    /// Ends every `registered` session of the user in one operation whatever their number, and returns how many were active.
    /// Where a `revocable` issuer shares the namespace, `alsoRevokeIssued` says until when (Unix seconds, greatest of now and the asking token's `iat`) what was
    /// issued is revoked, and how long that must be remembered.
    func endAll(of user: UserID, reason: RevokeReason, alsoRevokeIssued: RevokedBefore?, rules: SessionRules, now: UnixMilliseconds)
        async throws(StoreUnavailable) -> Int

    /// Revokes one session of a `revocable` issuer; remembered until `until`, the end of the last token that it concerns.
    func revoke(_ session: String, of user: UserID, until: UnixMilliseconds, now: UnixMilliseconds) async throws(StoreUnavailable)

    /// Active and remembered sessions of the user, newest first. What ended by time is not listed.
    func list(of user: UserID, rules: SessionRules, now: UnixMilliseconds) async throws(StoreUnavailable) -> [SessionRecord]

    /// Whether the session is active now, for the control plane's own decisions.
    func answer(_ session: String, of user: UserID, kind: SessionKind, issuedAt: Int64?) async throws(StoreUnavailable) -> Bool

    /// Rotates the refresh token (contract §5, Refresh), atomically. `provenOrigin`: the presented token's MAC was right.
    func rotate(
        _ session: String, of user: UserID, presentedHash: [UInt8], successorHash: [UInt8], provenOrigin: Bool, rules: SessionRules,
        now: UnixMilliseconds
    ) async throws(StoreUnavailable) -> Rotation

    /// The session whose current (or, with `provenOrigin`, any) refresh token this is, without changing anything; nil if there is none.
    func record(_ session: String, of user: UserID, currentHash: [UInt8]?) async throws(StoreUnavailable) -> SessionRecord?

    /// Asks whether a login may be judged and, where it may, counts it as running until `endAttempt`: in one step for the fleet, so that logins at
    /// the same moment cannot fail more often than the rules allow. Not known to have taken effect when it throws: then it ends by its time.
    ///
    /// - Parameters:
    ///   - id: the attempt's own, and nobody else's.
    ///   - key: what failures are counted by; any text.
    func beginAttempt(_ id: String, under key: String, rules: AttemptRules, now: UnixMilliseconds) async throws(StoreUnavailable) -> AttemptStart

    /// Ends an attempt that was admitted; only one that has failed goes on counting.
    func endAttempt(_ id: String, under key: String, failed: Bool, rules: AttemptRules, now: UnixMilliseconds) async throws(StoreUnavailable)

    /// Whether the logout token that its issuer calls `tokenID` (`jti`) has been used, anywhere in the fleet. Changes nothing.
    ///
    /// - Parameter issuer: `iss`, the same on every gateway.
    func hasUsed(logoutToken tokenID: String, of issuer: String, now: UnixMilliseconds) async throws(StoreUnavailable) -> Bool

    /// Marks a logout token as used until `until`, when it would not be accepted any more. Of all that try, one is told that it was the first.
    func use(logoutToken tokenID: String, of issuer: String, until: UnixMilliseconds, now: UnixMilliseconds) async throws(StoreUnavailable) -> Bool

    /// The gateways that logouts wait for now.
    func fleet(now: UnixMilliseconds) async throws(StoreUnavailable) -> [FleetMember]

    /// A lookup for one event loop of the data plane.
    func lookup(on eventLoop: any EventLoop) -> SessionLookup

    /// Whether the store can be reached now, and whether it ever was.
    var health: StoreHealth { get }
}

/// A moment at or before which all tokens of a user are revoked.
package struct RevokedBefore: Sendable, Equatable {
    /// Unix seconds.
    package var moment: Int64
    /// Remembered until then: the end of the last token that it concerns.
    package var until: UnixMilliseconds

    package init(moment: Int64, until: UnixMilliseconds) {
        self.moment = moment
        self.until = until
    }
}

/// What `/readyz` and the store's metrics show.
package struct StoreHealth: Sendable, Equatable {
    package var isUp: Bool
    package var wasEverUp: Bool
    /// Seconds since the last moment up to which every change had been heard; nil: there was none yet.
    package var staleness: Double?
    /// Whether answers are remembered now; nil: they are not meant to be.
    package var remembers: Bool?

    package init(isUp: Bool, wasEverUp: Bool, staleness: Double? = 0, remembers: Bool? = nil) {
        self.isUp = isUp
        self.wasEverUp = wasEverUp
        self.staleness = staleness
        self.remembers = remembers
    }
}
