// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import TestSupport
import Testing

@testable import RedisSessions

@Suite("What is open is asked for again")
struct RecheckTests {
    @Test("by the thousand while Redis is silent: one after the other, and all are told when it is back")
    func many() async throws {
        try await withRedisServer { redis in
            try await StoreWorld.run(on: redis, staleness: .seconds(60), commandTimeout: .milliseconds(500)) { world in
                let count = 5000
                try await world.withOpen((0..<count).map { ("s\($0)", UserID(name: "user-\($0)"), .registered) }) { open in
                    redis.pause()
                    try await world.onLoop { $0.forgetEverything() }
                    // Those that wait for an answer have none, and all others fail with them.
                    #expect(try await world.ask("s0") == .unavailable)
                    try await eventually("it is given up") { !world.store.health.isUp }
                    #expect(open.endings.isEmpty, "nobody has said that they ended")
                    redis.resume()
                    try await eventually("all are told", within: .seconds(30)) { open.endings.count == count }
                    #expect(open.endings.values.allSatisfy { $0.allSatisfy { $0 == .revoked } })
                }
            }
        }
    }

    @Test("what can have no answer, as its user's key is broken, ends alone, and keeps nobody's lease")
    func broken() async throws {
        try await withRedisServer { redis in
            try await StoreWorld.run(on: redis, staleness: .seconds(10)) { world in
                let bob = UserID(name: "bob")
                try await world.login("s1", of: bob, at: systemTime())
                try await world.withOpen([("r1", StoreWorld.user, .revocable), ("s1", bob, .registered)]) { open in
                    try redis.command("SET", "\(StoreWorld.prefix)revoked_before:{alice}", "x")
                    let begun = ContinuousClock.now
                    try redis.command("CLIENT", "KILL", "TYPE", "pubsub")
                    try await eventually("it has ended") { open.endings["r1"] != nil }
                    #expect(open.endings["r1"]?.first == .unconfirmed)
                    // Longer than the lease that was there before.
                    try await eventually("the others go on", within: .seconds(40)) {
                        try await world.ask("s1", of: bob) == .active && ContinuousClock.now - begun > .seconds(11)
                    }
                    #expect(open.endings["s1"] == nil)
                }
            }
        }
    }
}
