// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import TestSupport
import Testing

@Suite("Many sessions of a user in Redis")
struct RedisSizeTests {
    private static let rules = SessionRules.usual.with { $0.maxPerUser = 1_000_000 }

    /// Sessions as `create` makes them, but all in one go.
    private static let fill = """
        for number = 1, tonumber(ARGV[1]) do
          local sid, now, over = 'id' .. number, tonumber(ARGV[2]) - number, tonumber(ARGV[3])
          redis.call('SADD', 'test:sessions:{alice}', sid)
          redis.call('HSET', 'test:session:{alice}:' .. sid, 'created_at', now, 'expires_at', over, 'refresh_hash', 'first', 'device', 'phone')
          redis.call('PEXPIREAT', 'test:session:{alice}:' .. sid, over)
          redis.call('ZADD', 'test:records:{alice}', over, sid)
          redis.call('ZADD', 'test:ends:{alice}', over, sid)
          redis.call('ZADD', 'test:begins:{alice}', now, sid)
        end
        for _, name in ipairs({'sessions', 'records', 'ends', 'begins'}) do redis.call('PEXPIREAT', 'test:' .. name .. ':{alice}', ARGV[3]) end
        return 1
        """

    private func fill(_ redis: RedisServer, _ count: Int, at now: UnixMilliseconds) throws {
        #expect(try redis.command("EVAL", Self.fill, "0", "\(count)", "\(now)", "\(now + 3_600_000)") == .integer(1))
    }

    @Test("cost a login, a registration, a refresh and a logout nothing: the commands are those for a few", arguments: [3, 10_000])
    func cost(sessions: Int) async throws {
        try await withRedisServer { redis in
            try await StoreWorld.run(on: redis, staleness: .seconds(60)) { world in
                let now = systemTime()
                try fill(redis, sessions, at: now)
                func used(_ body: (String) async throws -> Void) async throws -> [String: Int] {
                    // The first one brings the script.
                    try await body("first")
                    return try await redis.commands { try await body("second") }
                }
                let login = try await used { session in
                    let gone = try await world.login(session, rules: Self.rules, at: now)
                    #expect(gone == [])
                }
                let registration = try await used { session in
                    let registered = try await world.register("r\(session)", until: now + 60_000, at: now)
                    #expect(registered == .registered)
                }
                let refresh = try await used { session in
                    guard case .rotated = try await world.refresh(session, "first", to: "next", at: now) else {
                        Issue.record("not rotated")
                        return
                    }
                }
                let logout = try await used { session in
                    let ending = try await world.logout(session, at: now)
                    #expect(ending == .ended)
                }
                let atLimit = try await used { session in
                    let gone = try await world.login("z\(session)", rules: Self.rules.with { $0.maxPerUser = sessions + 2 }, at: now)
                    #expect(gone.count == 1, "one more gives way")
                }
                let seen = [login, registration, refresh, logout, atLimit]
                for (used, most) in zip(seen, [36, 46, 46, 32, 56]) {
                    #expect(used.values.reduce(0, +) <= most, "\(used)")
                    #expect(used["smembers"] == nil && used["zrange"] ?? 0 <= 1, "\(used)")
                }
            }
        }
    }

    @Test("are ended by the same commands as one, in one round trip")
    func logoutAll() async throws {
        try await withRedisServer { redis in
            try await StoreWorld.run(on: redis, staleness: .seconds(60)) { world in
                var seen: [[String: Int]] = []
                for count in [1, 1, 10_000] {
                    let now = systemTime()
                    try fill(redis, count, at: now)
                    var ended = 0
                    seen.append(try await redis.commands { ended = try await world.logoutAll(at: now) })
                    #expect(ended == count)
                    for session in ["id1", "id\(count)"] { #expect(try await world.ask(session) == .revoked) }
                }
                // The first one brought the script.
                for name in ["unlink", "srem", "del"] { #expect(seen[1][name] == seen[2][name], "\(name): \(seen)") }
                #expect(seen[2]["unlink"] == 1 && seen[2].values.reduce(0, +) < 40, "\(seen)")
            }
        }
    }

    @Test("are listed without a script, their records each by a command of its own, some hundred in a round trip")
    func list() async throws {
        try await withRedisServer { redis in
            let relay = try TCPRelay(to: redis.port)
            defer { relay.stop() }
            try await StoreWorld.run(on: redis, port: relay.port, staleness: .seconds(60)) { world in
                let now = systemTime()
                try fill(redis, 10_000, at: now)
                for session in ["id5", "id6"] { #expect(try await world.logout(session, at: now) == .ended) }
                // A record that is gone, of an active session and of one that has ended.
                try redis.command("DEL", "test:session:{alice}:id6", "test:session:{alice}:id7")
                var listed: [SessionRecord] = []
                let before = relay.roundTrips
                let used = try await redis.commands { listed = try await world.list(rules: Self.rules, at: now + 1) }
                let trips = relay.roundTrips - before
                #expect(listed.count == 9_999 && listed.count(where: \.active) == 9_998)
                #expect(listed.first?.session == "id1" && listed.last == SessionRecord(session: "id7", user: StoreWorld.user))
                #expect(listed.first { $0.session == "id5" }?.summary == "id5 logout" && !listed.contains { $0.session == "id6" })
                #expect(used["hgetall"] == 10_000 && used["eval"] == nil && used["evalsha"] == nil && used["smembers"] == 1, "\(used)")
                // The sweep looks in between.
                #expect((10...40).contains(trips), "\(trips)")
            }
        }
    }

    @Test("far beyond a limit that is lower now give way with the next login, all of them, some at a time")
    func lowered() async throws {
        try await withRedisServer { redis in
            try await StoreWorld.run(on: redis, staleness: .seconds(60)) { world in
                let now = systemTime()
                try fill(redis, 1_000, at: now)
                // What another program has taken out is no longer counted, and nobody is told of it.
                for number in 990...1_000 { try redis.command("SREM", "test:sessions:{alice}", "id\(number)") }
                let gone = try await world.login("new", rules: .usual.with { $0.maxPerUser = 5 }, at: now)
                #expect(gone == (5...989).reversed().map { "id\($0)" }, "the oldest first")
                let active = try await world.list(at: now).filter(\.active).map(\.session)
                #expect(active == ["new", "id1", "id2", "id3", "id4"])
                #expect(try redis.command("ZCARD", "test:begins:{alice}") == .integer(5))
            }
        }
    }

    @Test("take as many round trips as one: one for each change, and two for a failed login")
    func roundTrips() async throws {
        try await withRedisServer { redis in
            let relay = try TCPRelay(to: redis.port)
            defer { relay.stop() }
            try await StoreWorld.run(on: redis, port: relay.port, staleness: .seconds(60)) { world in
                let now = systemTime()
                /// The median of some: once a second the sweep's own come in between, or are taken for one with it. The first brings the script.
                func trips(_ body: (Int) async throws -> Void) async throws -> Int {
                    var counts: [Int] = []
                    for round in 0..<5 {
                        let before = relay.roundTrips
                        try await body(round)
                        counts.append(relay.roundTrips - before)
                    }
                    return counts.sorted()[2]
                }
                let login = try await trips { try await world.login("s\($0)", at: now) }
                let refresh = try await trips { _ = try await world.refresh("s\($0)", "first", to: "second", at: now) }
                let logout = try await trips { _ = try await world.logout("s\($0)", at: now) }
                let logoutAll = try await trips { _ in _ = try await world.logoutAll(at: now) }
                #expect([login, refresh] == [1, 1])
                // One that ends them, one that asks the fleet.
                #expect(logout <= 2 && logoutAll <= 2)
                let began = try await trips { _ = try await world.begin("\($0)", under: "u\($0)") }
                let ended = try await trips { try await world.end("\($0)", under: "u\($0)", failed: true) }
                #expect([began, ended] == [1, 1])
            }
        }
    }
}
