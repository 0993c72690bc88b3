// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// What one event loop knows of one user: who holds a session of this user now, and whether anything may have changed. Confined to its loop.
public final class UserSessions {
    package let user: UserID
    /// Another number whenever anything about the user's sessions may have changed: what was asked for before is not remembered.
    package private(set) var version: UInt64 = 0
    /// Whether its end is looked after, as something is open for long (`SessionLookup.watch`).
    var isWatched = false

    /// Owned both ways as long as there are references. Not weak: retaining what has ever been referred to weakly costs five times as much.
    private let lookup: SessionLookup
    /// The one that was made last.
    private unowned(unsafe) var latest: SessionReference?
    private var first: SessionWaiter?

    init(_ user: UserID, lookup: SessionLookup) {
        self.user = user
        self.lookup = lookup
    }

    package func change() { version &+= 1 }

    package var isHeld: Bool { first != nil }

    // MARK: References: a list through them, which keeps none of them alive

    /// Looked at for one that asks the same. Few users have more sessions in use at once, and nobody can make a look-up long by having many.
    private static let searchLimit = 8

    /// One of the latest that asks this.
    func reference(asking question: SessionQuestionKey) -> SessionReference? {
        var next = latest
        for _ in 0..<Self.searchLimit {
            guard let reference = next else { return nil }
            if reference.questionKey == question { return reference }
            next = reference.nextReference
        }
        return nil
    }

    func add(_ reference: SessionReference) {
        reference.nextReference = latest
        latest?.previousReference = reference
        latest = reference
    }

    /// As it goes.
    func remove(_ reference: SessionReference) {
        let (next, previous) = (reference.nextReference, reference.previousReference)
        next?.previousReference = previous
        if let previous { previous.nextReference = next } else { latest = next }
        if latest == nil { lookup.forget(user) }
    }

    // MARK: Holders: a list through the holders themselves, so that holding allocates nothing and looks nothing up

    func add(_ waiter: SessionWaiter, _ reference: SessionReference) {
        precondition(waiter.heldReference == nil, "a waiter holds one session at a time")
        waiter.heldReference = reference
        waiter.previousHolder = nil
        waiter.nextHolder = first
        first?.previousHolder = waiter
        first = waiter
    }

    func remove(_ waiter: SessionWaiter) {
        let next = waiter.nextHolder
        next?.previousHolder = waiter.previousHolder
        if let previous = waiter.previousHolder { previous.nextHolder = next } else { first = next }
        waiter.nextHolder = nil
        waiter.previousHolder = nil
        // Last: it may be what keeps all of this alive.
        waiter.heldReference = nil
    }

    /// Tells those that hold the session (nil: any of the user's). They may let go while they are told.
    package func tellHolders(of session: String?, _ ending: SessionEnding) {
        for (waiter, reference) in holders() where session.map({ ExactText($0) == ExactText(reference.session) }) ?? true {
            // An earlier one's end may have been this one's, too.
            if waiter.heldReference === reference { waiter.sessionEnded(ending) }
        }
    }

    /// Tells those that hold what `asked` is about.
    func tellHolders(of asked: SessionReference, _ ending: SessionEnding) {
        for (waiter, reference) in holders() where reference.asksTheSame(as: asked) {
            if waiter.heldReference === reference { waiter.sessionEnded(ending) }
        }
    }

    /// One reference for each question about what is held now.
    package func heldReferences() -> [SessionReference] {
        var seen: Set<SessionQuestionKey> = []
        return holders().compactMap { seen.insert($0.reference.questionKey).inserted ? $0.reference : nil }
    }

    private func holders() -> [(waiter: SessionWaiter, reference: SessionReference)] {
        var holders: [(waiter: SessionWaiter, reference: SessionReference)] = []
        var next = first
        while let waiter = next {
            if let reference = waiter.heldReference { holders.append((waiter, reference)) }
            next = waiter.nextHolder
        }
        return holders
    }
}

@available(*, unavailable)
extension UserSessions: Sendable {}
