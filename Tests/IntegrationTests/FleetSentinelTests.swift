// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport
import Testing

extension FleetTests {
    /// With one replica, and logouts that it has to have: whoever becomes the primary has every logout that was answered. With two replicas one of
    /// them would not be enough, as the Sentinels may promote the other.
    @Suite("A fleet whose primary fails over")
    struct FleetSentinelTests {
        private static let excused: Set = [FleetJudge.pass, FleetJudge.unavailable]

        @Test(
            "by order and by death, under load: no logout that was answered is undone, and no session that is good is told that it is over")
        func failover() async throws {
            let upstream = try FakeServer.echo()
            defer { upstream.stop() }
            try await withSentinelRedis(replicas: 1, RedisServer.admittingGate.options) { redis in
                var setup = GatewaySetup(upstream: upstream.port)
                setup["store"] = GatewaySetup.store(redis, "\(RedisServer.admittingGate.credentials), wait_replicas: 1, command_timeout: 500ms")
                try await withFleet(setup.mixed(staleness: "2s")) { fleet in
                    // Logins don't wait for the replica: what is lost of them is lost before anything is proved.
                    try await FleetJudge.withLoad(on: fleet, allowed: Self.excused, lasted: redis.waitUntilWhole) { judge, lasting in
                        var over = [try await withoutReplica(redis, judge)]
                        for round in 0..<rounds(2) {
                            over += try await fail(redis, judge, lasting, round)
                            for victim in over.suffix(9) { #expect(try !fleet.statuses(victim.access).contains(200), "round \(round)") }
                        }
                        for victim in over { #expect(try !fleet.statuses(victim.access).contains(200)) }
                        for server in redis.servers { try server.expectNothingRefused() }
                    }
                }
            }
        }

        /// A logout that the replica does not get is not answered as one; when it is there again, the same logout is. Returns the session.
        private func withoutReplica(_ redis: SentinelRedis, _ judge: FleetJudge) async throws -> RunningGateway.Login {
            let victim = try await judge.begin(["erin"], at: judge.fleet[0])[0]
            let primary = try redis.primary()
            guard let replica = redis.servers.first(where: { $0 !== primary }) else { throw NotInTime(description: "there is no replica") }
            replica.pause()
            let refused = try await onThread { [gateway = judge.fleet[1]] in try gateway.call("POST", "/auth/logout", token: victim.access) }
            #expect(refused.status == 503 && refused.code == "store_unavailable" && refused["Set-Cookie"].isEmpty)
            replica.resume()
            let ended = try await judge.end(victim, at: 2)
            try await judge.isOver([victim], since: ended, "ended with its replica", allowed: Self.excused.union([FleetJudge.revoked]))
            return victim
        }

        /// One failover, with a logout before it, one that begins with it, and one after it. Returns the sessions, all ended.
        private func fail(
            _ redis: SentinelRedis, _ judge: FleetJudge, _ lasting: [RunningGateway.Login], _ round: Int
        ) async throws -> [RunningGateway.Login] {
            let allowed = Self.excused.union([FleetJudge.revoked])
            let victims = try await judge.begin(["alice-\(round)", "carol-\(round)", "dora-\(round)"], at: judge.fleet[round])
            try await redis.waitUntilWhole()
            let before = try await judge.end(victims[0], at: round)
            guard let old = try redis.primary() else { throw NotInTime(description: "there is no primary") }
            if round % 2 == 0 { try await redis.failOver(askedOf: round % 3) } else { old.kill() }
            async let during = judge.end(victims[1], at: round + 1, within: .seconds(120))
            let new = try await redis.waitForFailover(from: old)
            // As a replica at once: the Sentinels would take ten seconds to tell it.
            if round % 2 == 1 { try await old.restart(asReplicaOf: new) }
            let ended = try await during
            try await redis.waitUntilWhole()
            try await judge.isOver([victims[0]], since: before, "ended before failover \(round)", allowed: allowed)
            try await judge.isOver([victims[1]], since: ended, "ended during failover \(round)", allowed: allowed)
            let after = try await judge.end(victims[2], at: round + 2)
            try await judge.isOver([victims[2]], since: after, "ended after failover \(round)", allowed: allowed)
            return victims
        }
    }
}
