// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import RedisClient
import Sessions

/// What changes no session.
extension RedisSessionStore {
    /// Records read in one go, so that a long list holds up what others ask meanwhile no longer than this takes: some milliseconds.
    private static let recordsAtOnce = 500

    /// Not atomic, as it changes nothing; but told in an order in which no session that goes on is taken for one that has ended: the index is read before
    /// the set, the set before when and why.
    package func list(of user: UserID, rules: SessionRules, now: UnixMilliseconds) async throws(StoreUnavailable) -> [SessionRecord] {
        let replies = try await callAll(
            [
                RedisCommand([Array("ZRANGEBYSCORE".utf8), keys.records(user), Array("(".utf8) + text(now), Array("+inf".utf8)]),
                RedisCommand([Array("SMEMBERS".utf8), keys.sessions(user)]),
                RedisCommand([Array("ZRANGE".utf8), keys.logouts(user), Array("0".utf8), Array("-1".utf8)]),
            ], of: keys.tag(user))
        guard replies.count == 3 else { throw Self.odd }
        let remembered = try Self.texts(replies[0]), members = Set(try Self.texts(replies[1]))
        let logouts = try Self.texts(replies[2]).compactMap(RecordedLogout.init)
        let ids = Array(members) + remembered.filter { !members.contains($0) }
        var records: [SessionRecord] = []
        for start in stride(from: 0, to: ids.count, by: Self.recordsAtOnce) {
            let some = ids[start..<min(start + Self.recordsAtOnce, ids.count)]
            let replies = try await callAll(
                some.map { RedisCommand([Array("HGETALL".utf8), keys.recordPrefix(user) + Self.encoded($0)]) }, of: keys.tag(user))
            guard replies.count == some.count else { throw Self.odd }
            for (id, reply) in zip(some, replies) {
                let isMember = members.contains(id)
                let fields = try Self.fields(reply)
                guard isMember || !fields.isEmpty else { continue }
                let session = String(decoding: id, as: UTF8.self)
                if let record = fields.listed(session, user, isMember: isMember, logouts: logouts, retain: rules.retainRevoked, now: now) {
                    records.append(record)
                }
            }
        }
        return records.sorted { ($0.createdAt ?? 0, $0.session) > ($1.createdAt ?? 0, $1.session) }
    }

    private static func texts(_ reply: RedisReply) throws(StoreUnavailable) -> [[UInt8]] {
        guard let elements = reply.elements else { throw odd }
        let texts = elements.compactMap(\.bytes)
        guard texts.count == elements.count else { throw odd }
        return texts
    }

    private static func encoded(_ id: [UInt8]) -> [UInt8] {
        var key: [UInt8] = []
        KeyEncoding.append(id, to: &key)
        return key
    }

    /// One record that another program has made something else of is as if it were not there; the others are told all the same.
    private static func fields(_ reply: RedisReply) throws(StoreUnavailable) -> RecordFields {
        if reply.errorCode == "WRONGTYPE" { return RecordFields() }
        return try RecordFields(reply)
    }

    package func answer(_ session: String, of user: UserID, kind: SessionKind, issuedAt: Int64?) async throws(StoreUnavailable) -> Bool {
        let reference = SessionCommands(user: user, session: session, kind: kind, keys: keys)
        let patienceEnd = LeaseClock.now() + configuration.commandTimeout
        while true {
            let (answer, server) = try await answer(reference, of: user, issuedAt: issuedAt)
            if Self.isHeld(fleet.map.lease(ofServer: server)) { return answer }
            // As for the loops: one that is about to be had is waited for, and then it is asked again.
            repeat {
                guard LeaseClock.now() < patienceEnd, (try? await Task.sleep(for: .milliseconds(5))) != nil else {
                    throw StoreUnavailable("Redis has not confirmed lately that it is the one that counts")
                }
            } while !Self.isHeld(fleet.map.lease(for: reference.slot))
        }
    }

    private func answer(_ reference: SessionCommands, of user: UserID, issuedAt: Int64?) async throws(StoreUnavailable)
        -> (isActive: Bool, server: UInt64)
    {
        guard let moment = reference.revokedBefore else {
            let (replies, server) = try await ask([reference.isMember], of: keys.tag(user))
            guard let reply = replies.first else { throw Self.odd }
            return (try Self.isMember(Self.checked(reply)), server)
        }
        let (replies, server) = try await ask([reference.isMember, moment], of: keys.tag(user))
        guard replies.count == 2 else { throw Self.odd }
        let isRevoked = try Self.isMember(replies[0])
        switch RevokedBeforeRule.judge(.reply(replies[1]), issuedAt: issuedAt) {
        case .active: return (!isRevoked, server)
        case .revoked: return (false, server)
        case .unavailable: throw Self.odd
        }
    }

    /// What a Redis says that may have been replaced meanwhile is no answer.
    private static func isHeld(_ lease: FreshnessLease?) -> Bool {
        lease.map { LeaseClock.now() < $0.answersUntil } ?? false
    }

    package func record(_ session: String, of user: UserID, currentHash: [UInt8]?) async throws(StoreUnavailable) -> SessionRecord? {
        let replies = try await callAll(
            [
                RedisCommand([Array("SISMEMBER".utf8), keys.sessions(user), Array(session.utf8)]),
                RedisCommand([Array("HGETALL".utf8), keys.record(session, user)]),
            ], of: keys.tag(user))
        guard replies.count == 2, case .integer(let isMember) = replies[0] else { throw Self.odd }
        let fields = try RecordFields(replies[1])
        guard !fields.isEmpty else { return nil }
        if let currentHash, fields["refresh_hash"] != currentHash { return nil }
        return fields.record(session, user, isMember: isMember == 1)
    }
}
