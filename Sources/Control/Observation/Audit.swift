// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import Tokens

/// A second place for audit entries, beside the lines (`logging.audit_stream`). Takes them from any task and returns at once; what it does with
/// them is no concern of a login's or a logout's.
package protocol AuditCopy: Sendable {
    /// The members of a line that have a value, in their order.
    func append(_ fields: [(name: String, value: String)])
    /// Entries that did not get there, since the start.
    var dropped: Int { get }
}

/// The audit log: one JSON line for everything that begins, renews or ends a session, or tries to (contract §9). Never a token or a password.
struct Audit: Sendable {
    enum Event: String, Sendable {
        case login, refresh, refreshReuse = "refresh_reuse", logout, logoutAll = "logout_all"
        /// An identity provider ended one session, or all of a user.
        case backchannelLogout = "backchannel_logout"
        /// A user ended a session from the list.
        case sessionEnded = "session_ended"
        /// A session gave way to a newer one of its user, which began with the same request.
        case maxPerUser = "max_per_user"
        case adminCreate = "admin_create", adminRegister = "admin_register", adminRevoke = "admin_revoke", adminRevokeAll = "admin_revoke_all"
        case adminRevokeToken = "admin_revoke_token"
    }

    enum Outcome: String, Sendable {
        case ok, failed
        /// Refused before it was looked at: too many failures.
        case limited
    }

    /// Characters of a session id that are shown.
    private static let shownSessionCharacters = 8

    /// Takes one line without its end; called from any task.
    let sink: @Sendable (_ line: [UInt8]) -> Void
    let copy: (any AuditCopy)?

    /// A session that began, and those that gave way to it.
    func record(_ event: Event, _ issued: SessionService.Issued, client: ControlRequest.Client) {
        let user = UserID(name: issued.user)
        record(event, user: user, session: issued.session, client: client, now: issued.now)
        for session in issued.displaced { record(.maxPerUser, user: user, session: session, client: client, now: issued.now) }
    }

    /// - Parameters:
    ///   - issuer: the name, in the configuration, of the issuer whose token asked, where that is not a user's own business.
    ///   - reason: the code of a refusal that the answer does not tell.
    func record(
        _ event: Event, _ outcome: Outcome = .ok, user: UserID?, session: String? = nil, issuer: String? = nil, reason: String? = nil,
        client: ControlRequest.Client, now: UnixMilliseconds
    ) {
        var fields: [(name: String, value: String?)] = [
            ("time", Timestamp.spelling(now)),
            ("audit", event.rawValue),
            ("outcome", outcome.rawValue),
            ("user", user?.display),
            ("address", client.address),
            ("session", session.map { String($0.prefix(Self.shownSessionCharacters)) }),
            ("request_id", client.requestID),
        ]
        if let issuer { fields.append(("issuer", issuer)) }
        if let reason { fields.append(("reason", reason)) }
        sink(
            JSONWriter.object { json in
                for field in fields { json.member(field.name, field.value) }
            })
        copy?.append(fields.compactMap { field in field.value.map { (field.name, $0) } })
    }
}
