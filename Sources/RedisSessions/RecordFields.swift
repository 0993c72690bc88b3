// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import RedisClient
import Sessions

/// The hash `session:{U}:SID` as HGETALL gives it.
struct RecordFields {
    private var values: [String: [UInt8]] = [:]

    /// No fields.
    init() {}

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

    /// What is remembered, whatever has become of it.
    func record(_ session: String, _ user: UserID, isMember: Bool) -> SessionRecord {
        var record = SessionRecord(
            session: session, user: user, device: text("device"), ip: text("ip"), userAgent: text("user_agent"), claims: values["claims"],
            createdAt: time("created_at"), lastSeenAt: time("last_seen_at"), expiresAt: time("expires_at"), active: isMember)
        guard !isMember else { return record }
        record.revokedAt = time("revoked_at")
        record.revokeReason = text("revoke_reason").flatMap(RevokeReason.init)
        return record
    }

    /// As `record`, with what a logout from everywhere has done to it; nil where nothing is told any more: it ended by its time, or its end is forgotten.
    /// The script `ending` says the same in Lua.
    ///
    /// - Parameter logouts: in the order of time.
    func listed(_ session: String, _ user: UserID, isMember: Bool, logouts: [RecordedLogout], retain: Int64, now: UnixMilliseconds) -> SessionRecord?
    {
        var record = record(session, user, isMember: isMember)
        if isMember { return record.expiresAt ?? .max > now ? record : nil }
        if record.revokedAt == nil, let logout = logouts.first(where: { $0.at >= record.createdAt ?? 0 }), logout.at < record.expiresAt ?? .max {
            record.revokedAt = logout.at
            record.revokeReason = logout.reason
        }
        if let ended = record.revokedAt { return ended > now - retain ? record : nil }
        return record.expiresAt ?? .max > now + Int64(ClockSkew.tolerance) ? record : nil
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
