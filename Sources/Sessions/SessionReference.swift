// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// How an issuer's sessions are decided (contract §7, `issuers[].sessions`).
public enum SessionKind: Sendable {
    /// Active exactly when the id is a member of the user's set.
    case registered
    /// Active until revoked: by id, or by a moment at or before which everything issued is revoked.
    case revocable
}

/// How closely it is kept when a session was last used (`last_seen_at`). People look at it; nothing depends on it.
package enum UseOfSession {
    /// It is written at most that often for each session, milliseconds.
    package static let interval: UnixMilliseconds = 60_000
}

/// A user with its namespace; `""` is the gateway's own.
///
/// Users are the same when their bytes are: Swift's `==` on strings also takes different spellings of one text (Unicode's
/// canonical equivalence) for the same, which would mix up two users that have different keys.
public struct UserID: Hashable, Sendable {
    package let namespace: String
    package let name: String

    package init(namespace: String = "", name: String) {
        self.namespace = namespace
        self.name = name
    }

    public static func == (one: UserID, other: UserID) -> Bool {
        ExactText(one.name) == ExactText(other.name) && ExactText(one.namespace) == ExactText(other.namespace)
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(ExactText(namespace))
        hasher.combine(ExactText(name))
    }

    /// How upstreams and people see it: `user`, or `namespace/user`.
    package var display: String { namespace.isEmpty ? name : "\(namespace)/\(name)" }
}

/// One session as tokens name it: whom to ask about. Made by the lookup that will be asked (`SessionLookup.reference`), so that a store can keep
/// the prepared question in a subclass; tokens that ask the same share one, and so what was answered.
///
/// Confined to the event loop of the lookup that made it; immutable but for what that lookup notes in it.
open class SessionReference {
    /// What the loop knows of its user.
    package final let sessions: UserSessions
    package final let session: String
    package final let kind: SessionKind
    /// The token's `iat` rounded down, Unix seconds; nil without one, and for `registered`, where it does not matter.
    package final let issuedAt: Int64?
    /// When the lookup last noted that the session was used, and in which of its turns it last looked whether to. The lookup's own.
    package final var notedAt: UnixMilliseconds = 0
    package final var notedTurn: UInt64 = 0

    // Its place among those of the same user; `UserSessions` alone changes it.
    final unowned(unsafe) var nextReference: SessionReference?
    final unowned(unsafe) var previousReference: SessionReference?

    package final var user: UserID { sessions.user }

    public init(sessions: UserSessions, session: String, kind: SessionKind, issuedAt: Int64?) {
        self.sessions = sessions
        self.session = session
        self.kind = kind
        self.issuedAt = kind == .revocable ? issuedAt : nil
        sessions.add(self)
    }

    /// Whether both ask the same: all tokens of a registered session do, of a revocable one those of one time.
    package final func asksTheSame(as other: SessionReference) -> Bool { questionKey == other.questionKey }

    package final var questionKey: SessionQuestionKey { SessionQuestionKey(session: session, kind: kind, issuedAt: issuedAt) }

    deinit { sessions.remove(self) }
}

/// What one user's references are told apart by: what the store is asked.
package struct SessionQuestionKey: Hashable, Sendable {
    let session: ExactText
    let kind: SessionKind
    let issuedAt: Int64?

    init(session: String, kind: SessionKind, issuedAt: Int64?) {
        self.session = ExactText(session)
        self.kind = kind
        self.issuedAt = kind == .revocable ? issuedAt : nil
    }

    package func isAbout(_ session: String) -> Bool { self.session == ExactText(session) }
}

@available(*, unavailable)
extension SessionReference: Sendable {}
