// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import RedisClient
import Sessions

/// The names of everything that is kept in Redis (contract §7). All keys of a user share its slot.
struct SessionKeys: Sendable {
    let prefix: [UInt8]

    init(prefix: String) { self.prefix = Array(prefix.utf8) }

    /// Ids of the active sessions: the truth.
    func sessions(_ user: UserID) -> [UInt8] { key("sessions:", user) }
    /// What is remembered of one session.
    func record(_ session: String, _ user: UserID) -> [UInt8] {
        var key = recordPrefix(user)
        KeyEncoding.append(session.utf8, to: &key)
        return key
    }
    func recordPrefix(_ user: UserID) -> [UInt8] { key("session:", user) + [UInt8(ascii: ":")] }
    /// Sorted set: ids of all remembered sessions by when their record is gone, so that they can be listed.
    func records(_ user: UserID) -> [UInt8] { key("records:", user) }
    /// Sorted set: ids of the active sessions whose end is known, by that end.
    func ends(_ user: UserID) -> [UInt8] { key("ends:", user) }
    /// Sorted set: ids of the active sessions by when they began, so that the oldest is found.
    func begins(_ user: UserID) -> [UInt8] { key("begins:", user) }
    func revoked(_ user: UserID) -> [UInt8] { key("revoked:", user) }
    func revokedBefore(_ user: UserID) -> [UInt8] { key("revoked_before:", user) }
    func logouts(_ user: UserID) -> [UInt8] { key("logouts:", user) }

    /// How often a login has failed. No key of a user, and so in a slot of its own: what is counted is what was typed as a name (hashed, as it may be
    /// a password) and addresses, before anybody knows whether there is such a user; and nothing else is changed together with it.
    func failures(_ name: String) -> [UInt8] {
        var key = prefix + Array("failures:".utf8)
        KeyEncoding.append(name.utf8, to: &key)
        return key
    }

    /// A logout token that has been used, by `iss` and `jti`. In no user's slot: a `jti` counts for its issuer, whomever the token names.
    func usedToken(_ tokenID: String, of issuer: String) -> [UInt8] {
        var key = prefix + Array("jti:".utf8)
        KeyEncoding.append(issuer.utf8, to: &key)
        key.append(UInt8(ascii: ":"))
        KeyEncoding.append(tokenID.utf8, to: &key)
        return key
    }

    /// Sorted set of `{U}` by the next end of a session of that user: what the sweep has to look at (`EndSweep`).
    var due: [UInt8] { prefix + Array("due".utf8) }

    /// Stream: a copy of the audit log (`AuditStream`).
    var audit: [UInt8] { prefix + Array("audit".utf8) }

    /// Of all keys of the user.
    func slot(of user: UserID) -> RedisSlot { RedisSlot(key: tag(user)) }

    // MARK: The fleet

    /// Keys whose changes are pushed: whatever decides about sessions, and the heartbeats.
    var trackedPrefixes: [[UInt8]] { ["sessions:", "revoked:", "revoked_before:", "edge:"].map { prefix + Array($0.utf8) } }

    /// What a pushed key is about; nil: something else, or not as this module spells it.
    func meaning(of key: [UInt8]) -> PushedKey? {
        guard key.starts(with: prefix) else { return nil }
        let rest = key[prefix.count...]
        guard let colon = rest.firstIndex(of: UInt8(ascii: ":")) else { return nil }
        let name = rest[(colon + 1)...]
        switch String(decoding: rest[..<colon], as: UTF8.self) {
        case "sessions", "revoked", "revoked_before": return KeyEncoding.user(ofTag: name).map(PushedKey.user)
        case "edge": return .edge(String(decoding: name, as: UTF8.self))
        default: return nil
        }
    }

    enum PushedKey: Equatable {
        case user(UserID)
        case edge(String)
    }

    func tag(_ user: UserID) -> [UInt8] {
        var tag: [UInt8] = []
        KeyEncoding.appendTag(of: user, to: &tag)
        return tag
    }

    private func key(_ name: StaticString, _ user: UserID) -> [UInt8] {
        var key = prefix
        name.withUTF8Buffer { key.append(contentsOf: $0) }
        KeyEncoding.appendTag(of: user, to: &key)
        return key
    }
}
