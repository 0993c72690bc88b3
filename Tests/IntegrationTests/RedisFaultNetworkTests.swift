// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport
import Testing

@Suite("A network or a Redis that is slow or silent, seen by clients", .serialized)
struct RedisFaultNetworkTests {
    /// What both gateways together hold of connections to Redis, and a few on their way: two for each event loop would be too many.
    private static let connectionLimit = 20

    private func throughRelay(store: String = "", _ body: (RedisFaultWorld, TCPRelay, RedisServer) async throws -> Void) async throws {
        try await withRedisServer { redis in
            let relay = try TCPRelay(to: redis.port)
            defer { relay.stop() }
            try await RedisFaultWorld.run(port: relay.port, store: store) { try await body($0, relay, redis) }
        }
    }

    /// Nobody waited for long: the command's time is a quarter of a second, and the machine may be busy.
    private func expectPrompt(_ world: RedisFaultWorld, location: SourceLocation = #_sourceLocation) throws {
        for side in world.sides {
            for load in [side.active, side.revoked] {
                let longest = try #require(load.quantile(1, 503, "store_unavailable"), sourceLocation: location)
                #expect(longest < .seconds(2), "\(side.mode)", sourceLocation: location)
            }
        }
    }

    @Test("a network that swallows everything costs each request the command's time at most, no memory, and few attempts to connect")
    func blackhole() async throws {
        try await throughRelay { world, relay, _ in
            let memory = try world.sides.map { try $0.gateway.process.memory }
            let attempts = relay.acceptedConnections, begun = ContinuousClock.now
            relay.isSilent = true
            try await world.expectUnavailable()
            for side in world.sides { try await side.active.more(1000, 503, "store_unavailable") }
            let seconds = Int((ContinuousClock.now - begun).components.seconds) + 1
            // Each connection is tried anew when its connect_timeout of a second is over.
            #expect(relay.acceptedConnections - attempts <= Self.connectionLimit * (seconds + 1))
            for (side, before) in zip(world.sides, memory) {
                let growth = try side.gateway.process.memory - before
                #expect(growth < 64 << 20, "\(side.mode) has grown by \(growth) bytes")
            }
            try expectPrompt(world)
            relay.isSilent = false
            try await world.recovery()
        }
    }

    @Test("replies that come when nobody waits for them any more are given to no other request")
    func late() async throws {
        try await throughRelay { world, relay, _ in
            for _ in 1...3 {
                relay.replies = .held
                try await world.expectUnavailable()
                // All of them at once, while requests of both sessions are under way.
                relay.replies = .passed
                try await world.recovery()
                try await world.expectWell()
            }
        }
    }

    @Test("replies that dribble in are timed out by the whole command's time, however often a byte comes")
    func dribbling() async throws {
        try await throughRelay { world, relay, _ in
            relay.replies = .dribbled(pause: .milliseconds(100))
            try await world.expectUnavailable()
            try expectPrompt(world)
            relay.replies = .passed
            try await world.recovery()
        }
    }

    @Test("a long way to Redis is added to each request that asks it, once, and to no other; nothing queues up")
    func latency() async throws {
        try await throughRelay(store: "command_timeout: 3s") { world, relay, _ in
            relay.delay = .milliseconds(50)
            let strict = world.sides[0], tracked = world.sides[1]
            let failures = strict.active.count(503, "store_unavailable")
            try await strict.active.more(2, 200)
            for load in [strict.active, strict.unchecked, tracked.active] { _ = load.quantile(0.5, 200) }
            try await strict.active.more(30, 200)
            try await tracked.active.more(30, 200)
            let asked = try #require(strict.active.quantile(0.5, 200))
            #expect(asked >= .milliseconds(100) && asked < .seconds(1), "the way there and back: \(asked)")
            let unasked = try #require(strict.unchecked.quantile(0.5, 200)), remembered = try #require(tracked.active.quantile(0.5, 200))
            #expect(unasked < .milliseconds(100) && remembered < .milliseconds(100), "\(unasked) \(remembered)")
            #expect(strict.active.count(503, "store_unavailable") == failures)
            relay.delay = .zero
            try await strict.active.more(2, 200)
        }
    }

    @Test("a Redis that stops for moments shorter than the command's time, as at a fork or an fsync, fails no request")
    func stalls() async throws {
        try await withRedisServer(["--enable-debug-command", "yes"]) { redis in
            try await RedisFaultWorld.run(port: redis.port, store: "command_timeout: 3s", staleness: "10s") { world in
                let operators = try redis.connect()
                let failures = world.sides.map { $0.active.count(503, "store_unavailable") }
                _ = world.sides[0].active.quantile(0.99, 200)
                for _ in 1...5 {
                    try operators("DEBUG", "SLEEP", "0.2")
                    try await world.sides[0].active.more(10, 200)
                }
                for (side, before) in zip(world.sides, failures) { #expect(side.active.count(503, "store_unavailable") == before, "\(side.mode)") }
                let slowest = try #require(world.sides[0].active.quantile(0.99, 200))
                #expect(slowest < .seconds(3))
            }
        }
    }

    @Test("a Redis that sleeps, or is stopped, with its connections open is unavailable, and used again within a second of its return")
    func sleeping() async throws {
        try await withRedisServer(["--enable-debug-command", "yes"]) { redis in
            try await RedisFaultWorld.run(port: redis.port) { world in
                let leaving = try await world.sides[0].gateway.eventuallyLogin("tablet")
                redis.pause()
                try await world.expectUnavailable()
                try world.expectNoLogout(of: leaving)
                redis.resume()
                try await world.recovery()
                async let sleeping: RESPValue = Task.detached { try redis.command("DEBUG", "SLEEP", "6") }.value
                try await world.expectUnavailable()
                #expect(try await sleeping == .text("OK"))
                try await world.recovery()
            }
        }
    }
}
