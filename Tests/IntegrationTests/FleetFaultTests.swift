// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import TestSupport
import Testing

extension FleetTests {
    @Suite("A logout while a gateway is at fault")
    struct FleetFaultTests {
        /// What clients may hear while the store is out of a gateway's reach.
        private static let excused: Set = [FleetJudge.pass, FleetJudge.unavailable]

        private struct World {
            let fleet: RunningFleet
            let upstream: ScriptedUpstream
            /// Between the last gateway and Redis.
            let relay: TCPRelay
            /// Of the other gateways.
            let setup: GatewaySetup
        }

        private func withWorld(_ mode: RevocationMode, staleness: String = "2s", _ body: (World) async throws -> Void) async throws {
            let upstream = try ScriptedUpstream { _, _ in .answer }, socket = try FakeServer.webSocketEcho()
            defer {
                upstream.stop()
                socket.stop()
            }
            try await withRedisServer { redis in
                try redis.growOld()
                var setup = GatewaySetup(upstream: upstream.port, redis: redis)
                setup["upstreams"] =
                    "{legacy: {endpoints: [\"127.0.0.1:\(upstream.port)\"]}, socket: {endpoints: [\"127.0.0.1:\(socket.port)\"]}}"
                setup["routes"] = "[{path: /socket, upstream: socket}, {path: /, upstream: legacy}]"
                setup.decide(mode, staleness: staleness)
                try await withFleet(setup, relayTo: redis, timeouts: "connect_timeout: 5s, command_timeout: 1s") { fleet, relay in
                    try await body(World(fleet: fleet, upstream: upstream, relay: relay, setup: setup))
                }
            }
        }

        @Test(
            "is answered when the lease of a stopped gateway has run out; that one forwards nothing of the session when it goes on, even if it is deaf",
            arguments: RevocationMode.allCases)
        func stopped(mode: RevocationMode) async throws {
            try await withWorld(mode) { world in
                let fleet = world.fleet, stopped = fleet[2]
                let victim = try fleet[0].begin("alice"), other = try fleet[0].begin("bob")
                for token in [victim.access, other.access] { #expect(try fleet.statuses(token) == [200, 200, 200]) }
                let socket = try WebSocketPeer(stopped, token: victim.access)
                #expect(socket.echoes("before"))
                let kept = try HTTPConnection(port: stopped.port)
                #expect(try kept.get("/orders", token: victim.access).status == 200)
                try await stopped.process.pause()
                world.relay.isSilent = true
                // All this is at the gateway before the logout, and it cannot look at it until it goes on.
                let fresh = try HTTPConnection(port: stopped.port)
                for connection in [kept, fresh] {
                    connection.socket.write(HTTPConnection.head("GET", "/stopped", [("Authorization", "Bearer \(victim.access)")]))
                }
                socket.send("late")
                let began = ContinuousClock.now
                let status = try await onThread { try fleet[0].call("POST", "/auth/logout", token: victim.access).status }
                stopped.process.resume()
                #expect(status == 204)
                // It has two seconds, and the machine the rest.
                #expect(ContinuousClock.now - began < .seconds(15))
                for connection in [kept, fresh] {
                    let answer = try connection.answer()
                    #expect(["session_revoked", "store_unavailable"].contains(answer.code), "\(answer.start)")
                }
                #expect(socket.closeFrame()?.code == 1008, "not the echo of what was sent late")
                #expect(!world.upstream.requests.contains { $0.target == "/stopped" })
                world.relay.isSilent = false
                world.relay.cut()
                try await eventually("it is as before") { try fleet.statuses(other.access) == [200, 200, 200] }
                let statuses = try fleet.statuses(victim.access)
                #expect(!statuses.contains(200))
            }
        }

        @Test(
            "is answered when the lease of a gateway that is cut off from Redis has run out; that one then lets no session pass until it is back",
            arguments: RevocationMode.allCases)
        func cutOff(mode: RevocationMode) async throws {
            try await withWorld(mode) { world in
                let fleet = world.fleet
                try await FleetJudge.withLoad(on: fleet, allowed: Self.excused) { judge, lasting in
                    for round in 0..<rounds(1) {
                        // Alone in its load, so that the last gateway remembers it wherever it is asked.
                        let victim = try await judge.begin(["alice"], at: fleet[0])[0], other = try fleet[0].begin("carol")
                        try await judge.load.more(20, 200)
                        world.relay.isSilent = true
                        let ended = try await judge.end(victim, at: round % 2)
                        try await judge.isOver([victim], since: ended, "cut off", allowed: Self.excused.union([FleetJudge.revoked]))
                        let refused = try fleet[2].call("POST", "/auth/logout", token: other.access)
                        #expect(refused.status == 503 && refused.code == "store_unavailable" && refused["Set-Cookie"].isEmpty)
                        world.relay.isSilent = false
                        world.relay.cut()
                        try await eventually("it is back, and a logout that was refused has not been one") {
                            let statuses = try fleet.statuses(other.access)
                            #expect(!statuses.contains(401))
                            return statuses == [200, 200, 200]
                        }
                        try await eventually("each of its loops has its connection") {
                            let statuses = try fleet.statuses(victim.access)
                            #expect(!statuses.contains(200))
                            return statuses == [401, 401, 401]
                        }
                    }
                }
            }
        }

        @Test("is answered when the lease of a gateway that was killed has run out, and by the fleet that is left at once")
        func killed() async throws {
            try await withWorld(.tracked) { world in
                let fleet = world.fleet
                let victims = try ["alice", "bob", "carol"].map { try fleet[2].begin($0) }
                for victim in victims { #expect(try fleet.statuses(victim.access) == [200, 200, 200]) }
                fleet[2].process.stop()
                for (index, victim) in victims.prefix(2).enumerated() {
                    let status = try await onThread { try fleet[index].call("POST", "/auth/logout", token: victim.access).status }
                    #expect(status == 204)
                    for gateway in [fleet[0], fleet[1]] { #expect(try gateway.get("/orders", token: victim.access).status == 401) }
                    let edges: [[String: Any]]? = try fleet[0].admin("GET", "/v1/edges").member("edges", as: [[String: Any]].self)
                    #expect(edges?.count == 2)
                }
                try await withGateway(world.setup, sibling: fleet[0]) { successor in
                    let statuses = try victims.map { try successor.get("/orders", token: $0.access).status }
                    #expect(statuses == [401, 401, 200])
                }
            }
        }

        @Test("ends what a gateway that drains still has open, before it is answered")
        func draining() async throws {
            try await withWorld(.tracked, staleness: "10s") { world in
                let fleet = world.fleet
                let victim = try fleet[0].begin("alice"), other = try fleet[0].begin("bob")
                let socket = try WebSocketPeer(fleet[2], token: victim.access), kept = try WebSocketPeer(fleet[2], token: other.access)
                #expect(socket.echoes("a") && kept.echoes("b"))
                fleet[2].process.send(signal: SIGTERM)
                try await eventually("it drains") { try fleet[2].admin("GET", "/readyz").status == 503 }
                world.relay.delay = .milliseconds(200)
                let status = try await onThread { try fleet[0].call("POST", "/auth/logout", token: victim.access).status }
                try await fleet[2].process.pause()
                #expect(status == 204)
                let frame = socket.closeFrame()
                #expect(frame?.code == 1008 && frame?.reason == "session revoked")
                fleet[2].process.resume()
                #expect(kept.echoes("c"))
            }
        }

        @Test("is kept by a gateway that has just started, whenever that was", arguments: RevocationMode.allCases)
        func starting(mode: RevocationMode) async throws {
            try await withWorld(mode, staleness: "5s") { world in
                let fleet = world.fleet
                var setup = world.setup
                setup["store"] = GatewaySetup.store(port: world.relay.port, "connect_timeout: 5s, command_timeout: 5s")
                world.relay.delay = .milliseconds(20)
                for _ in 0..<rounds(1) {
                    let starting = try await RunningGateway.start(setup, sibling: fleet[0], isReady: nil)
                    defer { starting.stop() }
                    // Requests from before its listener is there until it has been in the fleet for a while.
                    let load = RequestLoad(ports: [starting.port], connections: 2)
                    try await withLoad(load) {
                        var afterStart = 0, number = 0
                        while afterStart < 3 {
                            try #require(starting.process.isRunning)
                            let victim = try fleet[number].begin("alice")
                            load.begin([victim.access])
                            if afterStart > 0 { try await load.pass([victim.access], after: .now) }
                            let status = try await onThread { [number] in
                                try fleet[number + 1].call("POST", "/auth/logout", token: victim.access).status
                            }
                            let ended = ContinuousClock.now
                            #expect(status == 204)
                            if (try? starting.admin("GET", "/readyz").status) == 200 {
                                #expect(try starting.get("/orders", token: victim.access).status == 401)
                                try await load.answers([victim.access], after: ended)
                                afterStart += 1
                            }
                            load.end([victim.access])
                            #expect(!load.story(victim.access).passed(after: ended), "logout \(number)")
                            number += 1
                        }
                    }
                }
            }
        }
    }
}
