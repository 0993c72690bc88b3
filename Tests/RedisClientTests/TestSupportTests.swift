// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import TestSupport
import Testing

@Suite("The tests' own Redis")
struct TestSupportTests {
    @Test("answers, forgets at a restart what was not durable, and is gone after stop")
    func lifecycle() async throws {
        let redis = try await RedisServer.start()
        #expect(try redis.command("SET", "a", "1") == .text("OK"))
        try await redis.restart()
        #expect(try redis.command("GET", "a") == .null)
        redis.stop()
        #expect(throws: (any Error).self) { try redis.command("PING") }
        #expect(!FileManager.default.fileExists(atPath: redis.folder))
    }

    @Test("keeps what it was told across a crash when it is durable")
    func durable() async throws {
        try await withRedisServer(durable: true) { redis in
            try redis.command("SADD", "set", "x")
            try await redis.restart()
            #expect(try redis.command("SISMEMBER", "set", "x") == .integer(1))
        }
    }
}
