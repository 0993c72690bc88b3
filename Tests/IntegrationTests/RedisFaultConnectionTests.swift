// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import TestSupport
import Testing

@Suite("Connections that Redis ends or does not take, seen by clients", .serialized)
struct RedisFaultConnectionTests {
    @Test("a Redis that closes idle connections fails no request, whether it comes just before, just after, or while another connection is made")
    func idle() async throws {
        let upstream = try FakeServer.echo()
        defer { upstream.stop() }
        try await withRedisServer { redis in
            try await withGateway(GatewaySetup(upstream: upstream.port, redis: redis)) { gateway in
                let login = try gateway.login()
                let operators = try redis.connect()
                try operators("CONFIG", "SET", "timeout", "1")
                func clients() throws -> Set<String> {
                    let lines = try operators("CLIENT", "LIST", "TYPE", "normal").text?.split(separator: "\n") ?? []
                    return Set(lines.compactMap { $0.split(separator: " ").first.map(String.init) })
                }
                for _ in 1...4 {
                    let before = try clients()
                    try await eventually("some have been closed") { try !before.isSubset(of: clients()) }
                    // Each on a connection of its own, so on every event loop; and one that the control plane answers.
                    for _ in 1...6 { #expect(try gateway.get("/orders", token: login.access).status == 200) }
                    #expect(try gateway.get("/auth/session", token: login.access).status == 200)
                }
            }
        }
    }

    @Test("a connection that Redis closes in the moment in which a request comes fails it not, though its question had not left")
    func crossing() async throws {
        let upstream = try FakeServer.echo()
        defer { upstream.stop() }
        try await withRedisServer { redis in
            var setup = GatewaySetup(upstream: upstream.port, redis: redis)
            setup["workers"] = "1"
            try await withGateway(setup) { gateway in
                let login = try gateway.login()
                let client = try HTTPConnection(port: gateway.port)
                for _ in 1...3 {
                    // One that was closed sooner is not replaced at once.
                    try await eventually("its connections have lasted for a while") {
                        let lines = try redis.command("CLIENT", "LIST", "TYPE", "normal").text?.split(separator: "\n") ?? []
                        let ages = lines.filter { !$0.contains("cmd=client") }.flatMap { $0.split(separator: " ") }.filter { $0.hasPrefix("age=") }
                        return !ages.isEmpty && ages.allSatisfy { Int($0.dropFirst(4)) ?? 0 >= 2 }
                    }
                    #expect(try client.call("GET", "/orders", token: login.access).status == 200)
                    // It finds both at once: the request, which came first, and the end of the connection.
                    try await gateway.process.pause()
                    client.socket.write(HTTPConnection.head("GET", "/orders", [("Authorization", "Bearer \(login.access)")]))
                    try redis.command("CLIENT", "KILL", "TYPE", "normal")
                    gateway.process.resume()
                    #expect(try client.answer().status == 200)
                }
            }
        }
    }

    @Test("a Redis that takes no more clients means 503 without a busy loop, and is used again when there is room")
    func full() async throws {
        try await withRedisServer { redis in
            try await RedisFaultWorld.run(port: redis.port) { world in
                let operators = try redis.connect()
                try operators("CONFIG", "SET", "maxclients", "1")
                for type in ["normal", "pubsub"] { try operators("CLIENT", "KILL", "TYPE", type) }
                let begun = ContinuousClock.now
                try await world.expectUnavailable()
                for side in world.sides { try await side.active.more(300, 503, "store_unavailable") }
                let time = ContinuousClock.now - begun
                let statistics = try operators("INFO", "stats").text?.split(whereSeparator: \.isNewline) ?? []
                let rejected = statistics.first { $0.hasPrefix("rejected_connections:") }.flatMap { Int($0.drop { $0 != ":" }.dropFirst()) } ?? 0
                // Of each gateway two loops, the control plane, the fleet's two: each at most every quarter of a second, and a little sooner at first.
                #expect(rejected > 0 && rejected <= 10 * (4 * Int(time.components.seconds + 1) + 6), "\(rejected) in \(time)")
                try operators("CONFIG", "SET", "maxclients", "1000")
                try await world.recovery()
            }
        }
    }

    @Test("a name that leads to another server: who is connected stays, who connects goes there, and all are there when the old one ends")
    func elsewhere() async throws {
        try await withRedisServer(["--repl-diskless-sync-delay", "0"]) { old in
            try await withRedisServer { new in
                let relay = try TCPRelay(to: old.port)
                defer { relay.stop() }
                // One that is too slow for its connection goes to the new one before it is told to.
                try await RedisFaultWorld.run(port: relay.port, store: "command_timeout: 1s") { world in
                    try new.command("REPLICAOF", "127.0.0.1", "\(old.port)")
                    try await eventually("it has everything") { try new.command("EXISTS", "portcullis:sessions:{alice}") == .integer(1) }
                    try new.command("REPLICAOF", "NO", "ONE")
                    relay.target = new.port
                    try await world.expectWell()
                    let clients = try #require(try new.command("CLIENT", "LIST").text)
                    #expect(!clients.contains("cmd=sismember"), "nobody has gone there yet")
                    // Only what asks and answers: what listens stays with the old one.
                    try old.command("CLIENT", "KILL", "TYPE", "normal")
                    try await world.recovery()
                    try await world.expectWell()
                    old.kill()
                    try await world.recovery()
                    try await world.expectWell()
                    let gateway = world.sides[0].gateway
                    try await eventually("a logout is taken there") {
                        try gateway.call("POST", "/auth/logout", token: world.revoked.access).status == 204
                    }
                }
            }
        }
    }

    @Test("a changed password is not noticed while connections last; then it is an outage that the log explains and a restart ends, no secret told")
    func password() async throws {
        let upstream = try FakeServer.echo()
        defer { upstream.stop() }
        try await withRedisServer { redis in
            try redis.command("ACL", "SETUSER", "gate", "on", ">former-word", "~*", "&*", "+@all")
            var setup = GatewaySetup(upstream: upstream.port)
            setup["store"] = GatewaySetup.store(redis, "username: gate, password: former-word, connect_timeout: 5s, command_timeout: 5s")
            try await withGateway(setup) { gateway in
                let login = try gateway.login()
                try redis.command("ACL", "SETUSER", "gate", "resetpass", ">latter-word")
                for _ in 1...6 { #expect(try gateway.get("/", token: login.access).status == 200) }
                try redis.command("CLIENT", "KILL", "USER", "gate")
                try await eventually("unavailable") { try gateway.get("/", token: login.access).code == "store_unavailable" }
                #expect(try gateway.get("/public").status == 200 && gateway.admin("GET", "/readyz").status == 200)
                try await eventually("the log says why") { gateway.process.output.contains("AUTH was refused: WRONGPASS") }
                setup["store"] = GatewaySetup.store(redis, "username: gate, password: latter-word, connect_timeout: 5s, command_timeout: 5s")
                var changed = gateway.setup
                changed["store"] = setup["store"]
                try gateway.write(changed)
                try await eventually("it is said what to do") { gateway.process.errors.contains("store: has changed, which needs a restart") }
                #expect(!gateway.process.isTelling("former-word") && !gateway.process.isTelling("latter-word"))
                // What counts is in Redis.
                try await withGateway(setup, sibling: gateway) { restarted in
                    let answer = try restarted.get("/", token: login.access)
                    #expect(answer.status == 200)
                    #expect(!restarted.process.isTelling("latter-word"))
                }
            }
        }
    }

    @Test("everybody is logged out by a flush, on every gateway, and nobody is told that the store is at fault")
    func flushed() async throws {
        let upstream = try FakeServer.echo()
        defer { upstream.stop() }
        try await withRedisServer { redis in
            let setup = GatewaySetup(upstream: upstream.port, redis: redis)
            var tracked = setup
            tracked["revocation"] = "{mode: tracked, max_staleness: 10s}"
            try await withGateway(setup) { first in
                try await withGateway(tracked, sibling: first) { second in
                    let login = try first.login()
                    let loads = [first, second].map { RequestLoad(port: $0.port, connections: 3, token: login.access) }
                    for load in loads { try await load.more(50, 200) }
                    try redis.command("FLUSHALL")
                    for load in loads { try await load.more(100, 401, "session_revoked") }
                    for load in loads {
                        try await load.stop()
                        #expect(Set(load.counts.keys) == [.answer(status: 200, code: ""), .answer(status: 401, code: "session_revoked")])
                    }
                    for gateway in [first, second] {
                        try await eventually("a new login works") {
                            try gateway.get("/", token: first.login().access).status == 200
                        }
                    }
                }
            }
        }
    }

    @Test("requests of one session that come while its question is under way wait for that one, where answers are remembered")
    func stampede() async throws {
        let upstream = try FakeServer.echo()
        defer { upstream.stop() }
        try await withRedisServer(durable: true) { redis in
            let relay = try TCPRelay(to: redis.port)
            defer { relay.stop() }
            var setup = GatewaySetup(upstream: upstream.port)
            setup["store"] = "{kind: redis, redis: {addresses: [\"127.0.0.1:\(relay.port)\"], command_timeout: 20s, connect_timeout: 20s}}"
            setup["revocation"] = "{mode: tracked, max_staleness: 30s}"
            try await withGateway(setup) { gateway in
                let logins = try ["phone", "laptop"].map { try gateway.login(device: $0) }
                // All that is remembered is dropped.
                try redis.command("CONFIG", "RESETSTAT")
                relay.replies = .held
                let loads = logins.map { RequestLoad(port: gateway.port, connections: 50, token: $0.access) }
                try await eventually("all are there") { try gateway.metric(#"portcullis_connections{state="active"}"#) ?? 0 >= 100 }
                relay.replies = .passed
                for load in loads { try await load.more(50, 200) }
                for load in loads { try await load.stop() }
                let line = try redis.command("INFO", "commandstats").text?.split(whereSeparator: \.isNewline).first {
                    $0.hasPrefix("cmdstat_sismember:")
                }
                let calls = try #require(line?.split(separator: "=").dropFirst().first.flatMap { Int($0.prefix { $0 != "," }) })
                // Two sessions on two event loops; again where a use was noted meanwhile.
                #expect(calls <= 12, "\(calls) questions for \(loads.map(\.counts))")
                for load in loads { #expect(Set(load.counts.keys) == [.answer(status: 200, code: "")]) }
            }
        }
    }
}

extension PortcullisProcess {
    fileprivate func isTelling(_ secret: String) -> Bool { output.contains(secret) || errors.contains(secret) }
}
