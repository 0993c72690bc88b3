// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOSSL
import Sessions
import TestSupport
import Testing
import Tokens

@testable import Control

@Suite("Login by an endpoint")
struct LoginEndpointTests {
    private static func run(
        _ endpoint: FakeLoginEndpoint, _ change: (inout ControlConfiguration) throws -> Void = { _ in }, _ body: (ControlWorld) async throws -> Void
    ) async throws {
        defer { endpoint.stop() }
        try await ControlWorld.run(
            { configuration in
                configuration.login = endpoint.method
                try change(&configuration)
            }, body)
    }

    private static func body(_ user: String, _ password: String) -> String {
        String(
            decoding: JSONWriter.object { json in
                json.member("username", user)
                json.member("password", password)
            }, as: UTF8.self)
    }

    @Test("asks it with the name and the password as JSON, on one connection, and believes its 200 and its 401")
    func asks() async throws {
        let endpoint = try FakeLoginEndpoint()
        try await Self.run(endpoint) { world in
            for _ in 0..<2 { #expect(try await world.login("alice").reply.string("user") == "alice") }
            let wrong = try await world.call(.POST, "/auth/login", json: Self.body("alice", "wrong \u{e9}\"\\"))
            #expect(wrong.status == 401 && wrong.code == "login_failed" && wrong.fields["Set-Cookie"].isEmpty)
            _ = try await world.login("bob")
            #expect(endpoint.acceptedConnections == 1)
            let asked = endpoint.asked.all
            #expect(asked.count == 4 && asked.allSatisfy { $0.method == "POST" && $0.target == "/verify" })
            #expect(asked.allSatisfy { $0["Content-Type"] == ["application/json"] && $0["Authorization"].isEmpty && $0["Cookie"].isEmpty })
            #expect(try JSONObject(parsing: asked[2].body).members.map(\.name) == ["username", "password"])
            #expect(asked[2].member("password") == "wrong \u{e9}\"\\")
        }
    }

    @Test("begins the session of the user that it names, whatever was typed")
    func otherName() async throws {
        let endpoint = try FakeLoginEndpoint(always: FakeLoginEndpoint.answer(200, #"{"user":"u-4711","more":[1]}"#))
        try await Self.run(endpoint) { world in
            let login = try await world.login("alice@example.com")
            #expect(login.reply.string("user") == "u-4711")
            #expect(world.store.record(login.session, of: UserID(name: "u-4711"))?.active == true)
            let lines = world.audit.all.joined()
            #expect(lines.contains(#""user":"u-4711""#) && !lines.contains("alice@example.com"))
        }
    }

    @Test("puts its claims into the session and each of its access tokens")
    func claims() async throws {
        try await Self.run(FakeLoginEndpoint(claims: #"{"email":"a@b","roles":["x",1],"deep":{"a":null}}"#)) { world in
            let login = try await world.login()
            let refreshed = try Login(await world.refresh(login.refresh))
            for access in [login.access, refreshed.access] {
                let payload = try #require(Base64URL.decode(Array(access.split(separator: ".")[1].utf8)))
                let claims = try JSONObject(parsing: payload)
                let roles = try JSONValue(parsing: Array(#"["x",1]"#.utf8))
                #expect(claims["email"]?.string == "a@b" && claims["roles"] == roles)
                #expect(claims["deep"]?.object?["a"] == .null && claims["sub"]?.string == "alice")
            }
        }
        try await Self.run(FakeLoginEndpoint(claims: "{}")) { world in _ = try await world.login() }
    }

    /// What an endpoint answers that is its fault, and ours; shown shortly.
    struct Fault: CustomTestStringConvertible {
        let answer: String
        var code = "upstream_malformed"
        var testDescription: String { "\(code): \(answer.prefix(90))" }
    }

    private static let wrongAnswers: [Fault] =
        [
            #"{}"#, #"{"user":1}"#, #"{"user":null}"#, #"{"user":""}"#, #"{"user":" a"}"#, #"{"user":"a\u0000b"}"#, #"{"user":"idp/alice"}"#,
            #"{"user":"\#(String(repeating: "a", count: 257))"}"#, #"{"user":"alice","user":"bob"}"#, #"["alice"]"#, "alice", "",
            #"{"user":"alice"}x"#,
            #"{"user":"alice","claims":null}"#, #"{"user":"alice","claims":[]}"#, #"{"user":"alice","claims":"x"}"#,
            #"{"user":"alice","claims":{"sub":"root"}}"#, #"{"user":"alice","claims":{"a":1,"a":2}}"#,
            #"{"user":"alice","claims":{"\#("sid")":"x"}}"#, #"{"user":"alice","claims":{"a":"\#(String(repeating: "x", count: 9000))"}}"#,
            #"{"user":"alice","claims":"# + String(repeating: #"{"a":"#, count: 1000) + "1" + String(repeating: "}", count: 1001),
            #"{"user":"alice"}"# + String(repeating: " ", count: LoginVerifier.answerByteLimit),
        ].map { Fault(answer: FakeLoginEndpoint.answer(200, $0)) }
        + [201, 204, 302, 307, 400, 403, 404, 429, 500, 503].map { status in
            Fault(answer: FakeLoginEndpoint.answer(status, #"{"user":"alice"}"#.prefix(status == 204 ? 0 : 99).description, "Location: /other\r\n"))
        }
        + [
            Fault(answer: "no HTTP at all\r\n\r\n"), Fault(answer: "", code: "upstream_reset"),
            Fault(answer: "HTTP/1.1 200 OK\r\nContent-Length: 16\r\nConnection: close\r\n\r\n{\"user\":\"", code: "upstream_reset"),
        ]

    @Test("of an endpoint that answers anything else is 502, is nobody's failure, and nothing begins", arguments: wrongAnswers)
    func faults(fault: Fault) async throws {
        let endpoint = try FakeLoginEndpoint(always: fault.answer)
        try await Self.run(
            endpoint,
            { configuration in
                let issuer = TrustedIssuer(name: "idp", issuer: "https://idp.example", algorithms: [.eddsa], keys: nil)
                configuration.trustOwnTokens(and: [(issuer, IssuerPolicy(name: "idp", namespace: "idp", sessions: .registered))])
            }
        ) { world in
            let reply = try await world.call(.POST, "/auth/login", json: Self.body("alice", "password of alice"))
            #expect(reply.status == 502 && reply.code == fault.code && reply.fields["Set-Cookie"].isEmpty, "\(reply.status) \(reply.text)")
            #expect(!reply.text.contains("alice"))
            #expect(endpoint.asked.all.count == 1, "nothing is followed, nothing tried again")
            #expect(world.store.failures.values.allSatisfy { $0 == 0 } && world.store.runningAttempts == 0)
            #expect(try await world.store.list(of: UserID(name: "alice"), rules: ControlConfiguration().rules, now: world.clock.now).isEmpty)
        }
    }

    @Test("of an endpoint that is not there is 502, and works as soon as it is")
    func absent() async throws {
        let nobody = try LoopbackSocket.deaf()
        defer { nobody.shutdown() }
        try await ControlWorld.run({ $0.login = .endpoint(LoginEndpoint(url: "http://127.0.0.1:\(nobody.port)/", authorities: [])) }) { world in
            let reply = try await world.call(.POST, "/auth/login", json: Self.body("alice", "password of alice"))
            #expect(reply.status == 502 && reply.code == "upstream_refused")
            let endpoint = try FakeLoginEndpoint()
            defer { endpoint.stop() }
            world.plane.update(try ControlWorld.configuration { $0.login = endpoint.method })
            _ = try await world.login()
        }
    }

    @Test("of an endpoint that is silent, or does not come to an end, is 504 after 5 s in all, and others do not wait for it")
    func slow() async throws {
        let endpoint = try FakeLoginEndpoint { request in
            request.member("username") == "silent" ? nil : "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"
        }
        try await Self.run(endpoint) { world in
            let start = ContinuousClock.now
            async let silent = world.call(.POST, "/auth/login", json: Self.body("silent", "x"))
            async let endless = world.call(.POST, "/auth/login", json: Self.body("endless", "x"))
            try await eventually("both are asked about") { endpoint.asked.all.count == 2 }
            #expect(try await world.admin(.GET, "/healthz").status == 200)
            #expect(try await world.call(.GET, "/auth/session").status == 401)
            #expect(world.store.runningAttempts > 0, "they are still being judged")
            for reply in [try await silent, try await endless] {
                #expect(reply.status == 504 && reply.code == "upstream_timeout", "\(reply.text)")
            }
            // The upper end leaves time for a busy machine; without a limit there would be none.
            #expect((.seconds(4)..<(.seconds(25))).contains(.now - start))
            #expect(world.store.failures.values.allSatisfy { $0 == 0 } && world.store.runningAttempts == 0)
        }
    }

    @Test("is 429 after 30 failures before the endpoint hears of it, however many come at once, and never after faults of its")
    func throttle() async throws {
        let isBroken = Recorded<Void>()
        let endpoint = try FakeLoginEndpoint { _ in FakeLoginEndpoint.answer(isBroken.all.isEmpty ? 500 : 401) }
        try await Self.run(endpoint) { world in
            for _ in 0..<40 {
                #expect(try await world.call(.POST, "/auth/login", json: Self.body("alice", "x")).status == 502)
            }
            isBroken.append(())
            let asked = endpoint.asked.all.count
            let statuses = try await withThrowingTaskGroup(of: UInt.self) { tasks in
                for _ in 0..<80 { tasks.addTask { try await world.call(.POST, "/auth/login", json: Self.body("alice", "x")).status } }
                return try await tasks.reduce(into: [UInt: Int]()) { $0[$1, default: 0] += 1 }
            }
            #expect(statuses == [401: 30, 429: 50])
            #expect(endpoint.asked.all.count == asked + 30)
        }
    }

    @Test("hears nothing of what can be nobody's name or password; that is a failure all the same")
    func impossible() async throws {
        let endpoint = try FakeLoginEndpoint()
        try await Self.run(endpoint) { world in
            let long = String(repeating: "a", count: PasswordHash.passwordByteLimit)
            let impossible = [
                ("", "x"), ("alice ", "x"), ("\u{a0}alice", "x"), ("a\u{0}b", "x"), ("a\nb", "x"), (String(repeating: "a", count: 257), "x"),
                ("alice", long + "a"),
            ]
            for (user, password) in impossible {
                let reply = try await world.call(.POST, "/auth/login", json: Self.body(user, password))
                #expect(reply.status == 401 && reply.code == "login_failed")
            }
            #expect(endpoint.asked.all.isEmpty)
            #expect(world.store.failures.values.reduce(0, +) == 2 * impossible.count, "by name and by address")
            #expect(try await world.call(.POST, "/auth/login", json: Self.body("alice", long)).status == 401)
            #expect(endpoint.asked.all.count == 1)
        }
    }

    @Test("over TLS trusts the authorities that it was given and no others, also when a reload changes them")
    func tls() async throws {
        let certificates = try TestCertificates(), others = try TestCertificates()
        defer {
            certificates.remove()
            others.remove()
        }
        let server = try await TLSLoginEndpoint(certificates)
        func method(_ certificates: TestCertificates?, host: String = "localhost") throws -> LoginMethod {
            let authorities = try certificates.map { try NIOSSLCertificate.fromPEMFile($0.authority) } ?? []
            return .endpoint(LoginEndpoint(url: "https://\(host):\(server.port)/", authorities: authorities))
        }
        let right = try method(certificates)
        try await ControlWorld.run({ $0.login = right }) { world in
            for _ in 0..<2 {
                world.plane.update(try ControlWorld.configuration { $0.login = right })
                _ = try await world.login()
                for wrong in [try method(others), try method(nil), try method(certificates, host: "127.0.0.2")] {
                    world.plane.update(try ControlWorld.configuration { $0.login = wrong })
                    let reply = try await world.call(.POST, "/auth/login", json: Self.body("alice", "x"))
                    #expect(reply.status == 502 && reply.code == "upstream_refused", "\(reply.text)")
                }
            }
        }
        try await server.stop()
    }
}
