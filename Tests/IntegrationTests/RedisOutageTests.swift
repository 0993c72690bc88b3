// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport
import Testing

@Suite("Outages of Redis, seen by clients", .serialized)
struct RedisOutageTests {
    /// Constant load of a session that is active and of one that has been revoked, on a Redis that survives a crash.
    private func underLoad(_ outage: (RunningGateway, RedisServer, RequestLoad, RunningGateway.Login) async throws -> Void) async throws {
        let upstream = try FakeServer.echo()
        defer { upstream.stop() }
        try await withRedisServer(durable: true) { redis in
            var setup = GatewaySetup(upstream: upstream.port)
            setup["store"] = GatewaySetup.store(redis)
            setup["revocation"] = nil
            try await withGateway(setup) { gateway in
                let active = try await gateway.eventuallyLogin("laptop"), revoked = try await gateway.eventuallyLogin("phone")
                try await eventually("logged out") { try gateway.call("POST", "/auth/logout", token: revoked.access).status == 204 }
                let good = RequestLoad(port: gateway.port, connections: 4, token: active.access)
                let bad = RequestLoad(port: gateway.port, connections: 2, token: revoked.access)
                do {
                    try await good.more(50, 200)
                    try await bad.more(20, 401, "session_revoked")
                    try await outage(gateway, redis, good, active)
                    try await bad.more(20, 401, "session_revoked")
                } catch {
                    try? await good.stop()
                    try? await bad.stop()
                    throw error
                }
                try await good.stop()
                try await bad.stop()
                let unavailable = RequestLoad.Outcome.answer(status: 503, code: "store_unavailable")
                #expect(Set(good.counts.keys) == [.answer(status: 200, code: ""), unavailable], "\(good.counts)")
                #expect(Set(bad.counts.keys) == [.answer(status: 401, code: "session_revoked"), unavailable], "\(bad.counts)")
            }
        }
    }

    @Test("while Redis is killed and restarted a valid session gets 200 or 503 and a revoked one never passes, and then all is as before")
    func killed() async throws {
        try await underLoad { gateway, redis, load, login in
            redis.kill()
            try await load.more(20, 503, "store_unavailable")
            let refused = try gateway.get("/orders", token: login.access)
            #expect(refused.status == 503 && refused["Retry-After"].count == 1 && refused["Set-Cookie"].isEmpty)
            #expect(try gateway.get("/public").status == 200)
            #expect(try gateway.admin("GET", "/readyz").status == 200, "an outage does not take the gateway out of service")
            try await redis.restart()
            try await load.more(50, 200)
            try await eventually("the control plane has its connection, too") { try gateway.metric("portcullis_store_up") == 1 }
        }
    }

    @Test("while Redis is silent, its connections open, the same holds, and a logout that it did not take is not answered as one")
    func paused() async throws {
        try await underLoad { gateway, redis, load, _ in
            let tablet = try await gateway.eventuallyLogin("tablet")
            redis.pause()
            try await load.more(20, 503, "store_unavailable")
            let logout = try gateway.call("POST", "/auth/logout", token: tablet.access)
            #expect(logout.status == 503 && logout.code == "store_unavailable" && logout["Set-Cookie"].isEmpty)
            redis.resume()
            try await load.more(50, 200)
            try await eventually("the logout is taken") { try gateway.call("POST", "/auth/logout", token: tablet.access).status == 204 }
            // The other event loop may still have to connect.
            try await eventually("it has ended") {
                let answer = try gateway.get("/orders", token: tablet.access)
                #expect(answer.status != 200)
                return answer.code == "session_revoked"
            }
        }
    }

    @Test("a gateway that starts without its Redis is not ready and answers 503, and is ready by itself when Redis is there")
    func absentAtStart() async throws {
        let upstream = try FakeServer.echo()
        defer { upstream.stop() }
        try await withRedisServer(durable: true) { redis in
            let setup = GatewaySetup(upstream: upstream.port, redis: redis)
            try await withGateway(setup) { first in
                let login = try first.login()
                redis.kill()
                try await withGateway(setup, sibling: first, isReady: false) { gateway in
                    // The admin listener is there first.
                    try await eventually("what is public is served") { try gateway.get("/public").status == 200 }
                    #expect(try gateway.admin("GET", "/readyz").status == 503 && gateway.admin("GET", "/healthz").status == 200)
                    #expect(try gateway.get("/orders", token: login.access).code == "store_unavailable")
                    try await redis.restart()
                    try await eventually("it is ready") { try gateway.admin("GET", "/readyz").status == 200 }
                    #expect(try gateway.get("/orders", token: login.access).status == 200)
                }
            }
        }
    }

    @Test("a Redis that may drop revocations ends a gateway that depends on them at the first contact: 78")
    func evicting() async throws {
        let upstream = try FakeServer.echo()
        defer { upstream.stop() }
        try await withRedisServer(["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]) { redis in
            var setup = GatewaySetup(upstream: upstream.port, redis: redis)
            try await withGateway(setup) { #expect($0.process.isRunning, "losing keys only logs users out") }
            setup["issuers"] =
                "[{name: idp, issuer: \"https://idp.example\", audiences: [api], algorithms: [HS256], secret: "
                + "\(String(repeating: "s", count: 32)), sessions: revocable}]"
            let gateway = try await RunningGateway.start(setup, isReady: nil)
            defer { gateway.stop() }
            #expect(try await gateway.process.exit() == 78)
            #expect(gateway.process.errors.contains("allkeys-lru") && gateway.process.errors.contains("noeviction"))
        }
    }
}
