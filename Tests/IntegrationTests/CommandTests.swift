// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import TestSupport
import Testing

@Suite("Commands and their exit codes", .serialized)
struct CommandTests {
    private func withFolder(_ body: (String) async throws -> Void) async throws {
        let folder = try temporaryFolder("commands")
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try await body(folder)
    }

    private func write(_ text: String, to path: String) throws { try text.write(toFile: path, atomically: true, encoding: .utf8) }

    @Test("check says that a good configuration has no mistakes: 0")
    func good() async throws {
        try await withFolder { folder in
            try write("{}", to: "\(folder)/a.yaml")
            let result = try await PortcullisProcess.run("check", "--config", "\(folder)/a.yaml")
            #expect(result.exitCode == 0 && result.errors.isEmpty && result.output.contains("\(folder)/a.yaml"))
        }
    }

    @Test("check and serve print every mistake with its place, in the order of the lines: 78")
    func mistakes() async throws {
        try await withFolder { folder in
            let path = "\(folder)/a.yaml"
            try write(
                """
                workers: many
                sessions:
                  signing_key: {file: missing.pem}
                  access_token_lifetime: 5
                routes:
                  - {path: /, upstream: nowhere, color: green}
                """, to: path)
            let check = try await PortcullisProcess.run("check", "--config", path)
            let serve = try await PortcullisProcess.run("serve", "--config", path)
            #expect(check.exitCode == 78 && serve.exitCode == 78 && check.errors == serve.errors && check.output.isEmpty)
            let places = check.errors.split(separator: "\n").map { line in line.split(separator: " ").prefix(2).joined(separator: " ") }
            #expect(
                places == [
                    "\(path):1:10: workers:", "\(path):3:23: sessions.signing_key.file:", "\(path):4:26: sessions.access_token_lifetime:",
                    "\(path):6:25: routes[0].upstream:", "\(path):6:34: routes[0].color:",
                ])
            for word in ["nowhere", "green", "missing.pem"] { #expect(!check.errors.contains(word)) }
            #expect(try await PortcullisProcess.run("check", "--config", "\(folder)/absent.yaml").exitCode == 78)
        }
    }

    @Test(
        "keys generate makes a key that only its owner can read, never in another file's place, and serve signs with it",
        arguments: ["EdDSA", "ES256", "RS256"])
    func keys(algorithm: String) async throws {
        try await withFolder { folder in
            let path = "\(folder)/signing.pem"
            #expect(try await PortcullisProcess.run("keys", "generate", "--algorithm", algorithm, "--out", path).exitCode == 0)
            let made = try String(contentsOfFile: path, encoding: .utf8)
            #expect(made.hasPrefix("-----BEGIN PRIVATE KEY-----\n") && made.hasSuffix("-----END PRIVATE KEY-----\n"))
            #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o600)
            let again = try await PortcullisProcess.run("keys", "generate", "--algorithm", algorithm, "--out", path)
            #expect(again.exitCode == 64 && again.errors.split(separator: "\n").count == 1 && again.errors.contains(path))
            #expect(try String(contentsOfFile: path, encoding: .utf8) == made)
            let printed = try await PortcullisProcess.run("keys", "generate", "--algorithm", algorithm)
            #expect(printed.exitCode == 0 && printed.output.hasPrefix("-----BEGIN PRIVATE KEY-----\n") && printed.output != made)

            try await withEchoGateway(.memory) {
                $0["sessions"] = "{signing_key: {file: \"\(path)\"}, login: {users_file: users}}"
            } _: { gateway in
                let login = try gateway.login()
                #expect(try gateway.get("/orders", token: login.access).status == 200)
                let keys = try gateway.get("/.well-known/jwks.json").member("keys", as: [[String: Any]].self)
                #expect(keys?.map { $0["alg"] as? String } == [algorithm])
            }
        }
    }

    @Test(
        "wrong usage is told on standard error: 64",
        arguments: [
            [], ["dance"], ["serve"], ["serve", "--config"], ["check"], ["keys"], ["keys", "generate", "--algorithm", "HS256"], ["keys", "generate"],
            ["demo", "--port", "0"], ["demo", "--redis", "localhost"], ["sessions", "list", "alice"],
            ["sessions", "list", "alice", "--admin", "127.0.0.1:1", "--token-file", "/dev/null"],
        ])
    func usage(arguments: [String]) async throws {
        let result = try await PortcullisProcess.run(arguments)
        #expect(result.exitCode == 64 && !result.errors.isEmpty && result.output.isEmpty, "\(result)")
    }

    @Test("an address that cannot be bound ends serve and demo with one line that names it: 69")
    func cannotBind() async throws {
        let taken = try FakeServer { $0.waitForEnd() }
        defer { taken.stop() }
        try await withFolder { folder in
            let path = "\(folder)/a.yaml"
            let free = try freePort()
            for (listener, admin) in [(taken.port, free), (free, taken.port)] {
                try write(
                    "{store: {kind: memory}, listeners: [{address: \"127.0.0.1:\(listener)\"}], admin: {address: \"127.0.0.1:\(admin)\"}}", to: path)
                let serve = try await PortcullisProcess.run("serve", "--config", path)
                #expect(serve.exitCode == 69 && serve.errors.contains("127.0.0.1:\(taken.port)"), "\(serve)")
                #expect(serve.errors.split(separator: "\n").count == 1)
            }
            let demo = try await PortcullisProcess.run("demo", "--port", "\(taken.port)")
            #expect(demo.exitCode == 69 && demo.errors.contains("\(taken.port)"))
        }
    }

    @Test("sessions makes, lists and ends sessions of a running gateway, and says 69 where there is none")
    func sessions() async throws {
        try await withEchoGateway(.memory) { gateway in
            let phone = try gateway.login()
            let target = ["--admin", "http://127.0.0.1:\(gateway.adminPort)", "--token-file", "\(gateway.process.folder)/admin-token"]
            func sessions(_ words: [String], _ target: [String]) async throws -> PortcullisProcess.Result {
                try await PortcullisProcess.run(["sessions"] + words + target)
            }
            let made = try await sessions(["create", "alice", "--json"], target)
            let answer = try #require(try JSONSerialization.jsonObject(with: Data(made.output.utf8)) as? [String: Any])
            let token = try #require(answer["access_token"] as? String)
            #expect(try gateway.get("/orders", token: token).status == 200)
            let list = try await sessions(["list", "alice"], target)
            #expect(list.exitCode == 0 && list.output.split(separator: "\n").count == 3 && list.output.contains(phone.session))
            #expect(try await sessions(["revoke", "alice", phone.session], target).exitCode == 0)
            #expect(try gateway.get("/orders", token: phone.access).code == "session_revoked")
            #expect(try gateway.get("/orders", token: token).status == 200)
            #expect(try await sessions(["revoke-all", "alice"], target).output == "Every session has ended; 1 were in the list\n")
            #expect(try gateway.get("/orders", token: token).code == "session_revoked")
            let nameless = try await sessions(["list", " alice"], target)
            #expect(nameless.exitCode == 69 && nameless.errors.contains("it answered 400 bad_request: "), "\(nameless)")
            #expect(nameless.errors.split(separator: "\n").count == 1)
            let deaf = try LoopbackSocket.deaf()
            defer { deaf.shutdown() }
            let nobody = try await sessions(["list", "alice"], ["--admin", "http://127.0.0.1:\(deaf.port)"] + target.suffix(2))
            #expect(nobody.exitCode == 69 && nobody.errors.hasSuffix(" cannot be reached: Connection refused\n"), "\(nobody)")
            #expect(nobody.errors.split(separator: "\n").count == 1)
        }
    }
}
