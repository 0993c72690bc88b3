// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Sessions
import TestSupport
import Testing

@Suite("Faults of Redis")
struct RedisFaultTests {
    /// Every operation of the store throws.
    private func expectAllThrow(_ world: StoreWorld, location: SourceLocation = #_sourceLocation) async {
        for call in Call.allCases {
            await #expect(throws: StoreUnavailable.self, "\(call)", sourceLocation: location) { try await call.run(world) }
        }
    }

    @Test(
        "in its replies are unavailable and never revoked, and no operation is reported as done",
        arguments: [
            "-LOADING Redis is loading the dataset in memory\r\n", "-READONLY You can't write against a read only replica.\r\n",
            "-NOPERM this user has no permissions\r\n", "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
            "-BUSY Redis is busy running a script\r\n", "-MISCONF Redis is configured to save\r\n", "-MASTERDOWN Link with MASTER is down\r\n",
            "-CLUSTERDOWN The cluster is down\r\n", "-MOVED 1 127.0.0.1:1\r\n", "-TRYAGAIN Multiple keys request during rehashing\r\n",
            "-NOAUTH Authentication required.\r\n", "-NOSCRIPT No matching script.\r\n", "-NOREPLICAS Not enough good replicas\r\n", "-ERR\r\n",
            "-WRONGTYPE Operation against a key\r\n", "-EXECABORT\r\n", "-\r\n", "+OK\r\n", "+QUEUED\r\n", ":2\r\n", ":-1\r\n", "*1\r\n:1\r\n",
            "*-1\r\n",
        ])
    func replies(reply: String) async throws {
        try await withRedisServer { redis in
            let relay = try RedisRelay(to: redis.port)
            defer { relay.stop() }
            try await StoreWorld.run(on: redis, port: relay.port) { world in
                // All but what a connection begins with, and the fleet's heartbeat, without which nobody would be asked.
                relay.answer { command in
                    let isSpared = ["PING", "ROLE", "INFO", "CLIENT", "SUBSCRIBE", "PUBLISH"].contains(command[0])
                    return isSpared || command.contains { $0.contains("edge") } ? nil : reply
                }
                let answer = try await world.ask("s1")
                #expect(answer == .unavailable)
                // An answer of two parts, one of which says nothing.
                #expect(try await world.ask("s1", kind: .revocable, issuedAt: 1) == .unavailable)
                for call in Call.allCases where !(call.isOne && reply == ":2\r\n") && !(call.isCount && reply.hasPrefix(":")) {
                    await #expect(throws: StoreUnavailable.self, "\(call)") { try await call.run(world) }
                }
            }
        }
    }

    @Test("killed: unavailable at once, no logout is reported as done, and when it is back with its data sessions work again")
    func killed() async throws {
        try await withRedisServer(durable: true) { redis in
            try await StoreWorld.run(on: redis) { world in
                let now = systemTime()
                for session in ["s1", "s2"] { try await world.login(session, at: now) }
                #expect(try await world.logout("s2", at: now) == .ended)
                try await world.expect(.active, "s1")
                redis.kill()
                for _ in 1...5 { try await world.expect(.unavailable, "s1") }
                try await world.expect(.unavailable, "s1", kind: .revocable)
                await expectAllThrow(world)
                #expect(!world.store.health.isUp && world.store.health.wasEverUp)
                try await redis.restart()
                try await eventually("it answers again") { try await world.ask("s1") == .active && world.store.health.isUp }
                try await world.expect(.active, "s1")
                try await world.expect(.revoked, "s2")
                #expect(try await world.logout("s1", at: now) == .ended)
                try await world.expect(.revoked, "s1")
            }
        }
    }

    @Test("paused: unavailable within the command's time, then active again")
    func paused() async throws {
        try await withRedisServer { redis in
            try await StoreWorld.run(on: redis, commandTimeout: .milliseconds(300)) { world in
                let now = systemTime()
                try await eventually("logged in") {
                    try await world.login("s1", at: now)
                    return try await world.ask("s1") == .active
                }
                redis.pause()
                let start = ContinuousClock.now
                #expect(try await world.ask("s1") == .unavailable)
                #expect(ContinuousClock.now - start < .seconds(5))
                await #expect(throws: StoreUnavailable.self) { try await world.logoutAll(at: now) }
                await #expect(throws: StoreUnavailable.self) { try await world.logout("other", at: now) }
                try await world.expect(.unavailable, "s1", kind: .revocable)
                redis.resume()
                // The logout that had left before the time was over has been taken: it may take effect, but was not reported.
                try await eventually("it answers again") { try await world.ask("s1") != .unavailable }
                try await eventually("a login works again") {
                    try await world.login("s2", at: now)
                    return try await world.ask("s2") == .active
                }
            }
        }
    }

    @Test("not there at the start: unavailable, and used when it comes")
    func late() async throws {
        try await withRedisServer { redis in
            redis.kill()
            try await StoreWorld.run(on: redis, isReady: false) { world in
                try await world.expect(.unavailable, "s1")
                await expectAllThrow(world)
                #expect(world.store.health == StoreHealth(isUp: false, wasEverUp: false, staleness: nil))
                try await redis.restart()
                try await eventually("it answers") { try await world.ask("s1") == .revoked && world.store.health.isUp }
            }
        }
    }

    @Test("full: whoever is logged in stays so and can log out; nobody else comes in half")
    func full() async throws {
        try await withRedisServer { redis in
            try await StoreWorld.run(on: redis) { world in
                let now = systemTime()
                for session in ["s1", "s2", "s3"] { try await world.login(session, at: now) }
                try redis.command("CONFIG", "SET", "maxmemory", "1")
                try await world.expect(.active, "s1")
                await #expect(throws: StoreUnavailable.self) { try await world.login("s4", at: now) }
                await #expect(throws: StoreUnavailable.self) { try await world.register("s5", until: now + 60_000, at: now) }
                await #expect(throws: StoreUnavailable.self) { try await world.refresh("s1", "first", to: "second", at: now) }
                for session in ["s4", "s5"] { try await world.expect(.revoked, session) }
                #expect(try await world.logout("s1", at: now) == .ended)
                try await world.expect(.revoked, "s1")
                try await world.expect(.active, "s2")
                await #expect(throws: StoreUnavailable.self) {
                    try await world.store.revoke("r1", of: StoreWorld.user, until: now + 60_000, now: now)
                }
                await #expect(throws: StoreUnavailable.self) {
                    try await world.logoutAll(issued: RevokedBefore(moment: 1, until: now + 60_000), at: now)
                }
                try await world.expect(.active, "r1", kind: .revocable, issuedAt: 1)
                #expect(try await world.logoutAll(at: now) == 2)
                try await world.expect(.revoked, "s2")
                try redis.command("CONFIG", "SET", "maxmemory", "0")
                try await world.login("s4", at: now)
                try await world.expect(.active, "s4")
            }
        }
    }

    @Test("read-only: nobody is told to be logged out, and no logout is reported as done")
    func readOnly() async throws {
        try await withRedisServer { redis in
            try await StoreWorld.run(on: redis) { world in
                let now = systemTime()
                try await world.login("s1", at: now)
                try redis.command("REPLICAOF", "127.0.0.1", "1")
                for call in Call.allCases where call.writes {
                    await #expect(throws: StoreUnavailable.self, "\(call)") { try await call.run(world) }
                    #expect(try await world.ask("s1") != .revoked)
                }
                try redis.command("REPLICAOF", "NO", "ONE")
                try await eventually("it answers again") { try await world.ask("s1") == .active }
                // The connection that was refused a write is made anew.
                try await eventually("a logout is taken") { try await world.logout("s1", at: now) == .ended }
                try await world.expect(.revoked, "s1")
            }
        }
    }

    @Test("a permission taken away is unavailable, not revoked; given back, everything works on")
    func noPermission() async throws {
        try await withRedisServer { redis in
            try redis.command("ACL", "SETUSER", "gate", "on", ">word", "~*", "&*", "+@all")
            try await StoreWorld.run(on: redis, username: "gate", password: "word") { world in
                let now = systemTime()
                try await world.login("s1", at: now)
                try redis.command("ACL", "SETUSER", "gate", "-sismember", "-hgetall")
                try await world.expect(.unavailable, "s1")
                try await world.expect(.unavailable, "s1", kind: .revocable)
                try redis.command("ACL", "SETUSER", "gate", "+@all", "-srem", "-unlink", "-sadd")
                for call in [Call.end, .endAll, .revoke, .create, .register] {
                    await #expect(throws: StoreUnavailable.self, "\(call)") { try await call.run(world) }
                    try await world.expect(.active, "s1")
                }
                try redis.command("ACL", "SETUSER", "gate", "+@all", "resetkeys", "~other:*")
                try await world.expect(.unavailable, "s1")
                await expectAllThrow(world)
                try redis.command("ACL", "SETUSER", "gate", "~*")
                try await world.expect(.active, "s1")
                #expect(try await world.logout("s1", at: now) == .ended)
            }
        }
    }

    @Test("a cut connection is made anew, and each call in between either took effect or threw")
    func cut() async throws {
        try await withRedisServer { redis in
            let relay = try TCPRelay(to: redis.port)
            defer { relay.stop() }
            try await StoreWorld.run(on: redis, port: relay.port) { world in
                let now = systemTime()
                for round in 0..<20 {
                    let session = "s\(round)"
                    try await eventually("logged in") {
                        try await world.login(session, at: now)
                        return true
                    }
                    async let ending = world.logout(session, at: now)
                    relay.cut()
                    do {
                        #expect(try await ending == .ended)
                        #expect(try await world.ask(session) != .active)
                    } catch is StoreUnavailable {}
                    try await eventually("it answers again") { try await world.ask(session) != .unavailable }
                    try await eventually("logged out") { try await world.logout(session, at: now) == .endedBefore }
                    #expect(try await world.ask(session) == .revoked)
                }
            }
        }
    }
}
