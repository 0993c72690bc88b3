// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import RedisClient
import Sessions

/// The part of an ending that is not in Redis: what is open here and elsewhere (contract §1).
extension RedisSessionStore {
    /// Returns when nothing of the session (nil: of the user) is open in the fleet and nobody acts on what was known of it before.
    ///
    /// - Parameter server: which one has taken the ending.
    func haveEnded(_ session: String?, of user: UserID, reason: RevokeReason, on server: UInt64) async throws(StoreUnavailable) {
        if let session { await loops.end(session, of: user) } else { try? await loops.allEnded(of: user, on: connections.eventLoop).get() }
        try await fleet.confirm(session, of: user, reason: reason, on: server)
    }

    /// A session gave way to a newer one: nobody has logged out, so nobody waits for the others.
    func gaveWay(_ session: String, of user: UserID) async {
        await loops.end(session, of: user)
        fleet.announce(session, of: user, reason: .maxPerUser)
    }

    /// `revocation.mode` and `revocation.max_staleness` after a reload.
    package func use(_ settings: FleetSettings) { fleet.use(settings) }

    package func fleet(now: UnixMilliseconds) async throws(StoreUnavailable) -> [FleetMember] {
        try await fleet.edges().map { edge in
            let age = edge.age.map { $0.nanoseconds / 1_000_000 }
            return FleetMember(edge: edge.description, lastHeartbeatAt: age.map { now - $0 }, staleness: age)
        }
    }
}

/// The question about one session as Redis is asked it.
struct SessionCommands {
    let isMember: RedisCommand
    /// `revocable` alone: the moment of the last logout-all.
    let revokedBefore: RedisCommand?
    /// `registered` alone: how long the user's set still lives.
    let timeLeft: RedisCommand?
    /// Of all of them.
    let slot: RedisSlot

    init(user: UserID, session: String, kind: SessionKind, keys: SessionKeys) {
        let set = kind == .registered ? keys.sessions(user) : keys.revoked(user)
        slot = RedisSlot(key: set)
        isMember = RedisCommand([Array("SISMEMBER".utf8), set, Array(session.utf8)])
        revokedBefore = kind == .revocable ? RedisCommand([Array("GET".utf8), keys.revokedBefore(user)]) : nil
        timeLeft = kind == .registered ? RedisCommand([Array("PTTL".utf8), set]) : nil
    }
}

extension RedisConnections {
    /// Runs a script that begins with `SessionScripts.common` on keys of one user, of which Redis is told the first alone.
    nonisolated func runForUser(
        _ script: RedisScript, keys: [[UInt8]], arguments: [[UInt8]], then: [RedisCommand] = []
    ) async throws(RedisFailure) -> Answer {
        let further = keys.dropFirst()
        return try await answer(
            to: script, keys: Array(keys.prefix(1)), arguments: arguments + further + [Array(String(further.count).utf8)], then: then)
    }
}
