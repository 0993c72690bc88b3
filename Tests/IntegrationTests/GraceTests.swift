// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport
import Testing

@Suite("Sessions that pass by grace while the store is down", .serialized)
struct GraceTests {
    private func outage(grace: String, _ body: (RunningGateway, RedisServer) async throws -> Void) async throws {
        let upstream = try FakeServer.echo()
        defer { upstream.stop() }
        try await withRedisServer(durable: true) { redis in
            var setup = GatewaySetup(upstream: upstream.port, redis: redis)
            setup["revocation"] = "{when_unavailable: allow_recent, grace: \(grace)}"
            setup["routes"] = "[{path: /strict, upstream: legacy, when_unavailable: reject}, {path: /, upstream: legacy}]"
            try await withGateway(setup) { try await body($0, redis) }
        }
    }

    @Test("a session that was confirmed within the grace passes on every event loop; one that was not, one that has ended, and a strict route do not")
    func recent() async throws {
        try await outage(grace: "5m") { gateway, redis in
            let confirmed = try gateway.login(device: "phone"), never = try gateway.login(device: "laptop"),
                ended = try gateway.login(device: "tablet")
            #expect(try gateway.get("/orders", token: confirmed.access).status == 200)
            #expect(try gateway.get("/orders", token: ended.access).status == 200)
            #expect(try gateway.call("POST", "/auth/logout", token: ended.access).status == 204)
            #expect(try gateway.get("/orders", token: ended.access).code == "session_revoked")
            redis.kill()
            for login in [never, ended] {
                for _ in 0..<6 {
                    let refused = try gateway.get("/orders", token: login.access)
                    #expect(refused.status == 503 && refused.code == "store_unavailable" && refused["Set-Cookie"].isEmpty)
                }
            }
            // Each on a connection of its own: the loop that had it confirmed, and the one that has to ask it.
            for _ in 0..<12 { #expect(try gateway.get("/orders", token: confirmed.access).status == 200) }
            for _ in 0..<6 { #expect(try gateway.get("/strict", token: confirmed.access).code == "store_unavailable") }
            try await redis.restart()
            try await eventually("the store answers") { try gateway.get("/orders", token: never.access).status == 200 }
            // The other event loop may still have to connect.
            try await eventually("it has ended") {
                let answer = try gateway.get("/orders", token: ended.access)
                #expect(answer.status != 200)
                return answer.code == "session_revoked"
            }
        }
    }

    @Test("the grace ends, however often the session is used in it")
    func notExtended() async throws {
        try await outage(grace: "1s") { gateway, redis in
            let login = try gateway.login()
            #expect(try gateway.get("/orders", token: login.access).status == 200)
            redis.kill()
            // Asks without a pause: were it extended by use, it would never end.
            try await eventually("the grace is over") {
                let answer = try gateway.get("/orders", token: login.access)
                #expect(answer.status == 200 || answer.code == "store_unavailable")
                return answer.status == 503
            }
            for _ in 0..<10 { #expect(try gateway.get("/orders", token: login.access).code == "store_unavailable") }
        }
    }
}
