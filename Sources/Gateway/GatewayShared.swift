// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Logging
import NIOCore
import Sessions
import Synchronization

/// The few things that the loops have in common. Nothing here is touched for a request that goes the usual way.
final class GatewayShared: Sendable {
    let loopCount: Int
    let rateLimits = RateLimiter()
    private let connections = Atomic<Int>(0)
    private let neighbours = Mutex<[NIOLoopBound<GatewayLoop>]>([])
    private let keyMiss: @Sendable (String) -> Void
    /// For what is rare: never on the way of a request that goes well.
    let logger: Logger

    /// `keyMiss` is told the name of an issuer whose key set lacks a key that a token names.
    init(loopCount: Int, logger: Logger, keyMiss: @escaping @Sendable (String) -> Void) {
        self.logger = logger
        self.loopCount = loopCount
        self.keyMiss = keyMiss
    }

    func keyIsMissing(issuer name: String) { keyMiss(name) }

    /// Counts a connection in; false, and nothing counted, when there are `limit` already.
    func admit(limit: Int) -> Bool {
        if connections.add(1, ordering: .relaxed).newValue <= limit { return true }
        connections.subtract(1, ordering: .relaxed)
        return false
    }

    func leave() { connections.subtract(1, ordering: .relaxed) }

    func meet(_ loops: [NIOLoopBound<GatewayLoop>]) { neighbours.withLock { $0 = loops } }

    /// A session has been seen revoked: no loop may let it pass by grace.
    func forget(user: UserID, session: String, except loop: GatewayLoop) {
        for neighbour in neighbours.withLock({ $0 }) where neighbour.eventLoop !== loop.eventLoop {
            neighbour.eventLoop.execute { neighbour.value.recent.remove(user: user, session: session) }
        }
    }

    /// The latest moment at which any other loop had the session confirmed; asked only while the store is silent.
    func lastConfirmation(user: UserID, _ question: SessionQuestionKey, except loop: GatewayLoop) -> EventLoopFuture<NIODeadline?> {
        let asked = neighbours.withLock { $0 }.filter { $0.eventLoop !== loop.eventLoop }.map { neighbour in
            neighbour.eventLoop.submit { neighbour.value.recent.lastConfirmed(user: user, question) }
        }
        return EventLoopFuture.reduce(nil, asked, on: loop.eventLoop) { latest, one in
            guard let latest else { return one }
            return max(latest, one ?? latest)
        }
    }
}
