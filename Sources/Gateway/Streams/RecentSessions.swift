// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Sessions

/// When (`LeaseClock`) the store last confirmed what was asked about which session, for `when_unavailable: allow_recent` (contract §3). Empty unless some route uses it.
///
/// One for each loop and confined to it. Bounded: half of the entries are kept for sure, the older half is dropped at once
/// when the newer one is full, so that remembering costs one look-up and forgetting none.
final class RecentSessions {
    /// Sessions in each half. About 20 MiB for a loop at most.
    private static let halfLimit = 50_000

    private struct Confirmation {
        var at: NIODeadline
        /// To ask again; gone with the token that it was made for.
        weak var reference: SessionReference?
        /// Something of the user's sessions has changed since.
        var isDoubtful = false
    }

    private typealias Half = [UserID: [SessionQuestionKey: Confirmation]]
    private var newer: Half = [:]
    private var newerCount = 0
    private var older: Half = [:]

    /// Of several moments the latest counts.
    func confirm(_ reference: SessionReference, at moment: NIODeadline) {
        var confirmation = Confirmation(at: moment, reference: reference)
        let question = reference.questionKey
        if let known = newer[reference.user]?[question] ?? older[reference.user]?[question] {
            confirmation.at = max(moment, known.at)
        }
        if newerCount >= Self.halfLimit {
            older = newer
            newer = [:]
            newerCount = 0
        }
        let old = newer[reference.user, default: [:]].updateValue(confirmation, forKey: question)
        if old == nil { newerCount += 1 }
    }

    /// Of this question and no other: of tokens of one `revocable` session, those that were issued earlier may have been revoked.
    func lastConfirmed(user: UserID, _ question: SessionQuestionKey) -> NIODeadline? {
        guard let found = newer[user]?[question] ?? older[user]?[question], !found.isDoubtful else { return nil }
        return found.at
    }

    /// Without a session: all of the user's.
    func remove(user: UserID, session: String?) {
        if newer.isEmpty, older.isEmpty { return }
        if let session {
            newer[user] = newer[user]?.filter { !$0.key.isAbout(session) }
            older[user] = older[user]?.filter { !$0.key.isAbout(session) }
        } else {
            newer[user] = nil
            older[user] = nil
        }
    }

    func removeAll() {
        newer = [:]
        newerCount = 0
        older = [:]
    }

    /// Something of the user's sessions has changed, and it may be that one of them was revoked: none counts until it has been confirmed again.
    /// Returns what can be asked for that.
    func doubt(_ user: UserID) -> [SessionReference] {
        if newer.isEmpty, older.isEmpty { return [] }
        var references: [SessionQuestionKey: SessionReference] = [:]
        func mark(_ half: inout Half) {
            guard let sessions = half[user] else { return }
            half[user] = sessions.mapValues { confirmation in
                var confirmation = confirmation
                confirmation.isDoubtful = true
                return confirmation
            }
            for (question, confirmation) in sessions { references[question] = confirmation.reference ?? references[question] }
        }
        mark(&older)
        mark(&newer)
        return Array(references.values)
    }
}

/// Asks about a session that was confirmed once whether it still is.
final class Reconfirmation: SessionWaiter {
    private let recent: RecentSessions
    private let reference: SessionReference

    init(_ recent: RecentSessions, _ reference: SessionReference) {
        self.recent = recent
        self.reference = reference
        super.init()
    }

    override func sessionAnswered(_ answer: SessionAnswer, from source: SessionAnswerSource) {
        switch answer {
        case .active: recent.confirm(reference, at: LeaseClock.now())
        case .revoked: recent.remove(user: reference.user, session: reference.session)
        case .unavailable: break
        }
    }
}

@available(*, unavailable)
extension RecentSessions: Sendable {}

// MARK: - session: the store cannot say

extension Exchange {
    /// Whether the session was confirmed lately enough; then what is opened now may stay open until that time is over, too.
    func passesByGrace(_ confirmed: NIODeadline?) -> Bool {
        guard let confirmed, LeaseClock.now() - confirmed < snapshot.configuration.revocation.grace else { return false }
        graceEnd = confirmed + snapshot.configuration.revocation.grace
        return true
    }

    /// What is remembered is what the store has confirmed at some moment within `max_staleness`: not that it would now.
    func wasConfirmed(_ reference: SessionReference, by source: SessionAnswerSource) {
        let age = source == .cache ? snapshot.configuration.revocation.maxStaleness : .zero
        loop.recent.confirm(reference, at: LeaseClock.now() - age)
    }

    /// Another loop may have had the session confirmed more lately.
    func askNeighbours(_ reference: SessionReference) {
        let ticket = ticket
        loop.shared.lastConfirmation(user: reference.user, reference.questionKey, except: loop).assumeIsolated().whenComplete { [self] result in
            guard ticket == self.ticket, state == .session else { return }
            if endedMeanwhile { return sessionIsRevoked() }
            if !isUnconfirmed, case .success(let confirmed) = result, passesByGrace(confirmed) {
                sessionIsGood()
            } else {
                refuse(.storeUnavailable)
            }
        }
    }
}
