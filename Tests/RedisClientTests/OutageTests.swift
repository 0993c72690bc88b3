// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import TestSupport
import Testing

@testable import RedisClient

@Suite("Outages of Redis")
struct OutageTests {
    private func echo(_ client: RedisClient, _ text: String) async -> RedisOutcome { await client.outcome("ECHO", text) }

    @Test("a killed Redis means unavailable at once, and a second after it is back it is used again")
    func killed() async throws {
        try await withRedisServer { redis in
            let told = Told()
            try await withClient(.local(redis.port), told: told) { client in
                #expect(await echo(client, "a") == .reply(.bulk(Array("a".utf8))))
                redis.kill()
                try await eventually("noticed") { !client.isConnected }
                // One that had waited would have timed out.
                for _ in 1...20 { #expect(await echo(client, "b") == .failure(.unavailable(wasSent: false))) }
                try await redis.restart()
                try await eventually("connected again", within: .seconds(10)) { client.isConnected }
                #expect(await echo(client, "c") == .reply(.bulk(Array("c".utf8))))
                #expect(told.changes == [true, false, true])
                #expect(client.wasEverConnected && client.status.connections == 2)
            }
        }
    }

    @Test("an outage is told in the log once for each cause, however often is tried")
    func quiet() async throws {
        try await withRedisServer { redis in
            let told = Told()
            try await withClient(.local(redis.port), told: told) { client in
                #expect(await echo(client, "a") == .reply(.bulk(Array("a".utf8))))
                redis.kill()
                // Each attempt would be a line: wait for the time of several.
                let deadline = ContinuousClock.now + .seconds(1)
                try await eventually("time for several attempts") { ContinuousClock.now > deadline }
                #expect(told.warnings.count <= 2, "closed, then refused")
                #expect(told.warnings.last?.contains("cannot connect") == true)
            }
        }
    }

    @Test("commands under way when Redis dies fail, each once, and none gets another's reply")
    func killedUnderLoad() async throws {
        try await withRedisServer { redis in
            try await withClient(.local(redis.port)) { client in
                try await withThrowingTaskGroup(of: (good: Int, bad: Int).self) { group in
                    for worker in 0..<20 {
                        group.addTask {
                            var good = 0
                            var bad = 0
                            while good < 200 || bad == 0 {
                                let text = "\(worker)-\(good)-\(bad)"
                                switch await client.outcome("ECHO", text) {
                                case .reply(let reply):
                                    #expect(reply == .bulk(Array(text.utf8)))
                                    good += 1
                                case .failure:
                                    bad += 1
                                    await Task.yield()
                                }
                            }
                            return (good, bad)
                        }
                    }
                    try await eventually("traffic") { client.status.commands > 500 }
                    redis.kill()
                    try await eventually("noticed") { !client.isConnected }
                    try await redis.restart()
                    try await group.waitForAll()
                }
                #expect(client.status.connections >= 2)
            }
        }
    }

    @Test("a stopped Redis means timed out; after it goes on its late replies confuse nobody")
    func stopped() async throws {
        try await withRedisServer { redis in
            let told = Told()
            let configuration = RedisConfiguration.local(redis.port, connectTimeout: .milliseconds(500), commandTimeout: .milliseconds(200))
            try await withClient(configuration, told: told) { client in
                try await eventually("connected") { client.isConnected }
                for round in 1...3 {
                    redis.pause()
                    let outcomes = await withTaskGroup(of: RedisOutcome.self) { group in
                        for number in 0..<10 { group.addTask { await echo(client, "stale-\(round)-\(number)") } }
                        return await group.reduce(into: []) { $0.append($1) }
                    }
                    for outcome in outcomes { #expect(outcome == .failure(.timedOut(wasSent: true))) }
                    #expect(!client.isConnected)
                    #expect(await echo(client, "x") == .failure(.unavailable(wasSent: false)), "at once, as the order of replies is unknown")
                    redis.resume()
                    try await eventually("connected again", within: .seconds(5)) { client.isConnected }
                    for number in 0..<10 {
                        #expect(await echo(client, "fresh-\(round)-\(number)") == .reply(.bulk(Array("fresh-\(round)-\(number)".utf8))))
                    }
                }
                #expect(client.status.timeouts == 3)
                #expect(told.warnings.first == "Redis is not available a command was not answered within the command timeout")
            }
        }
    }

    @Test("a Redis that is slower than the timeout fails every command, and one within it none")
    func slow() async throws {
        try await withRedisServer { redis in
            let relay = try TCPRelay(to: redis.port)
            defer { relay.stop() }
            try await withClient(.local(relay.port, commandTimeout: .milliseconds(150))) { client in
                try await eventually("connected") { client.isConnected }
                relay.delay = .milliseconds(300)
                for number in 0..<5 {
                    // Two delays, there and back, exceed the time.
                    try await eventually("connected") { client.isConnected }
                    #expect(await echo(client, "\(number)") == .failure(.timedOut(wasSent: true)))
                }
                relay.delay = .milliseconds(10)
                try await eventually("connected") { client.isConnected }
                try await eventually("answers") { await echo(client, "x") == .reply(.bulk(Array("x".utf8))) }
            }
        }
    }

    @Test("a network that swallows everything is noticed by the command's deadline")
    func swallowed() async throws {
        try await withRedisServer { redis in
            let relay = try TCPRelay(to: redis.port)
            defer { relay.stop() }
            let configuration = RedisConfiguration.local(relay.port, connectTimeout: .milliseconds(300), commandTimeout: .milliseconds(150))
            try await withClient(configuration) { client in
                try await eventually("connected") { client.isConnected }
                relay.isSilent = true
                #expect(await echo(client, "x") == .failure(.timedOut(wasSent: true)))
                relay.isSilent = false
                try await eventually("connected again") { client.isConnected }
            }
        }
    }

    @Test("cut connections are made again, time after time")
    func cut() async throws {
        try await withRedisServer { redis in
            let relay = try TCPRelay(to: redis.port)
            defer { relay.stop() }
            try await withClient(.local(relay.port)) { client in
                try await eventually("connected") { client.isConnected }
                for round in 2...6 {
                    relay.cut()
                    try await eventually("connected again") { client.status.connections == UInt64(round) && client.isConnected }
                    #expect(await echo(client, "x") == .reply(.bulk(Array("x".utf8))))
                }
            }
        }
    }

    @Test("a client that starts before Redis finds it when it comes")
    func early() async throws {
        try await withRedisServer { redis in
            redis.kill()
            let told = Told()
            try await withClient(.local(redis.port), told: told) { client in
                #expect(await echo(client, "x") == .failure(.unavailable(wasSent: false)))
                #expect(!client.wasEverConnected)
                try await redis.restart()
                try await eventually("connected") { client.isConnected }
                #expect(await echo(client, "x") == .reply(.bulk(Array("x".utf8))))
                #expect(told.changes == [true])
            }
        }
    }

    @Test("a Redis that has become a replica refuses a write, which is passed on, and from then on is not asked until it is a primary again")
    func readOnly() async throws {
        try await withRedisServer { redis in
            try await withClient(.local(redis.port)) { client in
                try await eventually("connected") { client.isConnected }
                try redis.command("REPLICAOF", "127.0.0.1", "1")
                let code = try await client.call(RedisCommand("SET", "a", "1")).errorCode
                #expect(code == "READONLY")
                #expect(await client.outcome("GET", "a") == .failure(.unavailable(wasSent: false)))
                try redis.command("REPLICAOF", "NO", "ONE")
                try await eventually("connected again") { client.isConnected }
                try await client.expect(RedisCommand("SET", "a", "1"), .simple(Array("OK".utf8)))
            }
        }
    }
}
