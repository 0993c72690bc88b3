// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation

/// A primary with replicas, watched by Sentinels that fail over after half a second of silence; all on free ports.
package final class SentinelRedis: Sendable {
    /// Under which the Sentinels know the primary.
    package let name = "mymaster"
    /// After so many milliseconds of silence the Sentinels call the primary down, where they have not been told another time.
    package static let downAfter = 500
    /// The first one was the primary at the beginning.
    package let servers: [RedisServer]
    package let sentinels: [RedisSentinel]

    /// Starts everything, and waits until the replicas are in sync and the Sentinels know each other and them.
    ///
    /// - Parameters:
    ///   - options: of each data server.
    ///   - password: of the data servers; the Sentinels use it and have none.
    ///   - observers: Sentinels and replicas come to the data servers as a user of their own, so that `shutOut` can tell them from others, who need a
    ///     password.
    package static func start(
        replicas: Int = 2, sentinels: Int = 3, _ options: [String] = [], password: String? = nil, observers: Bool = false
    ) async throws -> SentinelRedis {
        let observer = Self.observer
        let user =
            observers
            ? ["--user", observer, "on", ">\(observer)", "~*", "&*", "+@all", "--masteruser", observer, "--masterauth", observer] : []
        let common =
            options + user + ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"]
            + (observers ? [] : password.map { ["--masterauth", $0] } ?? [])
        var servers = [try await RedisServer.start(common, password: password)]
        var watchers: [RedisSentinel] = []
        do {
            let primary = servers[0]
            for _ in 0..<replicas {
                servers.append(try await RedisServer.start(common + ["--replicaof", "127.0.0.1 \(primary.port)"], password: password))
            }
            for _ in 0..<sentinels {
                watchers.append(
                    try await RedisSentinel.start(
                        watching: primary.port, as: "mymaster", quorum: sentinels / 2 + 1,
                        user: observers ? Self.observer : nil, password: observers ? Self.observer : password))
            }
            let all = SentinelRedis(servers, watchers)
            try await all.waitUntilWhole()
            return all
        } catch {
            for server in servers { server.stop() }
            for sentinel in watchers { sentinel.stop() }
            throw error
        }
    }

    /// Its name, and its password.
    private static let observer = "observer"

    /// From now on Sentinels and replicas do not reach that server, while all others do.
    package func shutOut(from server: RedisServer) throws {
        try server.command("ACL", "SETUSER", Self.observer, "off")
        try server.command("CLIENT", "KILL", "USER", Self.observer)
    }

    /// They do again.
    package func letIn(to server: RedisServer) throws { try server.command("ACL", "SETUSER", Self.observer, "on") }

    private init(_ servers: [RedisServer], _ sentinels: [RedisSentinel]) {
        self.servers = servers
        self.sentinels = sentinels
    }

    /// The one that says itself that it is a primary and that the first Sentinel names.
    package func primary() throws -> RedisServer? {
        let port = try sentinels[0].primaryPort(name)
        return try servers.first { try $0.port == port && $0.command("ROLE").elements?.first == .text("master") }
    }

    /// Has a Sentinel promote a replica although nothing is wrong, as soon as it finds one good enough.
    package func failOver(askedOf sentinel: Int = 0) async throws {
        try await eventually("a Sentinel fails over", within: .seconds(60)) {
            let answer = try sentinels[sentinel].command("SENTINEL", "FAILOVER", name)
            guard answer == .text("OK") else { throw NotInTime(description: "\(answer)") }
            return true
        }
    }

    /// How long the primary has to be silent before a Sentinel calls it down.
    package func setDownAfter(milliseconds: Int) throws {
        for sentinel in sentinels {
            let answer = try sentinel.command("SENTINEL", "SET", name, "down-after-milliseconds", "\(milliseconds)")
            guard answer == .text("OK") else { throw NotInTime(description: "\(answer)") }
        }
    }

    /// Waits until all Sentinels name another primary than that one, and it is one.
    @discardableResult
    package func waitForFailover(from old: RedisServer) async throws -> RedisServer {
        var new: RedisServer?
        // Sentinels end their servers' connections as they change them, also that of who asks.
        try await eventually("failover", within: .seconds(90)) {
            guard try sentinels.allSatisfy({ try $0.primaryPort(name) != old.port }) else { return false }
            new = try primary()
            return new != nil
        }
        return new ?? old
    }

    /// Waits until each Sentinel sees a primary that is well, replicas in sync with it, and all others.
    package func waitUntilWhole() async throws {
        try await eventually("the replicas are in sync, and the Sentinels know everybody", within: .seconds(90)) {
            for sentinel in sentinels {
                let state = try sentinel.fields("SENTINEL", "MASTER", name)
                guard state["flags"] == "master", state["num-slaves"] == "\(servers.count - 1)",
                    state["num-other-sentinels"] == "\(sentinels.count - 1)"
                else { return false }
            }
            guard let primary = try primary() else { return false }
            let connection = try primary.connect()
            defer { connection.close() }
            try connection("SET", "portcullis-tests", "1")
            return try connection("WAIT", "\(servers.count - 1)", "100") == .integer(servers.count - 1)
        }
    }

    package func stop() {
        for sentinel in sentinels { sentinel.stop() }
        for server in servers { server.stop() }
    }
}

/// One Sentinel.
package final class RedisSentinel: Sendable {
    package let port: Int
    private let folder: String
    private let child: ChildProcess

    static func start(watching primary: Int, as name: String, quorum: Int, user: String?, password: String?) async throws -> RedisSentinel {
        let sentinel = try RedisSentinel(primary, name, quorum, user, password)
        try await eventually("a Sentinel answers") { try sentinel.call(["PING"]) == .text("PONG") }
        return sentinel
    }

    private init(_ primary: Int, _ name: String, _ quorum: Int, _ user: String?, _ password: String?) throws {
        port = try freePort()
        folder = try temporaryFolder("sentinel")
        let auth = (password.map { "sentinel auth-pass \(name) \($0)\n" } ?? "") + (user.map { "sentinel auth-user \(name) \($0)\n" } ?? "")
        let lines = """
            port \(port)
            bind 127.0.0.1
            dir \(folder)
            sentinel monitor \(name) 127.0.0.1 \(primary) \(quorum)
            sentinel down-after-milliseconds \(name) \(SentinelRedis.downAfter)
            sentinel failover-timeout \(name) 3000
            \(auth)
            """
        try lines.write(toFile: "\(folder)/sentinel.conf", atomically: true, encoding: .utf8)
        child = try ChildProcess("/usr/bin/env", ["redis-server", "\(folder)/sentinel.conf", "--sentinel"], output: "\(folder)/log")
    }

    package func command(_ words: String...) throws -> RESPValue { try call(words) }

    /// A reply of names and values in turn.
    package func fields(_ words: String...) throws -> [String: String] {
        let parts = try call(words).elements ?? []
        var fields: [String: String] = [:]
        for index in stride(from: 0, to: parts.count - 1, by: 2) { fields[parts[index].text ?? ""] = parts[index + 1].text }
        return fields
    }

    package func primaryPort(_ name: String) throws -> Int? {
        try command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name).elements?.last?.text.flatMap { Int($0) }
    }

    package func pause() { child.send(signal: SIGSTOP) }
    package func resume() { child.send(signal: SIGCONT) }
    package func kill() { child.kill() }

    package func stop() {
        kill()
        try? FileManager.default.removeItem(atPath: folder)
    }

    private func call(_ words: [String]) throws -> RESPValue {
        let connection = try RESPConnection(port: port, timeout: .seconds(2))
        defer { connection.close() }
        return try connection.call(words)
    }
}

/// Runs `body` with a primary, its replicas and three Sentinels of its own, which are stopped afterwards.
package func withSentinelRedis<Result>(
    replicas: Int = 2, _ options: [String] = [], password: String? = nil, observers: Bool = false, isolation: isolated (any Actor)? = #isolation,
    _ body: (SentinelRedis) async throws -> Result
) async throws -> Result {
    let redis = try await SentinelRedis.start(replicas: replicas, options, password: password, observers: observers)
    defer { redis.stop() }
    return try await body(redis)
}
