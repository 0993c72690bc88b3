// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import TestSupport
import Testing

@testable import RedisClient

@Suite("What is told of an outage")
struct OutagesTests {
    private let outages = Outages()
    private let here = RedisConfiguration.Address.loopback(1), there = RedisConfiguration.Address.loopback(2)
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    @Test("a reason is told once for all clients of an address, and once for another address")
    func once() {
        #expect(outages.met("refused", at: here, isNew: true, now: start))
        #expect(!outages.met("refused", at: here, isNew: true, now: start))
        #expect(!outages.met("refused", at: here, isNew: false, now: start))
        #expect(outages.met("closed", at: here, isNew: false, now: start))
        #expect(outages.met("refused", at: there, isNew: true, now: start))
    }

    @Test("it is told again when nobody has met it for a while, however long it had gone on before")
    func again() {
        var now = start
        #expect(outages.met("late", at: here, isNew: true, now: now))
        for _ in 1...100 {
            now = now + Outages.silence - .milliseconds(1)
            #expect(!outages.met("late", at: here, isNew: false, now: now))
        }
        #expect(outages.met("late", at: here, isNew: false, now: now + Outages.silence))
    }

    @Test("that it is over is told once, when the last client is back; who comes for the first time is told apart")
    func over() {
        #expect(outages.over(at: here, wasAway: false, isConnected: true) == .first)
        #expect(outages.over(at: here, wasAway: false, isConnected: true) == .none)
        for _ in 1...2 { _ = outages.met("refused", at: here, isNew: true, now: start) }
        #expect(outages.over(at: here, wasAway: true, isConnected: true) == .none)
        #expect(outages.over(at: here, wasAway: true, isConnected: true) == .again)
        // One that is late for the same thing tells nothing, and neither does its return.
        #expect(!outages.met("refused", at: here, isNew: true, now: start))
        #expect(outages.over(at: here, wasAway: true, isConnected: true) == .none)
    }

    @Test("who is closed for good is not waited for")
    func closed() {
        for _ in 1...2 { _ = outages.met("refused", at: here, isNew: true, now: start) }
        #expect(outages.over(at: here, wasAway: true, isConnected: false) == .none)
        #expect(outages.over(at: here, wasAway: true, isConnected: true) == .again)
    }

    @Test("a peer that makes up ever new reasons does not fill the log")
    func bounded() {
        let told = (1...1000).count { outages.met("AUTH was refused: E\($0)", at: here, isNew: false, now: start) }
        #expect(told == Outages.reasonLimit)
    }

    @Test("several clients of one configuration tell one story")
    func together() async throws {
        try await withRedisServer { redis in
            let told = Told()
            let configuration = RedisConfiguration.local(redis.port)
            try await withClient(configuration, told: told) { first in
                try await withClient(configuration, told: told) { second in
                    try await eventually("connected") { first.isConnected && second.isConnected }
                    redis.kill()
                    try await eventually("both have tried again, and again") {
                        first.status.connections == 1 && !first.isConnected && !second.isConnected
                            && told.warnings.contains { $0.contains("cannot connect") }
                    }
                    try await redis.restart()
                    try await eventually("connected again") { first.isConnected && second.isConnected }
                    let refused = told.warnings.filter { $0.contains("cannot connect: Connection refused") }
                    #expect(refused.count == 1, "\(told.warnings)")
                }
            }
        }
    }
}
