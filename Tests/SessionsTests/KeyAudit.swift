// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import Sessions
import TestSupport
import Testing

/// Everything that a Redis holds, compared with the table of keys that other programs rely on.
struct KeyAudit {
    struct Key {
        var name: String
        var type: String
        /// Unix milliseconds; -1 without an end.
        var expiresAt: Int
        /// Fields and values of a hash, members of sets and sorted sets, the value of a string.
        var contents: [String]
    }

    /// All but the heartbeats, which come and go by themselves.
    let keys: [Key]
    private let heartbeats: [Key]

    /// A user as it stands between the braces: escaped bytes have capital digits, and one `/` at most separates the namespace.
    private static let user = "(?:[A-Za-z0-9._@-]|%[0-9A-F]{2})+"
    private static let tag = "\\{\(user)(?:/\(user))?\\}"
    private static let table = [
        ("sessions:\(tag)", "set"), ("session:\(tag):\(user)", "hash"), ("revoked:\(tag)", "set"), ("revoked_before:\(tag)", "string"),
        ("logouts:\(tag)", "zset"), ("records:\(tag)", "zset"), ("ends:\(tag)", "zset"), ("begins:\(tag)", "zset"),
        ("edge:\(user)(?::\\{\(user)\\})?", "string"), ("failures:\(user)", "zset"), ("audit", "stream"), ("due", "zset"),
        ("edges(?::\\{\(user)\\})?", "set"), ("jti:\(user):\(user)", "string"),
    ]
    private static let fields: Set = [
        "created_at", "last_seen_at", "expires_at", "ip", "user_agent", "device", "claims", "refresh_hash", "previous_hash", "rotated_at",
        "revoked_at", "revoke_reason",
    ]

    init(_ redis: RedisServer) throws {
        let connection = try redis.connect()
        defer { connection.close() }
        var keys: [Key] = []
        for name in try connection("KEYS", "*").strings.sorted() {
            // One that has ended meanwhile has no type.
            guard let type = try connection("TYPE", name).text, type != "none" else { continue }
            let contents =
                switch type {
                case "string": [try connection("GET", name).text ?? ""]
                case "set": try connection("SMEMBERS", name).strings
                case "zset": try connection("ZRANGE", name, "0", "-1").strings
                case "hash": try connection("HGETALL", name).strings
                default: [String]()
                }
            keys.append(Key(name: name, type: type, expiresAt: try connection("PEXPIRETIME", name).number ?? 0, contents: contents))
        }
        func isHeartbeat(_ key: Key) -> Bool { ["edge:", "edges"].contains { key.name.hasPrefix(StoreWorld.prefix + $0) } }
        self.keys = keys.filter { !isHeartbeat($0) }
        heartbeats = keys.filter(isHeartbeat)
    }

    /// Names without the prefix.
    var names: [String] { keys.map { String($0.name.dropFirst(StoreWorld.prefix.count)) } }

    subscript(name: String) -> Key? { keys.first { $0.name == StoreWorld.prefix + name } }

    /// Names of keys that are not as they were; members of a set have no order.
    func changes(from before: KeyAudit) -> [String] {
        func state(_ audit: KeyAudit) -> [String: [String]] {
            Dictionary(
                uniqueKeysWithValues: audit.keys.map { key in
                    (key.name, [key.type, "\(key.expiresAt)"] + (key.type == "zset" ? key.contents : key.contents.sorted()))
                })
        }
        let old = state(before), new = state(self)
        return Set(old.keys).union(new.keys).filter { old[$0] != new[$0] }.sorted()
    }

    /// Each key stands in the table with its type, ends some time, and has only fields and values that the table knows.
    func expectContract(location: SourceLocation = #_sourceLocation) throws {
        for key in keys + heartbeats {
            let kinds = Self.table.filter { key.name.range(of: "^\(StoreWorld.prefix)\($0.0)$", options: .regularExpression) != nil }
            #expect(kinds.map(\.1) == [key.type], "\(key.name) is a \(key.type)", sourceLocation: location)
            #expect(key.expiresAt > 0 || key.expiresAt == -2, "\(key.name) lives for ever", sourceLocation: location)
            if key.type == "hash" {
                let names = stride(from: 0, to: key.contents.count, by: 2).map { key.contents[$0] }
                #expect(Self.fields.isSuperset(of: names), "\(names)", sourceLocation: location)
            }
            if key.name.hasPrefix(StoreWorld.prefix + "revoked_before:") {
                let value = key.contents.first ?? ""
                #expect((1...12).contains(value.count) && value.allSatisfy(\.isNumber), sourceLocation: location)
            }
        }
    }
}

extension RESPValue {
    var strings: [String] {
        guard case .array(let values) = self else { return [] }
        return values.compactMap(\.text)
    }

    var number: Int? {
        if case .integer(let value) = self { value } else { nil }
    }
}
