// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// The three answers. They are different things and never converted into each other: a store that is silent has not
/// said that somebody is logged out.
public enum SessionAnswer: Sendable, Equatable {
    case active
    /// Unknown, another user's, or revoked: one answer, so that nobody can probe for ids.
    case revoked
    /// The store did not answer in time, or answered what cannot be understood: our fault, a 503.
    case unavailable
}

/// Where an answer came from; for `portcullis_session_lookups_total`.
public enum SessionAnswerSource: Sendable {
    case store
    /// Remembered, and no older than `revocation.max_staleness`.
    case cache
}

/// Why what is open of a session has to end (contract §4.10).
public enum SessionEnding: Sendable, Equatable {
    case revoked
    /// Its time, or its key's, is over.
    case expired
    /// Nobody can say any more whether it is active: the store has been silent for `revocation.max_staleness`.
    case storeSilent
    /// Sessions of its user have been ended, and whether it is one of them cannot be known. A fault, and no grace is given: it may be.
    case unconfirmed
}

/// Who asked. A class and not a closure, so that asking allocates nothing.
open class SessionWaiter {
    public init() {}

    /// Called exactly once for each `ask`, on the lookup's event loop, possibly before `ask` has returned.
    open func sessionAnswered(_ answer: SessionAnswer, from source: SessionAnswerSource) {
        preconditionFailure("a subclass overrides this")
    }

    /// The session that this holds has ended. On the lookup's event loop; may release or hold, and be called again as long as it holds.
    open func sessionEnded(_ ending: SessionEnding) {
        preconditionFailure("a subclass overrides this")
    }

    // Its place among those that hold sessions of the same user; `UserSessions` alone changes it.
    package final internal(set) var heldReference: SessionReference?
    final var nextHolder: SessionWaiter?
    final unowned(unsafe) var previousHolder: SessionWaiter?
}

/// Answers for the data plane: one for each event loop, used on that loop alone. Asking is the hot path.
///
/// Whoever acts on an answer *holds* the session from before it asks until it is done: so a revocation that comes meanwhile reaches it,
/// whatever it waits for.
open class SessionLookup {
    /// Users of whom something is open or remembered: those that a reference exists of.
    private var users: [UserID: UserSessions] = [:]

    /// Told of every ending, before those that hold the session are.
    public final var onEnding: ((_ user: UserID, _ session: String?) -> Void)?
    /// Told when something of the user's sessions has changed, and nobody says what.
    public final var onChange: ((_ user: UserID) -> Void)?

    /// Told when all that the store has may have been removed (FLUSHALL): nothing that it has confirmed before means anything.
    public final var onFlush: (() -> Void)?

    package final let eventLoop: any EventLoop
    private var watched: [UserSessions] = []
    private var watching: RepeatedTask?
    /// How often what is open for long is looked after (contract §6: a session ends at most 2 s late).
    private static let watchInterval = TimeAmount.seconds(1)

    public init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
    }

    /// The question for a verified token: that of another one which asks the same and is still in use, else a new one. So a session whose
    /// token was renewed is not asked for anew where its answer is remembered.
    public final func reference(user: UserID, session: String, kind: SessionKind, issuedAt: Int64?) -> SessionReference {
        let sessions = sessions(of: user)
        return sessions.reference(asking: SessionQuestionKey(session: session, kind: kind, issuedAt: issuedAt))
            ?? makeReference(sessions, session: session, kind: kind, issuedAt: issuedAt)
    }

    /// Prepares a question.
    open func makeReference(_ sessions: UserSessions, session: String, kind: SessionKind, issuedAt: Int64?) -> SessionReference {
        SessionReference(sessions: sessions, session: session, kind: kind, issuedAt: issuedAt)
    }

    /// Asks; `waiter` is kept until it has been answered.
    open func ask(_ reference: SessionReference, _ waiter: SessionWaiter) {
        preconditionFailure("a subclass overrides this")
    }

    /// As `ask`, where nobody uses the session.
    open func confirm(_ reference: SessionReference, _ waiter: SessionWaiter) { ask(reference, waiter) }

    /// Whether what was answered `active` may still be acted on now, by whoever holds it: the store has not been silent for too long.
    open func isFresh(_ reference: SessionReference) -> Bool { true }

    /// Since when it is not fresh (`LeaseClock`), where it is not: that may be noticed long after.
    open func staleSince(_ reference: SessionReference) -> NIODeadline { LeaseClock.now() }

    /// Finds out whether sessions of this user that are held have come to their end; called once a second while something is open for long.
    open func lookAfter(_ sessions: UserSessions) {
        preconditionFailure("a subclass overrides this")
    }

    // MARK: Holding

    /// From now on `waiter` is told when the session ends; it holds one at a time.
    public final func hold(_ reference: SessionReference, _ waiter: SessionWaiter) {
        reference.sessions.add(waiter, reference)
    }

    /// Does nothing for one that holds none.
    public final func release(_ waiter: SessionWaiter) {
        waiter.heldReference?.sessions.remove(waiter)
    }

    /// What `waiter` holds is open for longer than a request takes: from now on the session's end is looked after, to a second.
    public final func watch(_ waiter: SessionWaiter) {
        guard let sessions = waiter.heldReference?.sessions, !sessions.isWatched else { return }
        sessions.isWatched = true
        watched.append(sessions)
        guard watching == nil else { return }
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        watching = eventLoop.scheduleRepeatedTask(initialDelay: Self.watchInterval, delay: Self.watchInterval) { _ in
            bound.value.lookAfterWatched()
        }
    }

    private func lookAfterWatched() {
        watched.removeAll { sessions in
            if !sessions.isHeld { sessions.isWatched = false }
            return !sessions.isHeld
        }
        if watched.isEmpty {
            watching?.cancel()
            watching = nil
        }
        for sessions in watched { lookAfter(sessions) }
    }

    /// What this loop knows of the user, made if need be; goes with the last reference.
    package final func sessions(of user: UserID) -> UserSessions {
        if let known = users[user] { return known }
        let new = UserSessions(user, lookup: self)
        users[user] = new
        return new
    }

    /// Nil: nothing is open or remembered.
    package final func knownSessions(of user: UserID) -> UserSessions? { users[user] }

    package final var knownUsers: [UserSessions] { Array(users.values) }

    final func forget(_ user: UserID) { users[user] = nil }

    /// Ends what is open of the session, or of all sessions of the user, and forgets what is remembered of them.
    package final func end(_ session: String?, of user: UserID, _ ending: SessionEnding) {
        onEnding?(user, session)
        guard let known = users[user] else { return }
        known.change()
        known.tellHolders(of: session, ending)
    }

    /// Ends what is open of what `asked` is about, for which the store has said so.
    package final func end(_ asked: SessionReference, _ ending: SessionEnding) {
        if ending == .revoked || ending == .expired { onEnding?(asked.user, asked.session) }
        asked.sessions.change()
        asked.sessions.tellHolders(of: asked, ending)
    }
}

@available(*, unavailable)
extension SessionWaiter: Sendable {}
@available(*, unavailable)
extension SessionLookup: Sendable {}
