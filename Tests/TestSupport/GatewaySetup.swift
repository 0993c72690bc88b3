// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// The text of a configuration by its top-level keys. Each value is YAML in one line.
///
///     var setup = GatewaySetup(upstream: upstream.port)
///     setup["shutdown"] = "{drain: 5s}"
package struct GatewaySetup: Sendable {
    package static let adminToken = "admin-token-of-the-tests"

    private var sections: [(key: String, value: String)] = []

    /// Sessions in memory, one upstream, `/public` for everybody and the rest for sessions. Listeners are chosen at the start if none is given.
    ///
    /// - Parameter redis: keeps the sessions there, and has time: only an outage that the test makes is one.
    package init(upstream port: Int, redis: RedisServer? = nil) {
        self["workers"] = "2"
        self["store"] = "{kind: memory}"
        if let redis { self["store"] = Self.store(redis, "connect_timeout: 5s, command_timeout: 5s") }
        self["revocation"] = "{max_staleness: 10s}"
        self["sessions"] = "{signing_key: {file: signing.pem}, login: {users_file: users}}"
        self["upstreams"] = "{legacy: {endpoints: [\"127.0.0.1:\(port)\"]}}"
        self["routes"] = "[{path: /public, upstream: legacy, auth: none}, {path: /, upstream: legacy}]"
    }

    /// One that has been there for long (`growOld`), so that logouts are quick from the first on.
    package static func store(_ redis: RedisServer, _ more: String = "") -> String {
        try? redis.growOld()
        return store(port: redis.port, more)
    }

    /// - Parameter port: of a Redis, or of a relay to one.
    package static func store(port: Int, _ more: String) -> String {
        "{kind: redis, redis: {addresses: [\"127.0.0.1:\(port)\"], \(more)}}"
    }

    package static func store(_ redis: SentinelRedis, _ more: String = "") -> String {
        let addresses = redis.sentinels.map { "\"127.0.0.1:\($0.port)\"" }.joined(separator: ", ")
        return "{kind: redis, redis: {mode: sentinel, sentinel_master: \(redis.name), addresses: [\(addresses)], \(more)}}"
    }

    package static func store(_ redis: ClusterRedis, _ more: String = "") -> String {
        let addresses = redis.servers.map { "\"\($0.address)\"" }.joined(separator: ", ")
        return "{kind: redis, redis: {mode: cluster, addresses: [\(addresses)], \(more)}}"
    }

    package subscript(key: String) -> String? {
        get { sections.first { $0.key == key }?.value }
        set {
            sections.removeAll { $0.key == key }
            if let newValue { sections.append((key, newValue)) }
        }
    }

    /// The number of the key's line in the file, from 1.
    package func line(of key: String) -> Int? { sections.firstIndex { $0.key == key }.map { $0 + 1 } }

    package var text: String { sections.map { "\($0.key): \($0.value)\n" }.joined() }
}
