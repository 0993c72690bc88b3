// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport
import Testing

extension FleetTests {
    @Suite("A fleet whose Redis wants to know who it is")
    struct FleetTLSTests {
        /// What the README says is enough.
        private static let rule = "~portcullis:* &* +@all -@dangerous +info +client +wait +role +config|get"
        private static let user = "username: gate, password: word-of-the-gate"

        private func restrict(_ server: RedisServer) throws {
            let words = ["ACL", "SETUSER", "gate", "on", ">word-of-the-gate"] + Self.rule.split(separator: " ").map(String.init)
            let connection = try server.connect()
            defer { connection.close() }
            #expect(try connection.call(words) == .text("OK"))
        }

        private func setup(_ upstream: FakeServer, _ store: String) -> GatewaySetup {
            var setup = GatewaySetup(upstream: upstream.port)
            setup["store"] = store
            setup["issuers"] = IdentityProvider.issuers(sessions: "revocable")
            setup["logging"] = "{audit_stream: {}}"
            setup.decide(.tracked, staleness: "2s")
            return setup
        }

        /// Uses everything of a gateway that speaks to Redis. What Redis did not allow is in its log.
        private func live(_ fleet: RunningFleet, _ servers: [RedisServer]) async throws {
            try await fleet.waitUntilTracking()
            let login = try fleet[0].login(), other = try fleet[1].login()
            #expect(try fleet.statuses(login.access) == [200, 200, 200])
            #expect(try fleet[1].call("POST", "/auth/login", json: #"{"username":"alice","password":"wrong"}"#).status == 401)
            #expect(try fleet[2].call("POST", "/auth/refresh", json: #"{"refresh_token":"\#(login.refresh)"}"#).status == 200)
            #expect(try fleet[0].call("GET", "/auth/sessions", token: login.access).status == 200)
            #expect(try fleet[0].admin("GET", "/v1/edges").member("edges", as: [[String: Any]].self)?.count == 3)
            let end = #"{"expires_at":"2099-01-01T00:00:00Z"}"#
            #expect(try fleet[1].admin("PUT", "/v1/users/alice/sessions/desk", json: end).status == 201)
            #expect(try await onThread { try fleet[1].call("POST", "/auth/logout", token: login.access).status } == 204)
            #expect(try fleet.statuses(login.access) == [401, 401, 401] && fleet.statuses(other.access) == [200, 200, 200])
            let token = try IdentityProvider.accessToken("tablet")
            #expect(try fleet.statuses(token) == [200, 200, 200])
            #expect(try fleet[2].tell(IdentityProvider.logoutToken("tablet")).status == 200)
            #expect(try fleet.statuses(token) == [401, 401, 401])
            #expect(try fleet[2].call("POST", "/auth/logout-all", token: other.access).status == 200)
            #expect(try fleet.statuses(other.access) == [401, 401, 401])
            for server in servers {
                let refused = try server.command("ACL", "LOG")
                #expect(refused == .array([]), "\(refused)")
            }
        }

        @Test("by a certificate and a user with no more rights than the README asks for works as any other, tracked, with TLS")
        func tls() async throws {
            let upstream = try FakeServer.echo(), certificates = try TestCertificates()
            defer {
                upstream.stop()
                certificates.remove()
            }
            try await withRedisServer(["--tls-auth-clients", "yes"], certificates: certificates) { redis in
                try restrict(redis)
                let address = "kind: redis, redis: {addresses: [\"127.0.0.1:\(redis.tlsPort ?? 0)\"], \(Self.user)"
                let ours = "certificate: \"\(certificates.clientCertificate)\", private_key: \"\(certificates.clientPrivateKey)\""
                let with = setup(upstream, "{\(address), tls: {ca: \"\(certificates.authority)\", \(ours)}}}")
                try await withFleet(with) { try await live($0, [redis]) }
                // Without a certificate of its own it is not let in: it was the certificate that did it.
                let without = setup(upstream, "{\(address), tls: {ca: \"\(certificates.authority)\"}}}")
                try await withGateway(without, isReady: false) { gateway in
                    try await eventually("it says so") { gateway.process.output.contains("Redis") }
                    #expect(try gateway.admin("GET", "/readyz").status == 503)
                }
            }
        }

        @Test("by a user with no more rights than the README asks for works as any other, tracked, with Sentinels, also after a failover")
        func sentinel() async throws {
            let upstream = try FakeServer.echo()
            defer { upstream.stop() }
            try await withSentinelRedis(replicas: 1) { redis in
                for server in redis.servers { try restrict(server) }
                try await withFleet(setup(upstream, GatewaySetup.store(redis, "\(Self.user), wait_replicas: 1, command_timeout: 1s"))) { fleet in
                    try await live(fleet, redis.servers)
                    guard let old = try redis.primary() else { throw NotInTime(description: "there is no primary") }
                    try redis.failOver()
                    try await redis.waitForFailover(from: old)
                    try await redis.waitUntilWhole()
                    try await eventually("sessions begin again", within: .seconds(30)) { try fleet[0].begin("carol").answer.status == 201 }
                    try await eventually("the fleet is whole", within: .seconds(30)) {
                        try fleet[0].admin("GET", "/v1/edges").member("edges", as: [[String: Any]].self)?.count == 3
                    }
                    try await live(fleet, redis.servers)
                }
            }
        }

        @Test("by a user with no more rights than the README asks for works as any other, tracked, with a cluster, also while a slot moves")
        func cluster() async throws {
            let upstream = try FakeServer.echo()
            defer { upstream.stop() }
            try await withClusterRedis { cluster in
                for server in cluster.servers { try restrict(server) }
                try await withFleet(setup(upstream, GatewaySetup.store(cluster, "\(Self.user), connect_timeout: 5s, command_timeout: 5s"))) { fleet in
                    try await live(fleet, cluster.servers)
                    let login = try fleet[0].login("bob")
                    let slot = try cluster.slot(of: "portcullis:sessions:{bob}")
                    let target = try cluster.others(cluster.owner(of: slot))[0]
                    try cluster.beginMove(slot, to: target)
                    try await eventually("it passes while its slot is half moved") { try fleet.statuses(login.access) == [200, 200, 200] }
                    try cluster.finishMove(slot, to: target)
                    try await live(fleet, cluster.servers)
                    #expect(try fleet.statuses(login.access) == [200, 200, 200])
                }
            }
        }
    }
}
