// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// The three answers. They are different things and never converted into each other: a store that is silent has not
/// said that somebody is logged out.
public enum SessionAnswer: Sendable, Equatable {
    case active
    /// Unknown, another user's, or revoked: one answer, so that nobody can probe for ids.
    case revoked
    /// The store did not answer in time, or answered what cannot be understood: our fault, a 503.
    case unavailable
}

/// Who asked. A class and not a closure, so that asking allocates nothing.
open class SessionWaiter {
    public init() {}

    /// Called exactly once for each `ask`, on the lookup's event loop, possibly before `ask` has returned.
    open func sessionAnswered(_ answer: SessionAnswer) {
        preconditionFailure("a subclass overrides this")
    }
}

/// Answers for the data plane: one for each event loop, used on that loop alone. Asking is the hot path.
open class SessionLookup {
    public init() {}

    /// Prepares the question once for a verified token.
    open func reference(user: UserID, session: String, kind: SessionKind, issuedAt: Int64?) -> SessionReference {
        SessionReference(user: user, session: session, kind: kind, issuedAt: issuedAt)
    }

    /// Asks; `waiter` is kept until it has been answered.
    open func ask(_ reference: SessionReference, _ waiter: SessionWaiter) {
        preconditionFailure("a subclass overrides this")
    }
}

@available(*, unavailable)
extension SessionWaiter: Sendable {}
@available(*, unavailable)
extension SessionLookup: Sendable {}
