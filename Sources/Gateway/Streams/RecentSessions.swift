// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Sessions

/// When the store last confirmed which session, for `when_unavailable: allow_recent` (contract §3). Empty unless some route uses it.
///
/// One for each loop and confined to it. Bounded: half of the entries are kept for sure, the older half is dropped at once
/// when the newer one is full, so that remembering costs one look-up and forgetting none.
final class RecentSessions {
    /// Sessions in each half. About 20 MiB for a loop at most.
    private static let halfLimit = 50_000

    private struct Key: Hashable {
        var user: UserID
        var session: String
    }

    private var newer: [Key: NIODeadline] = [:]
    private var older: [Key: NIODeadline] = [:]

    func confirm(_ reference: SessionReference, at now: NIODeadline) {
        if newer.count >= Self.halfLimit {
            older = newer
            newer = [:]
        }
        newer[Key(user: reference.user, session: reference.session)] = now
    }

    func lastConfirmed(user: UserID, session: String) -> NIODeadline? {
        let key = Key(user: user, session: session)
        return newer[key] ?? older[key]
    }

    /// Without a session: all of the user's.
    func remove(user: UserID, session: String?) {
        if newer.isEmpty, older.isEmpty { return }
        if let session {
            let key = Key(user: user, session: session)
            newer[key] = nil
            older[key] = nil
        } else {
            newer = newer.filter { $0.key.user != user }
            older = older.filter { $0.key.user != user }
        }
    }
}

@available(*, unavailable)
extension RecentSessions: Sendable {}

// MARK: - session: the store cannot say

extension Exchange {
    /// Whether the session was confirmed lately enough; then what is opened now may stay open until that time is over, too.
    func passesByGrace(_ confirmed: NIODeadline?, _ now: NIODeadline) -> Bool {
        guard let confirmed, now - confirmed < snapshot.configuration.revocation.grace else { return false }
        graceEnd = confirmed + snapshot.configuration.revocation.grace
        return true
    }

    /// Another loop may have had the session confirmed more lately.
    func askNeighbours(_ reference: SessionReference) {
        let ticket = ticket
        loop.shared.lastConfirmation(user: reference.user, session: reference.session, except: loop).assumeIsolated().whenComplete { [self] result in
            guard ticket == self.ticket, state == .session else { return }
            if endedMeanwhile { return sessionIsRevoked() }
            if case .success(let confirmed) = result, passesByGrace(confirmed, loop.now) {
                sessionIsGood()
            } else {
                refuse(.storeUnavailable)
            }
        }
    }
}
