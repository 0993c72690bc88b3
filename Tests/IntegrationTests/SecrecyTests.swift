// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import TestSupport
import Testing

@Suite("What is never written down")
struct SecrecyTests {
    /// Everything that a Redis holds: keys and values as text, of any type that the contract names.
    private func everything(in redis: RedisServer) throws -> String {
        let connection = try redis.connect()
        defer { connection.close() }
        func texts(_ value: RESPValue) -> [String] {
            switch value {
            case .integer(let number): ["\(number)"]
            case .text(let text), .error(let text): [text]
            case .null: []
            case .array(let values): values.flatMap(texts)
            }
        }
        var all: [String] = []
        for key in texts(try connection("KEYS", "*")) {
            let type = try connection("TYPE", key).text ?? ""
            let value =
                switch type {
                case "string": try connection("GET", key)
                case "hash": try connection("HGETALL", key)
                case "set": try connection("SMEMBERS", key)
                case "zset": try connection("ZRANGE", key, "0", "-1", "WITHSCORES")
                case "list": try connection("LRANGE", key, "0", "-1")
                case "stream": try connection("XRANGE", key, "-", "+")
                default: throw NotInTime(description: "a key of type \(type), which this scan cannot read: \(key)")
                }
            all.append("\(key) (\(type)): \(texts(value).joined(separator: " "))")
        }
        return all.joined(separator: "\n")
    }

    @Test(
        "after logins, requests, refreshes, mistakes and logouts neither Redis nor anything that was printed has a token, password, cookie or query")
    func story() async throws {
        let upstream = try FakeServer.echo()
        defer { upstream.stop() }
        try await withRedisServer { redis in
            var setup = GatewaySetup(upstream: upstream.port, redis: redis)
            setup["logging"] = "{level: trace, audit_stream: {}}"
            setup["token_sources"] = "[header, cookie, {query: access_token}, {header: X-Api-Token}]"
            setup["identity_headers"] = "{assertion: X-Auth-Assertion}"
            try await withGateway(setup) { gateway in
                var secrets = ["alice", "bob"].map(TestUsers.password(of:)) + [GatewaySetup.adminToken, "wrong password", "query-value"]
                func add(_ answer: HTTPMessage) throws {
                    let cookies = answer.cookies.values.filter { !$0.isEmpty }
                    let access: String = try #require(answer.member("access_token")), refresh: String = try #require(answer.member("refresh_token"))
                    for secret in cookies + [access, refresh] {
                        // Also without what every token begins with, and each part of a JWT that is not the same for all.
                        secrets += [secret, secret.replacingOccurrences(of: "pcr_", with: "")]
                        secrets += secret.split(separator: ".").dropFirst().map(String.init)
                    }
                }
                let phone = try gateway.login(), laptop = try gateway.login(device: "laptop"), bob = try gateway.login("bob")
                for login in [phone, laptop, bob] { try add(login.answer) }
                let jar = laptop.answer.cookies.map { "\($0.key)=\($0.value)" }.joined(separator: "; ")
                let origin = ("Sec-Fetch-Site", "same-origin")

                let seen = try gateway.get("/orders?q=query-value", token: phone.access)
                let assertion = try #require(seen.text.split(separator: "\n").first { $0.hasPrefix("x-auth-assertion: ") })
                secrets += assertion.dropFirst("x-auth-assertion: ".count).split(separator: ".").dropFirst().map(String.init)
                #expect(try gateway.get("/orders?access_token=\(phone.access)").status == 200)
                #expect(try gateway.get("/orders", fields: [("X-Api-Token", phone.access)]).status == 200)
                #expect(try gateway.get("/orders", fields: [("Cookie", jar)]).status == 200)
                #expect(try gateway.get("/orders", token: phone.access + "x").status == 401)
                #expect(try gateway.get("/orders", token: phone.access, fields: [("Cookie", jar)]).code == "token_ambiguous")
                #expect(try gateway.get("/auth/session", token: phone.access).status == 200)
                #expect(try gateway.get("/auth/sessions", fields: [("Cookie", jar)]).status == 200)
                for body in [
                    #"{"username":"alice","password":"wrong password"}"#, #"{"username":"wrong password","password":"x"}"#,
                    #"{"username":"alice","password":["wrong password"]}"#,
                ] {
                    #expect(try 400...401 ~= gateway.call("POST", "/auth/login", json: body).status)
                }
                let refreshed = try gateway.call("POST", "/auth/refresh", json: #"{"refresh_token":"\#(phone.refresh)"}"#)
                #expect(refreshed.status == 200)
                try add(refreshed)
                let byCookie = try gateway.call("POST", "/auth/refresh", fields: [("Cookie", jar), origin])
                #expect(byCookie.status == 200)
                try add(byCookie)
                #expect(try gateway.admin("POST", "/v1/users/alice/sessions", token: "wrong password", json: "{}").status == 401)
                let made = try gateway.admin("POST", "/v1/users/alice/sessions", json: #"{"device":"desk"}"#)
                #expect(made.status == 201)
                try add(made)
                #expect(try gateway.call("POST", "/auth/logout", token: phone.access).status == 204)
                let reuse = try gateway.call("POST", "/auth/refresh", json: #"{"refresh_token":"\#(phone.refresh)"}"#)
                #expect(reuse.status == 401)
                let middle = try everything(in: redis)
                #expect(try gateway.call("POST", "/auth/logout-all", token: bob.access).status == 200)
                #expect(try gateway.admin("DELETE", "/v1/users/alice/sessions").status == 200)
                let end = try everything(in: redis)
                gateway.process.send(signal: SIGTERM)
                #expect(try await gateway.process.exit() == 0)

                // The scans are of what they should be of.
                #expect(end.contains("portcullis:audit (stream)"))
                #expect(middle.contains("portcullis:sessions:{alice} (set)") && middle.contains("refresh_hash"), "\(middle)")
                let printed = gateway.process.output
                for part in ["\"path\":\"/orders\"", "\"code\":\"token_ambiguous\"", "\"user\":\"alice\"", "\(phone.session.prefix(8))"] {
                    #expect(printed.contains(part))
                }
                #expect(!printed.contains(phone.session), "eight characters of a session are shown")
                #expect(secrets.count > 50)
                for secret in Set(secrets) {
                    for (place, text) in [("Redis", middle), ("Redis", end), ("output", printed), ("errors", gateway.process.errors)] {
                        if let range = text.range(of: secret) {
                            let line = text[text.lineRange(for: range)]
                            Issue.record("\(place) has a secret: \(line)")
                        }
                    }
                }
            }
        }
    }
}
