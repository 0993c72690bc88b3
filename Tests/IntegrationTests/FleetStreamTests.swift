// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import Synchronization
import TestSupport
import Testing

extension FleetTests {
    @Suite("What is open of a session in a fleet")
    struct FleetStreamTests {
        /// A fleet before an upstream that leaves everything open, and what WebSockets' upstreams were told at the end.
        private struct World {
            let fleet: RunningFleet
            let upstream: OpenUpstream
            let closed: Closed
            let redis: RedisServer
            /// Between the last gateway and Redis.
            let relay: TCPRelay
        }

        private final class Closed: Sendable {
            let frames = Mutex<[String: WebSocketPeer.CloseFrame]>([:])
        }

        private func withWorld(_ mode: RevocationMode, _ body: (World) async throws -> Void) async throws {
            let upstream = try OpenUpstream(), closed = Closed()
            let socket = try FakeServer.webSocketEcho { target, frame in closed.frames.withLock { $0[target] = frame } }
            defer {
                upstream.stop()
                socket.stop()
            }
            try await withRedisServer { redis in
                try redis.growOld()
                var setup = GatewaySetup(upstream: upstream.port, redis: redis)
                setup["issuers"] = IdentityProvider.issuers(sessions: "registered")
                let endpoint = "endpoints: [\"127.0.0.1:\(upstream.port)\"], response_timeout: 5m"
                // Who waits for a place does so as long as the test wants.
                setup["upstreams"] =
                    "{legacy: {\(endpoint)}, narrow: {\(endpoint), max_connections: 1, connect_timeout: 5m}, "
                    + "socket: {endpoints: [\"127.0.0.1:\(socket.port)\"]}}"
                setup["routes"] = "[{path: /socket, upstream: socket}, {path: /narrow, upstream: narrow}, {path: /, upstream: legacy}]"
                setup.decide(mode, staleness: "10s")
                try await withFleet(setup, relayTo: redis) { fleet, relay in
                    try await body(World(fleet: fleet, upstream: upstream, closed: closed, redis: redis, relay: relay))
                }
            }
        }

        /// Everything that can be open of one session, on each gateway.
        private final class Everything {
            private let world: World
            private var sockets: [(peer: WebSocketPeer, target: String)] = []
            private var exchanges: [OpenExchange] = []
            /// The upstream has not seen these: they wait for the only connection that it may be given.
            private var waiting: [OpenExchange] = []

            init(_ name: String, token: String, _ world: World) async throws {
                self.world = world
                for (index, gateway) in world.fleet.gateways.enumerated() {
                    let end = "/\(name)-\(index)"
                    let peer = try WebSocketPeer(gateway, token: token, target: "/socket\(end)")
                    try #require(peer.echoes("a"))
                    sockets.append((peer, "/socket\(end)"))
                    for kind in OpenKind.allCases {
                        exchanges.append(try OpenExchange(kind, gateway, token: token, target: "/\(kind)\(end)"))
                    }
                }
                try await eventually("the upstream has everything") { exchanges.allSatisfy { world.upstream.isOpen($0.target) } }
            }

            /// The first of a gateway has the connection; the others wait.
            func ask(_ name: String, token: String, isFirst: Bool) async throws {
                for (index, gateway) in world.fleet.gateways.enumerated() {
                    let before = try Self.confirmed(gateway)
                    let exchange = try OpenExchange(.silent, gateway, token: token, target: "/narrow/\(name)-\(index)")
                    try await eventually("its session has been looked at") { try Self.confirmed(gateway) > before }
                    if isFirst {
                        try await eventually("the upstream has it") { world.upstream.isOpen(exchange.target) }
                        exchanges.append(exchange)
                    } else {
                        waiting.append(exchange)
                    }
                }
            }

            private static func confirmed(_ gateway: RunningGateway) throws -> Double {
                try ["cache", "store"].reduce(0) {
                    try $0 + (gateway.metric("portcullis_session_lookups_total{source=\"\($1)\",answer=\"active\"}") ?? 0)
                }
            }

            /// All of it has ended, and as it should: to be called when no gateway can do anything any more.
            func expectIsCut(_ reasons: String...) async throws {
                for (peer, target) in sockets {
                    let frame = peer.closeFrame()
                    #expect(frame?.code == 1008 && reasons.contains(frame?.reason ?? ""), "the client of \(target): \(String(describing: frame))")
                    try await eventually("the upstream of \(target) is told, too") { world.closed.frames.withLock { $0[target] } != nil }
                    #expect(world.closed.frames.withLock { $0[target] } == frame)
                }
                for exchange in exchanges + waiting { #expect(try exchange.isCut(), "\(exchange.target)") }
                try await eventually("the upstream is left alone") { !exchanges.contains { world.upstream.isOpen($0.target) } }
            }

            /// All of it goes on, and ends well.
            func expectGoesOn() throws {
                for (peer, target) in sockets { #expect(peer.echoes("b"), "\(target)") }
                for exchange in exchanges {
                    #expect(world.upstream.isOpen(exchange.target), "\(exchange.target)")
                    world.upstream.finish(exchange.target)
                    #expect(try exchange.isWhole(), "\(exchange.target)")
                }
            }

            func expectNeverArrived() {
                for exchange in waiting { #expect(!world.upstream.hasSeen(exchange.target), "\(exchange.target)") }
            }
        }

        @Test(
            "has been closed on every gateway when the logout is answered: both ends of WebSockets, streams, uploads and what waits; all else stays",
            arguments: [(RevocationMode.strict, WayOut.logout), (.tracked, .byRefreshToken), (.tracked, .all)])
        func logout(mode: RevocationMode, way: WayOut) async throws {
            try await withWorld(mode) { world in
                let victim = try world.fleet[0].begin("alice"), other = try world.fleet[1].begin(way.endsAll ? "bob" : "alice")
                let kept = try await Everything("other", token: other.access, world)
                let cut = try await Everything("victim", token: victim.access, world)
                // Here the other session has the connection, and the victim's request waits for it.
                try await kept.ask("other", token: other.access, isFirst: true)
                try await cut.ask("victim", token: victim.access, isFirst: false)
                world.relay.delay = .milliseconds(100)
                let status = try way.end(victim, of: "alice", at: world.fleet[1])
                // What has not left a gateway by now is not seen.
                for gateway in world.fleet.gateways.reversed() { try await gateway.process.pause() }
                #expect(200..<300 ~= status)
                try await cut.expectIsCut("session revoked")
                for gateway in world.fleet.gateways { gateway.process.resume() }
                try kept.expectGoesOn()
                #expect(try world.fleet.statuses(victim.access, "/silent/late") == [401, 401, 401])
                cut.expectNeverArrived()
            }
        }

        /// What ends a session by itself.
        enum End: CaseIterable, Sendable {
            /// The end that was registered for it.
            case registered
            /// The time that its user's key may live.
            case key
        }

        @Test("is closed on every gateway when the session ends by time, and all else stays", arguments: RevocationMode.allCases, End.allCases)
        func expiry(mode: RevocationMode, end: End) async throws {
            try await withWorld(mode) { world in
                func register(endsIn seconds: Double) throws {
                    let moment = Date(timeIntervalSinceNow: seconds).ISO8601Format(.init(includingFractionalSeconds: true))
                    let answer = try world.fleet[0].admin("PUT", "/v1/users/alice/sessions/laptop", json: #"{"expires_at":"\#(moment)"}"#)
                    #expect(answer.status == 201)
                }
                try register(endsIn: 3600)
                let other = try world.fleet[1].begin("bob"), token = try IdentityProvider.accessToken("laptop")
                let kept = try await Everything("other", token: other.access, world)
                let cut = try await Everything("victim", token: token, world)
                try await kept.ask("other", token: other.access, isFirst: true)
                try await cut.ask("victim", token: token, isFirst: false)
                switch end {
                // Moved, so that everything is open when it comes.
                case .registered: try register(endsIn: 0.5)
                case .key: #expect(try world.redis.command("PEXPIRE", "portcullis:sessions:{alice}", "500") == .integer(1))
                }
                // Whoever hears first that it is gone from the set does not know why.
                try await cut.expectIsCut("session revoked", "session expired")
                try kept.expectGoesOn()
                #expect(try world.fleet.statuses(token, "/silent/late") == [401, 401, 401])
                cut.expectNeverArrived()
            }
        }
    }
}
