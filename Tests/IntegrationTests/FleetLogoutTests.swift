// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport
import Testing

extension FleetTests {
    @Suite("A logout in a fleet under load")
    struct FleetLogoutTests {
        /// Load of eight lasting sessions, and of whatever a test adds, on three gateways that obey an identity provider, too.
        private func withLoadedFleet(
            _ mode: RevocationMode, staleness: String = "10s", _ body: (FleetJudge, RedisServer, TCPRelay) async throws -> Void
        ) async throws {
            let upstream = try FakeServer.echo()
            defer { upstream.stop() }
            try await withRedisServer { redis in
                try redis.growOld()
                var setup = GatewaySetup(upstream: upstream.port, redis: redis)
                setup["issuers"] = IdentityProvider.issuers(sessions: "registered")
                setup.decide(mode, staleness: staleness)
                try await withFleet(setup, relayTo: redis) { fleet, relay in
                    try await FleetJudge.withLoad(on: fleet) { judge, _ in
                        try await body(judge, redis, relay)
                        #expect(Set(judge.load.counts.keys) == [FleetJudge.pass, FleetJudge.revoked], "\(judge.load.counts)")
                    }
                }
            }
        }

        private struct Ended: Sendable {
            let status: Int
            let at: ContinuousClock.Instant
        }

        @Test(
            "has ended the session on every gateway when it is answered, whichever way and gateway it took, and no other session",
            arguments: RevocationMode.allCases)
        func logout(mode: RevocationMode) async throws {
            try await withLoadedFleet(mode) { judge, _, relay in
                let total = rounds(20)
                // Three at a time, each through another gateway: fences that meet are told and confirmed together.
                for first in stride(from: 0, to: total, by: 3) {
                    let numbers = Array(first..<min(first + 3, total))
                    let users = numbers.map { "alice-\($0)" }
                    let ways = numbers.map { WayOut.allCases[$0 % WayOut.allCases.count] }
                    let victims = try await judge.begin(users, at: judge.fleet[first])
                    let others = try await judge.begin(users, at: judge.fleet[first + 1])
                    let told = try zip(ways, victims).enumerated().map { try $1.0.logoutToken($1.1.session, of: users[$0]) }
                    relay.delay = .milliseconds(20)
                    let ended = try await withThrowingTaskGroup(of: (Int, Ended).self) { group in
                        for (index, number) in numbers.enumerated() {
                            let (way, victim, user, token) = (ways[index], victims[index], users[index], told[index])
                            let gateway = judge.fleet[number]
                            group.addTask {
                                try await onThread {
                                    let status = try way.end(victim, of: user, at: gateway, token)
                                    return (index, Ended(status: status, at: .now))
                                }
                            }
                        }
                        return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
                    }
                    for (index, way) in ways.enumerated() {
                        let answer = try #require(ended[index])
                        #expect(200..<300 ~= answer.status, "\(way)")
                        try await judge.isOver(
                            way.endsAll ? [victims[index], others[index]] : [victims[index]], since: answer.at, "\(way), logout \(numbers[index])")
                        relay.delay = .zero
                        guard !way.endsAll else { continue }
                        try await judge.load.pass([others[index].access], after: answer.at)
                        judge.load.end([others[index].access])
                        judge.wereAlwaysGood([others[index]], "the user's other session, \(way)")
                    }
                }
            }
        }

        @Test(
            "is also what another program does to the user's set: every gateway hears of SREM and DEL, however long it may remember answers",
            arguments: RevocationMode.allCases)
        func otherPrograms(mode: RevocationMode) async throws {
            // Far longer than the test waits: what takes effect does so because it was pushed.
            try await withLoadedFleet(mode, staleness: "5m") { judge, redis, _ in
                for number in 0..<rounds(6) {
                    let user = "alice-\(number)"
                    let logins = try await judge.begin([user, user], at: judge.fleet[number])
                    let removed = number % 2 == 0 ? Array(logins.prefix(1)) : logins
                    if number % 2 == 0 {
                        #expect(try redis.command("SREM", "portcullis:sessions:{\(user)}", logins[0].session) == .integer(1))
                    } else {
                        #expect(try redis.command("DEL", "portcullis:sessions:{\(user)}") == .integer(1))
                    }
                    let at = ContinuousClock.now
                    for login in removed {
                        // And each of its event loops: one is as likely as another to be asked.
                        try await eventually("every gateway refuses it", within: .seconds(20)) {
                            try (0..<8).allSatisfy { _ in try judge.fleet.statuses(login.access).allSatisfy { $0 == 401 } }
                        }
                    }
                    let tokens = logins.map(\.access)
                    // And for good: nobody remembers it anew.
                    try await judge.isOver(removed, since: .now, "removed by another program")
                    if removed.count == 1 {
                        try await judge.load.pass([tokens[1]], after: at)
                        judge.wereAlwaysGood([logins[1]], "the user's other session")
                    }
                    judge.load.end(tokens)
                }
            }
        }
    }
}
