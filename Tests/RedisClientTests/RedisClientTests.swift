// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import TestSupport
import Testing

@testable import RedisClient

@Suite("Talking to a real Redis")
struct RedisClientTests {
    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test("replies of every type arrive, and error replies are replies")
    func types() async throws {
        try await withRedisServer { redis in
            try await withClient(.local(redis.port)) { client in
                try await client.expect(RedisCommand("SADD", "set", "a", "b"), .integer(2))
                try await client.expect(RedisCommand("SISMEMBER", "set", "a"), .integer(1))
                try await client.expect(RedisCommand("SET", "key", "value"), .simple(bytes("OK")))
                try await client.expect(RedisCommand("GET", "key"), .bulk(bytes("value")))
                try await client.expect(RedisCommand("GET", "none"), .null)
                try await client.expect(RedisCommand("MGET", "key", "none"), .array([.bulk(bytes("value")), .null]))
                let code = try await client.call(RedisCommand("GET", "set")).errorCode
                #expect(code == "WRONGTYPE")
                #expect(client.isConnected && client.status.commands == 7 && client.status.failures == 0)
            }
        }
    }

    @Test("under many parallel commands each gets its own reply")
    func parallel() async throws {
        try await withRedisServer { redis in
            try await withClient(.local(redis.port)) { client in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for worker in 0..<50 {
                        group.addTask {
                            for round in 0..<100 {
                                let text = "\(worker)-\(round)"
                                try await client.expect(RedisCommand("ECHO", text), .bulk(Array(text.utf8)))
                            }
                        }
                    }
                    try await group.waitForAll()
                }
                #expect(client.status.connections == 1)
            }
        }
    }

    @Test("commands of one tick leave in one write, in their order")
    func oneWrite() async throws {
        let pieces = Seen()
        let server = try FakeServer { connection in
            guard connection.greet() else { return }
            pieces.append(connection.read())
            connection.write(":1\r\n:2\r\n:3\r\n")
            connection.waitForEnd()
        }
        defer { server.stop() }
        try await withClient(.local(server.port)) { client in
            try await eventually("connected") { client.isConnected }
            let collector = Collector()
            try await client.eventLoop.submit {
                for index in 1...3 { client.send(RedisCommand("ECHO", "\(index)"), collector.request(index)) }
                #expect(collector.outcomes.isEmpty)
            }.get()
            try await eventually("three replies") { collector.outcomes.count == 3 }
            #expect(collector.outcomes.map(\.index) == [1, 2, 3])
            #expect(collector.outcomes.map(\.outcome) == (1...3).map { .reply(.integer($0)) })
            let expected = (1...3).flatMap { RESPConnection.encode(["ECHO", "\($0)"]) }
            #expect(pieces.all == [expected])
        }
    }

    @Test("a prepared command can be sent again and again")
    func prepared() async throws {
        try await withRedisServer { redis in
            try await withClient(.local(redis.port)) { client in
                let command = RedisCommand("INCR", "counter")
                for number in 1...20 { try await client.expect(command, .integer(Int64(number))) }
            }
        }
    }

    @Test("a large value goes there and comes back")
    func large() async throws {
        try await withRedisServer { redis in
            try await withClient(.local(redis.port)) { client in
                let value = [UInt8](repeating: 0x61, count: 5_000_000)
                try await client.expect(RedisCommand([bytes("SET"), bytes("key"), value]), .simple(bytes("OK")))
                try await client.expect(RedisCommand("GET", "key"), .bulk(value))
                try await client.expect(RedisCommand("ECHO", "x"), .bulk(bytes("x")))
            }
        }
    }

    @Test("a request may send another from its reply")
    func chained() async throws {
        try await withRedisServer { redis in
            try await withClient(.local(redis.port)) { client in
                try await client.expect(RedisCommand("SET", "n", "0"), .simple(bytes("OK")))
                let last: Int64 = await withCheckedContinuation { continuation in
                    client.eventLoop.execute { Chain(client, continuation).next() }
                }
                #expect(last == 100)
            }
        }
    }

    @Test("more outstanding commands than the limit are refused, and were not sent")
    func depth() async throws {
        try await withRedisServer { redis in
            var limits = RedisLimits()
            limits.pipelineDepth = 10
            try await withClient(.local(redis.port, limits: limits)) { client in
                try await eventually("connected") { client.isConnected }
                let collector = Collector()
                try await client.eventLoop.submit {
                    for index in 0..<15 { client.send(RedisCommand("INCR", "n"), collector.request(index)) }
                }.get()
                try await eventually("all completed") { collector.outcomes.count == 15 }
                let refused = collector.outcomes.filter { $0.outcome == .failure(.unavailable(wasSent: false)) }
                #expect(refused.map(\.index) == Array(10..<15))
                #expect(try redis.command("GET", "n") == .text("10"))
            }
        }
    }

    @Test("a Unix socket is an address, too")
    func unixSocket() async throws {
        try await withRedisServer { redis in
            try await withClient(RedisConfiguration(address: .unix(path: redis.unixSocket), commandTimeout: .seconds(5))) { client in
                try await client.expect(RedisCommand("ECHO", "x"), .bulk(bytes("x")))
            }
        }
    }

    @Test("a name is an address, too")
    func name() async throws {
        try await withRedisServer { redis in
            let address = RedisConfiguration.Address.host("localhost", port: redis.port)
            try await withClient(RedisConfiguration(address: address, connectTimeout: .seconds(5), commandTimeout: .seconds(5))) { client in
                try await client.expect(RedisCommand("ECHO", "x"), .bulk(bytes("x")))
            }
        }
    }

    @Test("commands that come before the first connection wait for it")
    func early() async throws {
        try await withRedisServer { redis in
            try await withClient(.local(redis.port)) { client in
                // No wait for the connection: `withClient` has only just started it.
                async let first = client.call(RedisCommand("ECHO", "1"))
                async let second = client.call(RedisCommand("ECHO", "2"))
                let replies = try await [first, second]
                #expect(replies == [.bulk(bytes("1")), .bulk(bytes("2"))])
                #expect(client.status.connections == 1)
            }
        }
    }

    @Test("before start and after close commands are refused, and close may be repeated")
    func life() async throws {
        try await withRedisServer { redis in
            try await withClient(.local(redis.port)) { client in
                let other = RedisClient(eventLoop: client.eventLoop, configuration: .local(redis.port), logger: Told().logger)
                #expect(await other.outcome("PING") == .failure(.unavailable(wasSent: false)))
                other.start()
                other.start()
                #expect(await other.outcome("PING") == .reply(.simple(bytes("PONG"))))
                #expect(other.status.connections == 1)
                try await other.close().get()
                try await other.close().get()
                #expect(!other.isConnected && other.wasEverConnected)
                #expect(await other.outcome("PING") == .failure(.unavailable(wasSent: false)))
                try await eventually("the socket is closed") { try redis.command("CLIENT", "LIST").text?.split(separator: "\n").count == 2 }
            }
        }
    }

    @Test("close fails what is outstanding, and nothing holds the client afterwards")
    func closing() async throws {
        let server = try FakeServer { connection in
            guard connection.greet() else { return }
            connection.waitForEnd()
        }
        defer { server.stop() }
        weak var weakly: RedisClient?
        try await withClient(.local(server.port)) { client in
            weakly = client
            let collector = Collector()
            try await eventually("connected") { client.isConnected }
            try await client.eventLoop.submit { client.send(RedisCommand("GET", "x"), collector.request(0)) }.get()
            try await client.eventLoop.submit {}.get()
            try await client.close().get()
            #expect(collector.outcomes.map(\.outcome) == [.failure(.unavailable(wasSent: true))])
        }
        try await eventually("the client is gone") { weakly == nil }
    }

    // MARK: Scripts

    @Test("a script runs by its name, also where Redis has not seen it or has forgotten it")
    func script() async throws {
        try await withRedisServer { redis in
            try await withClient(.local(redis.port)) { client in
                let script = RedisScript("redis.call('INCRBY', KEYS[1], ARGV[1]); return {KEYS[1], redis.call('GET', KEYS[1])}")
                for sum in ["5", "10"] {
                    let replies = try await client.run(script, keys: [bytes("n")], arguments: [bytes("5")])
                    #expect(replies == [.array([.bulk(bytes("n")), .bulk(bytes(sum))])])
                }
                #expect(client.status.commands == 3, "one extra round trip, once")
                try redis.command("SCRIPT", "FLUSH")
                let replies = try await client.run(script, keys: [bytes("n")], arguments: [bytes("5")], then: [RedisCommand("GET", "n")])
                #expect(replies == [.array([.bulk(bytes("n")), .bulk(bytes("15"))]), .bulk(bytes("15"))], "carried out once")
            }
        }
    }

    @Test("a script's own error is its reply")
    func scriptError() async throws {
        try await withRedisServer { redis in
            try await withClient(.local(redis.port)) { client in
                let replies = try await client.run(RedisScript("return redis.error_reply('MINE no')"), keys: [])
                #expect(replies[0].errorCode == "MINE")
            }
        }
    }
}

/// Increments until 100, each time from the reply to the one before.
private final class Chain: RedisRequest {
    private let client: RedisClient
    private let continuation: CheckedContinuation<Int64, Never>
    private let command = RedisCommand("INCR", "n")

    init(_ client: RedisClient, _ continuation: CheckedContinuation<Int64, Never>) {
        self.client = client
        self.continuation = continuation
        super.init()
    }

    func next() { client.send(command, self) }

    override func redisCompleted(_ outcome: RedisOutcome) {
        guard case .reply(.integer(let value)) = outcome, value < 100 else {
            if case .reply(.integer(let value)) = outcome { continuation.resume(returning: value) } else { continuation.resume(returning: -1) }
            return
        }
        next()
    }
}
