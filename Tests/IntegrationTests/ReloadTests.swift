// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import TestSupport
import Testing

@Suite("Reloads of the configuration", .serialized)
struct ReloadTests {
    private static let applied = "portcullis_config_reloads_total{outcome=\"applied\"}"
    private static let rejected = "portcullis_config_reloads_total{outcome=\"rejected\"}"

    /// The setup with the user's header under another name, by which an answer tells which configuration was in force.
    private func naming(_ header: String, in setup: GatewaySetup) -> GatewaySetup {
        var setup = setup
        setup["identity_headers"] = "{user: \(header)}"
        return setup
    }

    @Test("twenty reloads by SIGHUP under load are each put in force, and no request fails")
    func underLoad() async throws {
        try await withEchoGateway(.memory) { gateway in
            let login = try gateway.login()
            let load = RequestLoad(port: gateway.port, connections: 4, token: login.access)
            do {
                try await load.more(20, 200)
                for number in 1...20 {
                    try gateway.write(naming("X-User-\(number)", in: gateway.setup))
                    gateway.process.send(signal: SIGHUP)
                    try await eventually("reload \(number)") { try gateway.metric(Self.applied) == Double(number) }
                    #expect(try gateway.get("/orders", token: login.access).text.contains("x-user-\(number): alice\n"))
                }
                try await load.more(20, 200)
            } catch {
                try? await load.stop()
                throw error
            }
            try await load.stop()
            #expect(Set(load.counts.keys) == [.answer(status: 200, code: "")], "\(load.counts)")
            #expect(try gateway.metric(Self.applied) == 20 && gateway.metric(Self.rejected) == 0 && gateway.process.errors.isEmpty)
        }
    }

    @Test("claims that a route asks for since a reload are looked for in tokens that have been used before it, too")
    func claims() async throws {
        try await withEchoGateway(.memory) { gateway in
            let login = try gateway.login()
            #expect(try gateway.get("/orders", token: login.access).status == 200)
            for (number, user, status) in [(1.0, "alice", 200), (2, "somebody", 403), (3, "alice", 200)] {
                var setup = gateway.setup
                setup["routes"] = "[{path: /, upstream: legacy, claims: {sub: [\(user)]}}]"
                try gateway.write(setup)
                gateway.process.send(signal: SIGHUP)
                try await eventually("reload \(number)") { try gateway.metric(Self.applied) == number }
                for _ in 0..<2 { #expect(try gateway.get("/orders", token: login.access).status == status, "claims of \(user)") }
            }
        }
    }

    @Test("a mistake is told on standard error with its place, and everything stays as it was")
    func mistake() async throws {
        try await withEchoGateway(.memory) { gateway in
            let login = try gateway.login()
            var bad = naming("X-Other", in: gateway.setup)
            bad["routes"] = "[{path: /, upstream: nowhere}]"
            bad["limits"] = "{head_timeout: 10}"
            try gateway.write(bad)
            gateway.process.send(signal: SIGHUP)
            try await eventually("it is rejected") { try gateway.metric(Self.rejected) == 1 }
            let lines = gateway.process.errors.split(separator: "\n")
            let file = gateway.process.configurationPath
            #expect(lines.count == 2)
            for (key, path) in [("routes", "routes[0].upstream"), ("limits", "limits.head_timeout")] {
                let line = try #require(bad.line(of: key))
                #expect(lines.contains { $0.hasPrefix("\(file):\(line):") && $0.contains(": \(path): ") }, "\(lines)")
            }
            #expect(!gateway.process.errors.contains("nowhere"), "what was read is not told")
            #expect(try gateway.get("/orders", token: login.access).text.contains("x-auth-user: alice\n"))
            #expect(try gateway.metric(Self.applied) == 0 && gateway.admin("GET", "/readyz").status == 200)
        }
    }

    @Test(
        "a change of what needs a restart is rejected whole",
        arguments: [("workers", "1"), ("store", "{kind: redis}"), ("admin", "{address: \"127.0.0.1:1\"}")])
    func restart(key: String, value: String) async throws {
        try await withEchoGateway(.memory) { gateway in
            let login = try gateway.login()
            var changed = naming("X-Other", in: gateway.setup)
            changed[key] = value
            try gateway.write(changed)
            gateway.process.send(signal: SIGHUP)
            try await eventually("it is rejected") { try gateway.metric(Self.rejected) == 1 }
            #expect(gateway.process.errors.contains(": \(key)") && gateway.process.errors.contains("restart"), "\(gateway.process.errors)")
            #expect(try gateway.get("/orders", token: login.access).text.contains("x-auth-user: alice\n"))
        }
    }

    @Test("a changed file is read without a signal, a bad one told once, and a state that is in force not loaded again")
    func changedFile() async throws {
        try await withEchoGateway(.memory) { gateway in
            let login = try gateway.login()
            let user = { try gateway.get("/orders", token: login.access).text.split(separator: "\n").first { $0.hasSuffix(": alice") } }
            try gateway.write(naming("X-First", in: gateway.setup))
            try await eventually("the change is in force") { try user() == "x-first: alice" }
            var bad = gateway.setup
            bad["workers"] = "none"
            try gateway.write(bad)
            try await eventually("it is rejected") { try gateway.metric(Self.rejected) == 1 }
            #expect(gateway.process.errors.contains("\(gateway.process.configurationPath):") && gateway.process.errors.contains(": workers: "))
            #expect(try user() == "x-first: alice")
            try gateway.write(naming("X-Second", in: gateway.setup))
            try await eventually("the good one is in force") { try user() == "x-second: alice" }
            // Counted when all loops have it; one answers by it before.
            try await eventually("it is counted") { try gateway.metric(Self.applied) == 2 }
            #expect(try gateway.metric(Self.rejected) == 1)
        }
    }

    @Test("listeners are opened and closed; one that cannot be bound rejects the whole; an open exchange goes on")
    func listeners() async throws {
        let upstream = try ReleasedUpstream()
        defer { upstream.stop() }
        try await withGateway(GatewaySetup(upstream: upstream.port)) { gateway in
            let open = try HTTPConnection(port: gateway.port)
            open.socket.write(HTTPConnection.head("GET", "/public", []))
            try await eventually("the request is under way") { upstream.waiting == 1 }

            let taken = try FakeServer { $0.waitForEnd() }
            defer { taken.stop() }
            var changed = naming("X-Other", in: gateway.setup)
            changed["listeners"] = "[{address: \"127.0.0.1:\(gateway.port)\"}, {address: \"127.0.0.1:\(taken.port)\"}]"
            try gateway.write(changed)
            gateway.process.send(signal: SIGHUP)
            try await eventually("it is rejected") { try gateway.metric(Self.rejected) == 1 }
            #expect(gateway.process.errors.contains("127.0.0.1:\(taken.port)"), "\(gateway.process.errors)")

            let other = try freePort()
            changed["listeners"] = "[{address: \"127.0.0.1:\(other)\"}]"
            try gateway.write(changed)
            gateway.process.send(signal: SIGHUP)
            try await eventually("it is applied") { try gateway.metric(Self.applied) == 1 }
            upstream.release()
            #expect(try HTTPConnection(port: other).get("/public").status == 200)
            #expect(throws: (any Error).self) { try gateway.get("/public") }
            #expect(try open.answer().status == 200)
        }
    }

    @Test("SIGHUP reads what the file names again: a new user can log in, and a new key signs while tokens of the one before it are still good")
    func namedFiles() async throws {
        try await withEchoGateway(.memory) { gateway in
            let alice = try gateway.login()
            let folder = gateway.process.folder
            // Alice's hash, and so her password.
            let hash = try #require(TestUsers.file.split(separator: "\n").first).dropFirst("alice".count)
            try "\(TestUsers.file)\ncarol\(hash)\n".write(toFile: "\(folder)/users", atomically: true, encoding: .utf8)
            try FileManager.default.moveItem(atPath: "\(folder)/signing.pem", toPath: "\(folder)/old.pem")
            try openssl(["genpkey", "-algorithm", "ed25519", "-out", "\(folder)/signing.pem"])
            var rotated = gateway.setup
            rotated["sessions"] = "{signing_key: {file: signing.pem}, previous_keys: [{file: old.pem}], login: {users_file: users}}"
            try gateway.write(rotated)
            gateway.process.send(signal: SIGHUP)
            try await eventually("it is applied") { try gateway.metric(Self.applied) == 1 }
            let carol = try gateway.call(
                "POST", "/auth/login", json: #"{"username":"carol","password":"\#(TestUsers.password(of: "alice"))"}"#)
            let token: String = try #require(carol.member("access_token"), "\(carol.text)")
            #expect(token.prefix { $0 != "." } != alice.access.prefix { $0 != "." }, "the key ids are different")
            #expect(try gateway.get("/orders", token: token).text.contains("x-auth-user: carol\n"))
            #expect(try gateway.get("/orders", token: alice.access).status == 200)

            rotated["sessions"] = "{signing_key: {file: signing.pem}, login: {users_file: users}}"
            try gateway.write(rotated)
            gateway.process.send(signal: SIGHUP)
            try await eventually("it is applied") { try gateway.metric(Self.applied) == 2 }
            #expect(try gateway.get("/orders", token: alice.access).code == "token_key_unknown")
            #expect(try gateway.get("/orders", token: token).status == 200)
        }
    }
}
