// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport
import Testing

extension FleetTests {
    @Suite("A fleet whose Redis is at fault")
    struct FleetStoreFaultTests {
        private static let excused: Set = [FleetJudge.pass, FleetJudge.unavailable]

        private func withFleetOfThree(
            durable: Bool = false, staleness: String, _ body: (RunningFleet, RedisServer) async throws -> Void
        ) async throws {
            let upstream = try FakeServer.echo()
            defer { upstream.stop() }
            try await withRedisServer(durable: durable) { redis in
                try redis.growOld()
                let setup = GatewaySetup(upstream: upstream.port, redis: redis)
                try await withFleet(setup.mixed(staleness: staleness)) { try await body($0, redis) }
            }
        }

        @Test("FLUSHALL under load logs everybody out, at every gateway and at once, and is nobody's fault")
        func flushed() async throws {
            // Longer than the test waits: what takes effect does so because it was pushed.
            try await withFleetOfThree(staleness: "1m") { fleet, redis in
                let tokens = try (0..<8).map { try fleet[$0].begin("alice-\($0)").access }
                let load = RequestLoad(ports: fleet.ports, connections: 2, tokens: tokens)
                try await withLoad(load) {
                    try await load.pass(tokens, after: .now)
                    #expect(try redis.command("FLUSHALL") == .text("OK"))
                    try await eventually("all are refused", within: .seconds(20)) {
                        try tokens.allSatisfy { try fleet.statuses($0).allSatisfy { $0 == 401 } }
                    }
                    let refused = ContinuousClock.now
                    try await load.answers(tokens, after: refused)
                    for token in tokens { #expect(!load.story(token).passed(after: refused)) }
                    #expect(Set(load.counts.keys) == [FleetJudge.pass, FleetJudge.revoked], "\(load.counts)")
                    let again = try fleet[0].begin("alice-0").access
                    #expect(try fleet.statuses(again) == [200, 200, 200])
                }
            }
        }

        @Test("connections that Redis closes, those that hear of changes among them, cost no logout its effect and no session its life")
        func disconnected() async throws {
            try await withFleetOfThree(staleness: "2s") { fleet, redis in
                try await FleetJudge.withLoad(on: fleet, allowed: Self.excused) { judge, _ in
                    for round in 0..<rounds(4) {
                        let victims = try await judge.begin(["alice", "alice"], at: fleet[round])
                        let kinds = [["pubsub"], ["normal"], ["pubsub", "normal"]][round % 3]
                        for kind in kinds { try redis.command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes") }
                        let ended = try await judge.end(victims[0], at: round)
                        try await judge.isOver([victims[0]], since: ended, "\(kinds)", allowed: Self.excused.union([FleetJudge.revoked]))
                        try await judge.load.pass([victims[1].access], after: ended)
                        judge.load.end([victims[1].access])
                        judge.wereAlwaysGood([victims[1]], "\(kinds)", allowed: Self.excused)
                    }
                }
            }
        }

        @Test("Redis is killed again and again: no logout that was answered is undone, and no session that is good is told that it is over")
        func killed() async throws {
            try await withFleetOfThree(durable: true, staleness: "1s") { fleet, redis in
                try await FleetJudge.withLoad(on: fleet, allowed: Self.excused) { judge, _ in
                    var over: [RunningGateway.Login] = []
                    for round in 0..<rounds(3) {
                        let victims = try await judge.begin(["alice-\(round)", "carol-\(round)"], at: fleet[round])
                        // One is ended before, the other while Redis is away.
                        let before = try await judge.end(victims[0], at: round)
                        redis.kill()
                        try await judge.load.more(10, 503, "store_unavailable")
                        async let during = judge.end(victims[1], at: round + 1)
                        try await redis.restart()
                        let ended = try await during
                        let allowed = Self.excused.union([FleetJudge.revoked])
                        try await judge.isOver([victims[0]], since: before, "ended before the kill \(round)", allowed: allowed)
                        try await judge.isOver([victims[1]], since: ended, "ended during the kill \(round)", allowed: allowed)
                        over += victims
                        for victim in over.suffix(6) { #expect(try !fleet.statuses(victim.access).contains(200), "round \(round)") }
                    }
                    for victim in over { #expect(try !fleet.statuses(victim.access).contains(200)) }
                }
            }
        }
    }
}
