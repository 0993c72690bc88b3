// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport
import Testing

extension FleetTests {
    @Suite("A fleet whose Redis wants to know who it is")
    struct FleetTLSTests {
        private func withWorld(_ body: (RedisServer, TestCertificates, _ setup: (_ tls: String) -> GatewaySetup) async throws -> Void) async throws {
            let upstream = try FakeServer.echo(), certificates = try TestCertificates()
            defer {
                upstream.stop()
                certificates.remove()
            }
            let options = RedisServer.admittingGate.options + ["--tls-auth-clients", "yes"]
            try await withRedisServer(options, certificates: certificates) { redis in
                try redis.growOld()
                try await body(redis, certificates) { tls in
                    var setup = GatewaySetup(upstream: upstream.port)
                    setup["store"] =
                        "{kind: redis, redis: {addresses: [\"127.0.0.1:\(redis.tlsPort ?? 0)\"], \(RedisServer.admittingGate.credentials), "
                        + "connect_timeout: 5s, command_timeout: 5s, tls: {ca: \"\(certificates.authority)\"\(tls)}}}"
                    setup["issuers"] = IdentityProvider.issuers(sessions: "revocable")
                    setup["logging"] = "{audit_stream: {}}"
                    setup.decide(.tracked, staleness: "10s")
                    return setup
                }
            }
        }

        @Test("by a certificate, and lets it do no more than the README asks for, is a fleet as any other; each call that asks Redis is allowed")
        func restricted() async throws {
            try await withWorld { redis, certificates, setup in
                let own = ", certificate: \"\(certificates.clientCertificate)\", private_key: \"\(certificates.clientPrivateKey)\""
                try await withFleet(setup(own)) { fleet in
                    let login = try fleet[0].login(), other = try fleet[1].login()
                    #expect(try fleet.statuses(login.access) == [200, 200, 200])
                    #expect(try fleet[1].call("POST", "/auth/login", json: #"{"username":"alice","password":"wrong"}"#).status == 401)
                    #expect(try fleet[2].call("POST", "/auth/refresh", json: #"{"refresh_token":"\#(login.refresh)"}"#).status == 200)
                    #expect(try fleet[0].call("GET", "/auth/sessions", token: login.access).status == 200)
                    #expect(try fleet[0].admin("GET", "/v1/edges").member("edges", as: [[String: Any]].self)?.count == 3)
                    let end = #"{"expires_at":"2099-01-01T00:00:00Z"}"#
                    #expect(try fleet[1].admin("PUT", "/v1/users/alice/sessions/desk", json: end).status == 201)
                    #expect(try fleet[1].call("POST", "/auth/logout", token: login.access).status == 204)
                    #expect(try fleet.statuses(login.access) == [401, 401, 401] && fleet.statuses(other.access) == [200, 200, 200])
                    #expect(try redis.command("SREM", "portcullis:sessions:{alice}", other.session) == .integer(1))
                    try await eventually("it is pushed to all") { try fleet.statuses(other.access) == [401, 401, 401] }
                    let token = try IdentityProvider.accessToken("tablet")
                    #expect(try fleet.statuses(token) == [200, 200, 200])
                    #expect(try fleet[2].tell(IdentityProvider.logoutToken("tablet")).status == 200)
                    #expect(try fleet.statuses(token) == [401, 401, 401])
                    #expect(try fleet[2].admin("DELETE", "/v1/users/alice/sessions").status == 200)
                    try await eventually("the audit stream has the last line") {
                        try redis.command("XREVRANGE", "portcullis:audit", "+", "-", "COUNT", "1").elements?.first?.elements?.last?.elements?
                            .contains(.text("admin_revoke_all")) == true
                    }
                    try redis.expectNothingRefused()
                }
            }
        }

        @Test("by a certificate does not let in a gateway that has none")
        func withoutCertificate() async throws {
            try await withWorld { _, _, setup in
                try await withGateway(setup(""), isReady: false) { gateway in
                    try await eventually("it says so") { gateway.process.output.contains("Redis") }
                    #expect(try gateway.admin("GET", "/readyz").status == 503)
                }
            }
        }
    }
}
