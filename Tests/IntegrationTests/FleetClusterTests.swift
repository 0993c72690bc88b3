// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport
import Testing

extension FleetTests {
    @Suite("A fleet on a cluster")
    struct FleetClusterTests {
        /// Slots that one resharding moves, besides those of the users.
        private static let share = 100

        private static let excused: Set = [FleetJudge.pass, FleetJudge.unavailable]
        private static let anything = excused.union([FleetJudge.revoked])

        private func withFleet(
            on cluster: ClusterRedis, _ more: String, staleness: String, _ body: (RunningFleet) async throws -> Void
        ) async throws {
            let upstream = try FakeServer.echo()
            defer { upstream.stop() }
            var setup = GatewaySetup(upstream: upstream.port)
            setup["store"] = GatewaySetup.store(cluster, "\(RedisServer.admittingGate.credentials), \(more)")
            try await TestSupport.withFleet(setup.mixed(staleness: staleness)) { fleet in
                try await body(fleet)
                for server in cluster.servers { try server.expectNothingRefused() }
            }
        }

        private static func key(of user: String) -> String { "portcullis:sessions:{\(user)}" }

        @Test("whose slots move under load keeps every logout and every session, and logins and logouts go on")
        func resharding() async throws {
            try await withClusterRedis(RedisServer.admittingGate.options) { cluster in
                try await withFleet(on: cluster, "connect_timeout: 5s, command_timeout: 5s", staleness: "3s") { fleet in
                    try await FleetJudge.withLoad(on: fleet, allowed: Self.excused) { judge, lasting in
                        let load = RequestLoad(ports: fleet.ports, connections: 1, tokens: lasting.map(\.access))
                        try await withLoad(load) {
                            for round in 0..<rounds(1) { try await reshard(cluster, judge, load, lasting, round) }
                        }
                        for kind in ["MOVED", "ASK"] {
                            let isSeen = try cluster.servers.contains {
                                try $0.command("INFO", "errorstats").text?.contains("errorstat_\(kind):") == true
                            }
                            #expect(isSeen, "nobody met \(kind)")
                        }
                    }
                }
            }
        }

        /// One node gets the slots of all users, and then those from which another one's heartbeats have their name.
        private func reshard(
            _ cluster: ClusterRedis, _ judge: FleetJudge, _ load: RequestLoad, _ lasting: [RunningGateway.Login], _ round: Int
        ) async throws {
            let target = cluster.servers[round % 3], fleet = judge.fleet
            let others = ["alice-\(round)", "carol-\(round)"]
            let victims = try await judge.begin(others, at: fleet[round])
            async let during = judge.end(victims[0], at: round)
            for (index, user) in ((0..<lasting.count).map { "bob-\($0)" } + others).enumerated() {
                let slot = try cluster.slot(of: Self.key(of: user))
                guard try cluster.owner(of: slot) !== target else { continue }
                let source = try cluster.beginMove(slot, to: target)
                // Half moved: what is there is answered elsewhere, and what is not there yet has to wait for the end of the move.
                async let login = onThread { try fleet[index].begin(user) }
                if index < lasting.count { try await load.pass([lasting[index].access], after: .now) }
                try cluster.moveKeys(slot, from: source, to: target)
                try cluster.finishMove(slot, to: target)
                let session = try await login
                #expect(try fleet.statuses(session.access) == [200, 200, 200])
                _ = try await judge.end(session, at: index + 1)
                #expect(try fleet.statuses(session.access) == [401, 401, 401])
            }
            try await judge.isOver([victims[0]], since: during, "ended while slots moved, \(round)", allowed: Self.anything)
            let neighbour = cluster.servers[(round + 1) % 3]
            for slot in try cluster.slots(of: neighbour).prefix(Self.share) { try cluster.move(slot, to: target) }
            let ended = try await judge.end(victims[1], at: round + 1)
            try await judge.isOver([victims[1]], since: ended, "ended after slots had moved, \(round)", allowed: Self.anything)
            try await cluster.waitUntilWhole()
        }

        @Test(
            "one of whose primaries dies goes on with its replica: no answered logout is undone, no good session is told that it is over"
        )
        func failover() async throws {
            try await withClusterRedis(hasReplicas: true, RedisServer.admittingGate.options) { cluster in
                try await withFleet(on: cluster, "wait_replicas: 1, command_timeout: 500ms", staleness: "2s") { fleet in
                    // Logins don't wait for the replica: what is lost of them is lost before anything is proved.
                    try await FleetJudge.withLoad(on: fleet, allowed: Self.excused, lasted: cluster.waitUntilReplicated) { judge, _ in
                        var over: [RunningGateway.Login] = []
                        for round in 0..<rounds(1) {
                            let user = "alice-\(round)"
                            let victims = try await judge.begin([user, user, user], at: fleet[round])
                            try await cluster.waitUntilReplicated()
                            let before = try await judge.end(victims[0], at: round)
                            let slot = try cluster.slot(of: Self.key(of: user)), old = try cluster.owner(of: slot)
                            old.kill()
                            async let during = judge.end(victims[1], at: round + 1, within: .seconds(120))
                            try await eventually("the replica takes over", within: .seconds(60)) { try cluster.owner(of: slot) !== old }
                            try await old.restart()
                            let ended = try await during
                            try await cluster.waitUntilWhole()
                            let after = try await judge.end(victims[2], at: round + 2)
                            for (victim, moment) in zip(victims, [before, ended, after]) {
                                try await judge.isOver([victim], since: moment, "failover \(round)", allowed: Self.anything)
                            }
                            over += victims
                            for victim in over { #expect(try !fleet.statuses(victim.access).contains(200), "failover \(round)") }
                        }
                    }
                }
            }
        }
    }
}
