// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import RedisClient
import RedisSessions
import Sessions
import TestSupport
import Testing

@Suite("Operating with Redis")
struct RedisOperationTests {
    // MARK: Permissions and settings

    @Test("needs no more permissions than the documented ones")
    func permissions() async throws {
        try await withRedisServer { redis in
            let rules = ["~\(StoreWorld.prefix)*", "&*", "+@all", "-@dangerous", "+info", "+client", "+wait", "+role", "+config|get"]
            guard case .text = try RedisServer.call(redis, ["ACL", "SETUSER", "gate", "on", ">word"] + rules) else {
                Issue.record("Redis does not take these rules")
                return
            }
            try await StoreWorld.run(on: redis, username: "gate", password: "word") { world in
                let now = systemTime(), user = StoreWorld.user
                for session in ["s1", "s2", "s3"] { try await world.login(session, rules: .usual.with { $0.maxPerUser = 2 }, at: now) }
                try await world.expect(.active, "s3")
                guard case .rotated = try await world.refresh("s3", "first", to: "second", at: now) else {
                    Issue.record("not rotated")
                    return
                }
                #expect(try await world.list(at: now).count == 3)
                #expect(try await world.register("s4", until: now + 500, at: now) == .registered)
                #expect(try await world.store.record("s3", of: user, currentHash: nil) != nil)
                #expect(try await world.begin("1") == .admitted)
                try await world.end("1", failed: true)
                #expect(try await world.store.use(logoutToken: "t", of: "idp", until: now + 60_000, now: now))
                #expect(try await world.store.hasUsed(logoutToken: "t", of: "idp", now: now))
                try await eventually("the sweep has ended s4") { try await world.ask("s4") == .revoked }
                #expect(try await world.logout("s2", at: now) == .ended)
                try await world.store.revoke("r1", of: user, until: now + 60_000, now: now)
                try await world.expect(.revoked, "r1", kind: .revocable)
                let before = RevokedBefore(moment: now / 1000, until: now + 60_000)
                #expect(try await world.logoutAll(issued: before, at: now) == 1)
                try await world.expect(.revoked, "r2", kind: .revocable, issuedAt: now / 1000)
                let policy = try await (world.store as? RedisSessionStore)?.evictionPolicy()
                #expect(policy == nil)
            }
            #expect(try redis.command("ACL", "LOG") == .array([]), "nothing was denied")
            try KeyAudit(redis).expectContract()
        }
    }

    @Test(
        "tells a policy that drops keys from one that does not",
        arguments: [
            ("noeviction", nil), ("allkeys-lru", "allkeys-lru"), ("volatile-lru", "volatile-lru"), ("allkeys-lfu", "allkeys-lfu"),
            ("volatile-lfu", "volatile-lfu"), ("allkeys-random", "allkeys-random"), ("volatile-random", "volatile-random"),
            ("volatile-ttl", "volatile-ttl"),
        ] as [(String, String?)])
    func policy(policy: String, told: String?) async throws {
        try await withRedisServer(["--maxmemory-policy", policy]) { redis in
            try await withRedisStore(
                RedisConfiguration(
                    address: .host("127.0.0.1", port: redis.port), connectTimeout: .seconds(5), commandTimeout: .seconds(5))
            ) { store in
                let found = try await store.evictionPolicy()
                #expect(found == told)
            }
        }
    }

    @Test("says that it does not know the policy of a Redis that does not tell", arguments: ["-NOPERM no\r\n", "$3\r\nx:y\r\n", ":1\r\n", "$-1\r\n"])
    func unknownPolicy(reply: String) async throws {
        let server = try FakeServer { connection in
            while let command = connection.readCommand() { connection.write(redisGreeting(command) ?? reply) }
        }
        defer { server.stop() }
        try await withRedisStore(
            RedisConfiguration(
                address: .host("127.0.0.1", port: server.port), connectTimeout: .seconds(5), commandTimeout: .seconds(5))
        ) { store in
            _ = await #expect(throws: StoreUnavailable.self) { try await store.evictionPolicy() }
        }
    }

    // MARK: Scripts and their cost

    @Test("goes on when Redis has forgotten the scripts, in each operation and without doing anything twice")
    func flushed() async throws {
        try await StoreWorld.run(.redis) { world in
            let redis = try #require(world.redis), now = systemTime()
            for round in 1...2 {
                func forget() throws { try redis.command("SCRIPT", "FLUSH") }
                try forget()
                try await world.login("s1", at: now)
                try forget()
                #expect(try await world.register("s2", until: now + 60_000, at: now) == .registered)
                try forget()
                guard case .rotated = try await world.refresh("s1", "first", to: "second", at: now) else {
                    Issue.record("not rotated: done twice?")
                    return
                }
                try forget()
                #expect(try await world.list(at: now).count { $0.active } == 2)
                try forget()
                #expect(try await world.logout("s1", at: now) == .ended)
                try forget()
                try await world.store.revoke("r1", of: StoreWorld.user, until: now + 60_000, now: now)
                try forget()
                #expect(try await world.begin("\(round)") == .admitted)
                try forget()
                try await world.end("\(round)", failed: true)
                try forget()
                #expect(try await world.logoutAll(at: now) == 1)
                try redis.command("DEL", "\(StoreWorld.prefix)session:{alice}:s2")
            }
        }
    }

    @Test("asks one command for each lookup, two for one of a revocable issuer, whatever the number of sessions")
    func lookupCost() async throws {
        try await StoreWorld.run(.redis, staleness: .seconds(60)) { world in
            let redis = try #require(world.redis), now = systemTime()
            for number in 0..<2000 { try redis.command("SADD", "\(StoreWorld.prefix)sessions:{many}", "s\(number)") }
            try redis.command("EXPIRE", "\(StoreWorld.prefix)sessions:{many}", "600")
            try await world.login("s1", at: now)
            for user in [StoreWorld.user, UserID(name: "many"), UserID(name: "none")] {
                let used = try await redis.commands { for _ in 0..<100 { _ = try await world.ask("s1", of: user) } }
                #expect(used == ["sismember": 100])
            }
            let used = try await redis.commands { for _ in 0..<100 { _ = try await world.ask("s1", kind: .revocable, issuedAt: 5) } }
            #expect(used == ["sismember": 100, "get": 100])
        }
    }

    // MARK: Replicas

    @Test("reports an ending only when as many replicas have it as were asked for, also when it is repeated or asked of another gateway")
    func replicas() async throws {
        try await withRedisServer(["--repl-diskless-sync-delay", "0"]) { redis in
            try await withRedisServer(["--replicaof", "127.0.0.1 \(redis.port)"]) { replica in
                try await eventually("the replica follows") { try redis.command("INFO", "replication").text?.contains("state=online") == true }
                // Half of this is waited for replicas.
                try await StoreWorld.run(on: redis, waitReplicas: 1, commandTimeout: .seconds(2)) { world in
                    let now = systemTime()
                    for session in ["s1", "s2", "s3", "s4"] { try await world.login(session, at: now) }
                    #expect(try await world.logout("s1", at: now) == .ended)
                    let set = "\(StoreWorld.prefix)sessions:{alice}"
                    #expect(try replica.command("SISMEMBER", set, "s1") == .integer(0))
                    #expect(try replica.command("SISMEMBER", set, "s2") == .integer(1))

                    replica.pause()
                    await #expect(throws: StoreUnavailable.self) { try await world.logout("s2", at: now) }
                    await #expect(throws: StoreUnavailable.self, "again") { try await world.logout("s2", at: now) }
                    try await StoreWorld.run(on: redis, waitReplicas: 1, isReady: false, commandTimeout: .seconds(2)) { other in
                        await #expect(throws: StoreUnavailable.self, "asked of another") { try await other.logout("s2", at: now) }
                    }
                    await #expect(throws: StoreUnavailable.self) { try await world.refresh("s3", "old", to: "new", at: now) }
                    await #expect(throws: StoreUnavailable.self) { try await world.logoutAll(at: now) }
                    await #expect(throws: StoreUnavailable.self) { try await world.logoutAll(at: now) }
                    await #expect(throws: StoreUnavailable.self) {
                        try await world.store.revoke("r1", of: StoreWorld.user, until: now + 60_000, now: now)
                    }
                    // Whoever asks the primary is refused meanwhile.
                    for session in ["s2", "s3", "s4"] { #expect(try await world.ask(session) != .active) }

                    replica.resume()
                    try await eventually("the replica has caught up") { try await world.logout("s2", at: now) == .endedBefore }
                    #expect(try replica.command("EXISTS", set) == .integer(0))
                    #expect(try await world.logoutAll(at: now) == 0)
                    replica.kill()
                    try await world.login("s5", at: now)
                    try await eventually("the primary has noticed") {
                        try redis.command("INFO", "replication").text?.contains("connected_slaves:0") == true
                    }
                    await #expect(throws: StoreUnavailable.self) { try await world.logout("s5", at: now) }
                }
                try await StoreWorld.run(on: redis) { world in
                    let count = try await world.logoutAll(at: systemTime())
                    #expect(count == 0, "without replicas to wait for it is enough that Redis has it")
                }
            }
        }
    }
}

extension RedisServer {
    /// How many commands of each name Redis has carried out during `body`, scripts' ones included, without the sweep's and this method's own.
    func commands(_ body: () async throws -> Void) async throws -> [String: Int] {
        try command("CONFIG", "RESETSTAT")
        try await body()
        var counts: [String: Int] = [:]
        for line in (try command("INFO", "commandstats").text ?? "").split(whereSeparator: \.isNewline) where line.hasPrefix("cmdstat_") {
            let parts = line.dropFirst("cmdstat_".count).split(separator: ":", maxSplits: 1)
            guard parts.count == 2, let calls = parts[1].split(separator: ",").first?.split(separator: "=").last else { continue }
            counts[String(parts[0])] = Int(calls) ?? 0
        }
        // The sweep asks with ZRANGEBYSCORE once a second.
        for own in ["config|resetstat", "info", "ping", "zrangebyscore"] { counts[own] = nil }
        return counts
    }

    fileprivate static func call(_ server: RedisServer, _ words: [String]) throws -> RESPValue {
        let connection = try server.connect()
        defer { connection.close() }
        return try connection.call(words)
    }
}
