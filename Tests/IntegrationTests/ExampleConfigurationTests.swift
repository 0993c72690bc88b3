// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import TestSupport
import Testing

@Suite("The example configuration")
struct ExampleConfigurationTests {
    /// `deploy/portcullis.yaml` of these sources.
    private static let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../deploy/portcullis.yaml")
        .standardizedFileURL.path

    @Test("with a key made as it says and a users file it starts, and serves what its comments promise; only its ports are changed here")
    func serves() async throws {
        let upstream = try FakeServer.echo()
        defer { upstream.stop() }
        try await withRedisServer { redis in
            let ports = try freePorts(2)
            let (port, adminPort) = (ports[0], ports[1])
            var text = try String(contentsOfFile: Self.path, encoding: .utf8)
            for (written, used) in [(8080, port), (9180, adminPort), (6379, redis.port), (9001, upstream.port)] {
                let address = "\"127.0.0.1:\(written)\""
                #expect(text.components(separatedBy: address).count == 2, "\(address) is there once")
                text = text.replacingOccurrences(of: address, with: "\"127.0.0.1:\(used)\"")
            }
            let folder = try temporaryFolder("example")
            let file = "\(folder)/portcullis.yaml"
            try text.write(toFile: file, atomically: true, encoding: .utf8)
            try TestUsers.file.write(toFile: "\(folder)/users", atomically: true, encoding: .utf8)
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: "\(folder)/users")
            let key = try await PortcullisProcess.run("keys", "generate", "--algorithm", "EdDSA", "--out", "\(folder)/signing.pem")
            #expect(key.exitCode == 0)
            let check = try await PortcullisProcess.run("check", "--config", file)
            #expect(check.exitCode == 0 && check.errors.isEmpty, "\(check)")

            let process = try PortcullisProcess(["serve", "--config", file], folder: folder)
            defer { process.stop() }
            try await eventually("it is ready", within: .seconds(20)) {
                guard process.isRunning else { throw NotInTime(description: process.errors) }
                return try HTTPConnection(port: adminPort).get("/readyz").status == 200
            }
            let client = try HTTPConnection(port: port)
            #expect(try client.get("/public/page").status == 200)
            #expect(try client.get("/page").code == "token_missing")
            let password = TestUsers.password(of: "bob")
            // The times that Redis is given are the short ones that a gateway has by default.
            func inTime(_ call: () throws -> HTTPMessage) async throws -> HTTPMessage {
                var answer: HTTPMessage?
                try await eventually("the store is in time") {
                    answer = try call()
                    return answer?.code != "store_unavailable"
                }
                return try #require(answer)
            }
            let login = try await inTime { try client.call("POST", "/auth/login", json: #"{"username":"bob","password":"\#(password)"}"#) }
            let token: String = try #require(login.member("access_token"), "\(login.text)")
            #expect(try await inTime { try client.get("/page", token: token) }.text.contains("x-auth-user: bob\n"))
            #expect(try redis.command("SISMEMBER", "portcullis:sessions:{bob}", #require(login.member("session_id") as String?)) == .integer(1))
            #expect(try await inTime { try client.call("POST", "/auth/logout", token: token) }.status == 204)
            #expect(try await inTime { try client.get("/page", token: token) }.code == "session_revoked")
            // Without a token in the configuration the admin API is not there.
            #expect(try HTTPConnection(port: adminPort).get("/v1/edges", token: "x").status == 404)
            process.send(signal: SIGTERM)
            client.close()
            #expect(try await process.exit() == 0)
        }
    }
}
