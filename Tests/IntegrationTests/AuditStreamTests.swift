// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import TestSupport
import Testing

@Suite("The audit stream of the program", .serialized)
struct AuditStreamTests {
    private static let key = "portcullis:audit"

    /// Fields of each entry.
    private static func entries(_ redis: RedisServer) throws -> [[String: String]] {
        guard case .array(let entries) = try redis.command("XRANGE", key, "-", "+") else { return [] }
        return entries.map { entry in
            guard case .array(let parts) = entry, parts.count == 2, case .array(let words) = parts[1] else { return [:] }
            return Dictionary(
                uniqueKeysWithValues: stride(from: 0, to: words.count - 1, by: 2).map { (words[$0].text ?? "", words[$0 + 1].text ?? "") })
        }
    }

    /// Audit lines that were printed, as the stream has them: without what is null.
    private static func lines(_ gateway: RunningGateway) -> [[String: String]] {
        gateway.process.output.split(separator: "\n").compactMap { line in
            let object = (try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]) ?? [:]
            return object["audit"] == nil ? nil : object.compactMapValues { $0 as? String }
        }
    }

    @Test("has what the log has; a reload switches it on and off")
    func copy() async throws {
        let upstream = try FakeServer.echo()
        defer { upstream.stop() }
        try await withRedisServer { redis in
            var setup = GatewaySetup(upstream: upstream.port, redis: redis)
            try await withGateway(setup) { gateway in
                _ = try gateway.login()
                setup = gateway.setup
                setup["logging"] = "{audit_stream: {}}"
                try gateway.write(setup)
                gateway.process.send(signal: SIGHUP)
                try await eventually("it is on") { try gateway.metric("portcullis_config_reloads_total{outcome=\"applied\"}") == 1 }
                let login = try gateway.login()
                #expect(try gateway.call("POST", "/auth/login", json: #"{"username":"alice","password":"wrong"}"#).status == 401)
                #expect(try gateway.call("POST", "/auth/refresh", json: #"{"refresh_token":"\#(login.refresh)"}"#).status == 200)
                #expect(try gateway.call("POST", "/auth/logout", token: login.access).status == 204)
                #expect(try gateway.admin("DELETE", "/v1/users/alice/sessions").status == 200)
                try await eventually("all are there") { try Self.entries(redis).count == 5 }
                try await eventually("and printed") { Self.lines(gateway).count == 6 }
                #expect(try Self.entries(redis) == Array(Self.lines(gateway).dropFirst()))
                #expect(try Self.entries(redis).map { $0["audit"] } == ["login", "login", "refresh", "logout", "admin_revoke_all"])
                guard case .integer(let life) = try redis.command("PTTL", Self.key) else { throw NotInTime(description: "no TTL") }
                #expect(life > 29 * 86_400_000 && life <= 30 * 86_400_000)
                setup["logging"] = "{}"
                try gateway.write(setup)
                gateway.process.send(signal: SIGHUP)
                try await eventually("it is off") { try gateway.metric("portcullis_config_reloads_total{outcome=\"applied\"}") == 2 }
                _ = try gateway.login()
                gateway.process.send(signal: SIGTERM)
                #expect(try await gateway.process.exit() == 0)
                #expect(try Self.entries(redis).count == 5)
            }
        }
    }

    @Test("that cannot be written fails no login and no logout, and what it misses is counted")
    func refused() async throws {
        let upstream = try FakeServer.echo()
        defer { upstream.stop() }
        try await withRedisServer { redis in
            try redis.command("SET", Self.key, "no stream")
            var setup = GatewaySetup(upstream: upstream.port, redis: redis)
            setup["logging"] = "{audit_stream: {max_entries: 10, retain: 1h}}"
            try await withGateway(setup) { gateway in
                for _ in 0..<5 {
                    let login = try gateway.login()
                    #expect(try gateway.call("POST", "/auth/logout", token: login.access).status == 204)
                }
                try await eventually("all are counted") { try gateway.metric("portcullis_audit_dropped_total") == 10 }
                try redis.command("DEL", Self.key)
                _ = try gateway.login()
                // What is not written yet when it ends is.
                gateway.process.send(signal: SIGTERM)
                #expect(try await gateway.process.exit() == 0)
                #expect(try Self.entries(redis).count == 1)
                #expect(gateway.process.output.components(separatedBy: "Entries of the audit stream are dropped").count == 2, "told once")
            }
        }
    }
}
