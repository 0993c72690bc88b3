// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Synchronization

/// The lookups of all event loops of a process: what ends a session has to reach each of them before it counts as done.
package final class SessionLoops<Lookup: SessionLookup>: Sendable {
    private let lookups = Mutex<[NIOLoopBound<Lookup>]>([])

    package init() {}

    /// On the lookup's loop.
    package func add(_ lookup: Lookup) {
        let bound = NIOLoopBound(lookup, eventLoop: lookup.eventLoop)
        lookups.withLock { $0.append(bound) }
    }

    /// Any thread. The future succeeds, on `eventLoop`, when `body` has run on every loop.
    package func onEach(_ eventLoop: any EventLoop, _ body: @escaping @Sendable (Lookup) -> Void) -> EventLoopFuture<Void> {
        let done = lookups.withLock { $0 }.map { bound in
            bound.eventLoop.submit { body(bound.value) }
        }
        return EventLoopFuture.andAllComplete(done, on: eventLoop)
    }

    /// Any thread. The future succeeds, on `eventLoop`, when what `body` began has ended on every loop.
    package func flatOnEach(_ eventLoop: any EventLoop, _ body: @escaping @Sendable (Lookup) -> EventLoopFuture<Void>) -> EventLoopFuture<Void> {
        let done = lookups.withLock { $0 }.map { bound in
            bound.eventLoop.flatSubmit { body(bound.value) }
        }
        return EventLoopFuture.andAllComplete(done, on: eventLoop)
    }

    /// Returns when nothing of the session (nil: of the user) is open on any loop.
    package func end(_ session: String?, of user: UserID, _ ending: SessionEnding = .revoked) async {
        for bound in lookups.withLock({ $0 }) {
            try? await bound.eventLoop.submit { bound.value.end(session, of: user, ending) }.get()
        }
    }
}
