// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import RedisClient
import Sessions

/// The hash `session:{U}:SID` as HGETALL gives it.
struct RecordFields {
    private var values: [String: [UInt8]] = [:]

    init(_ reply: RedisReply) throws(StoreUnavailable) {
        guard case .array(let parts) = reply, parts.count.isMultiple(of: 2) else { throw StoreUnavailable("a session's record is no hash") }
        for index in stride(from: 0, to: parts.count, by: 2) {
            guard let name = parts[index].bytes, let value = parts[index + 1].bytes else { continue }
            values[String(decoding: name, as: UTF8.self)] = value
        }
    }

    var isEmpty: Bool { values.isEmpty }

    subscript(name: String) -> [UInt8]? { values[name] }

    private func text(_ name: String) -> String? { values[name].map { String(decoding: $0, as: UTF8.self) } }
    private func time(_ name: String) -> UnixMilliseconds? { text(name).flatMap { UnixMilliseconds($0) } }

    /// What is remembered, with what has become of it. Nil for what ended by time, if `now` says so.
    func record(_ session: String, _ user: UserID, isMember: Bool, logouts: [RecordedLogout], now: UnixMilliseconds?) -> SessionRecord? {
        var record = SessionRecord(
            session: session, user: user, device: text("device"), ip: text("ip"), userAgent: text("user_agent"), claims: values["claims"],
            createdAt: time("created_at"), lastSeenAt: time("last_seen_at"), expiresAt: time("expires_at"), active: isMember)
        if isMember { return record }
        record.revokedAt = time("revoked_at")
        record.revokeReason = text("revoke_reason").flatMap(RevokeReason.init)
        if record.revokedAt == nil, let logout = logouts.first(where: { $0.at >= record.createdAt ?? 0 }), logout.at < record.expiresAt ?? .max {
            record.revokedAt = logout.at
            record.revokeReason = logout.reason
        }
        if let now, record.revokedAt == nil, let end = record.expiresAt, end <= now { return nil }
        return record
    }
}

/// An entry of `logouts:{U}`: all sessions that had begun were ended then.
struct RecordedLogout {
    var at: UnixMilliseconds
    var reason: RevokeReason?

    /// `TIME:REASON`
    init?(_ member: [UInt8]) {
        let parts = member.split(separator: UInt8(ascii: ":"), maxSplits: 1)
        guard parts.count == 2, let at = UnixMilliseconds(String(decoding: parts[0], as: UTF8.self)) else { return nil }
        self.at = at
        reason = RevokeReason(rawValue: String(decoding: parts[1], as: UTF8.self))
    }
}
