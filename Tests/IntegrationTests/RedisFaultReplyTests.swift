// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import TestSupport
import Testing

@Suite("What Redis says in place of an answer, seen by clients", .serialized)
struct RedisFaultReplyTests {
    /// Something that makes a real Redis refuse.
    private struct Refusal: Sendable {
        let code: String
        let begin: @Sendable (RedisServer) async throws -> Void
        let end: @Sendable (RedisServer) async throws -> Void
    }

    private static let options = [
        "--enable-debug-command", "yes", "--loading-process-events-interval-bytes", "1024", "--busy-reply-threshold", "20",
        "--dbfilename", "occupied", "--save", "3600 1",
    ]

    /// Whatever is asked, or whatever writes: then the heartbeat cannot be renewed, and nobody knows any more who is logged in.
    private static let refusals = [
        Refusal(
            code: "LOADING",
            begin: { redis in
                let operators = try redis.connect()
                // For half a minute, if nobody ends it.
                for number in 0..<6000 { try operators("SET", "key-\(number)", "value") }
                try operators("CONFIG", "SET", "key-load-delay", "5000")
                Thread.detachNewThread { _ = try? redis.command("DEBUG", "RELOAD") }
                try await eventually("it is loading") { try redis.command("GET", "x").isError("LOADING") }
            },
            end: { redis in
                try redis.command("CONFIG", "SET", "key-load-delay", "0")
                try await eventually("it has loaded") { try !redis.command("GET", "x").isError("LOADING") }
            }),
        Refusal(
            code: "BUSY",
            begin: { redis in
                Thread.detachNewThread { _ = try? redis.command("EVAL", "while true do end", "0") }
                try await eventually("it is busy") { try redis.command("GET", "x").isError("BUSY") }
            },
            end: { redis in
                try await eventually("it is not busy") {
                    try redis.command("SCRIPT", "KILL")
                    return try !redis.command("GET", "x").isError("BUSY")
                }
            }),
        Refusal(
            code: "READONLY", begin: { try $0.command("REPLICAOF", "127.0.0.1", "1") }, end: { try $0.command("REPLICAOF", "NO", "ONE") }),
        Refusal(
            code: "NOREPLICAS", begin: { try $0.command("CONFIG", "SET", "min-replicas-to-write", "1") },
            end: { try $0.command("CONFIG", "SET", "min-replicas-to-write", "0") }),
        Refusal(
            code: "MISCONF",
            begin: { redis in
                // As with a full disk: the snapshot cannot be put into its place.
                try? FileManager.default.removeItem(atPath: "\(redis.folder)/occupied")
                try FileManager.default.createDirectory(atPath: "\(redis.folder)/occupied", withIntermediateDirectories: true)
                try redis.command("BGSAVE")
                try await eventually("it refuses writes") { try redis.command("SET", "x", "y").isError("MISCONF") }
            },
            end: { redis in
                try FileManager.default.removeItem(atPath: "\(redis.folder)/occupied")
                try redis.command("BGSAVE")
                try await eventually("it takes writes") { try redis.command("SET", "x", "y") == .text("OK") }
            }),
    ]

    @Test("a Redis that refuses means 503 for whoever is logged in and whoever is not, and no logout is answered as one; then all is as before")
    func refused() async throws {
        try await withRedisServer(Self.options) { redis in
            try await RedisFaultWorld.run(port: redis.port) { world in
                for refusal in Self.refusals {
                    do { try await refuse(refusal, redis, world) } catch { throw NotInTime(description: "\(refusal.code): \(error)") }
                }
            }
        }
    }

    private func refuse(_ refusal: Refusal, _ redis: RedisServer, _ world: RedisFaultWorld) async throws {
        let leaving = try await world.sides[0].gateway.eventuallyLogin("tablet")
        try await refusal.begin(redis)
        try await world.expectUnavailable()
        try world.expectNoLogout(of: leaving)
        try await refusal.end(redis)
        try await world.recovery()
        let gateway = world.sides[1].gateway
        try await eventually("the logout is taken") { try gateway.call("POST", "/auth/logout", token: leaving.access).status == 204 }
        for side in world.sides {
            try await eventually("\(side.mode) says so") {
                let answer = try side.gateway.get("/", token: leaving.access)
                #expect(answer.status != 200, "\(refusal.code) \(side.mode)")
                return answer.code == "session_revoked"
            }
        }
    }

    @Test("a full Redis lets everybody on who is logged in, and takes logouts; a login is refused as our fault")
    func full() async throws {
        try await withRedisServer { redis in
            // A lease that is lost while Redis is full is not had again before it is not.
            try await RedisFaultWorld.run(port: redis.port, store: "command_timeout: 3s", staleness: "3s") { world in
                let leaving = try await world.sides[0].gateway.eventuallyLogin("tablet")
                try redis.command("CONFIG", "SET", "maxmemory", "1")
                for side in world.sides {
                    let login = try side.gateway.call("POST", "/auth/login", json: #"{"username":"bob","password":"password of bob"}"#)
                    #expect(login.status == 503 && login.code == "store_unavailable" && login["Set-Cookie"].isEmpty)
                }
                // For longer than an answer is remembered.
                for side in world.sides { try await side.active.more(1500, 200) }
                try await eventually("logged out") { try world.sides[1].gateway.call("POST", "/auth/logout", token: leaving.access).status == 204 }
                for side in world.sides { #expect(try side.gateway.get("/", token: leaving.access).code == "session_revoked") }
                try redis.command("CONFIG", "SET", "maxmemory", "0")
            }
        }
    }

    @Test("only 1 and 0 answer the question for a session: whatever else is said in their place is 503, and the real 0 is 401")
    func odd() async throws {
        try await withRedisServer { redis in
            let relay = try RedisRelay(to: redis.port)
            defer { relay.stop() }
            // One loop, so that a true answer tells that its connection is there for the next reply.
            try await RedisFaultWorld.run(port: relay.port, workers: 1) { world in
                for reply in ["-MOVED 1 127.0.0.1:1\r\n", "-ASK 1 ?:1\r\n", "$-1\r\n", "*-1\r\n", "$1\r\n1\r\n", "+OK\r\n", ":2\r\n", "*1\r\n:1\r\n"]
                {
                    // One that no gateway remembers.
                    let fresh = try await world.sides[0].gateway.eventuallyLogin("tablet")
                    // Counted from before: the answer to a request of the load may be what closes the connection.
                    let before = relay.answered
                    relay.answer { $0.first == "SISMEMBER" ? reply : nil }
                    for side in world.sides {
                        let refused = try side.gateway.get("/", token: fresh.access)
                        #expect(refused.status == 503 && refused.code == "store_unavailable", "\(side.mode) \(reply) \(refused.start)")
                        #expect(refused["Retry-After"].count == 1)
                    }
                    #expect(relay.answered >= before + 2, "that was why")
                    relay.answer(nil)
                    try redis.command("SREM", "portcullis:sessions:{alice}", fresh.session)
                    for side in world.sides {
                        try await eventually("\(side.mode) says so") { try side.gateway.get("/", token: fresh.access).code == "session_revoked" }
                    }
                }
            }
        }
    }

    @Test("replies that are garbled on their way let nobody in, end no gateway, and are over when the network is well again")
    func garbled() async throws {
        try await withRedisServer { redis in
            let relay = try TCPRelay(to: redis.port)
            defer { relay.stop() }
            // One loop: an answer that came whole is one, whatever follows it, and each loop's connection has such a last one.
            try await RedisFaultWorld.run(port: relay.port, workers: 1) { world in
                let ways: [@Sendable ([UInt8]) -> [UInt8]] = [
                    { $0.map { ~$0 } }, { $0.dropLast() }, { $0 + Array("+1\r\n".utf8) }, { Array("%".utf8) + $0.dropFirst() },
                ]
                for way in ways {
                    relay.replies = .altered(way)
                    try await world.expectUnavailable()
                    relay.replies = .passed
                    try await world.recovery()
                }
            }
        }
    }
}
