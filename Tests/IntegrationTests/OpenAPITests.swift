// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import TestSupport
import Testing

/// schemathesis reads the description that the program serves, makes up calls that follow it and calls that do not, and compares the answers with it. What it is
/// told is in `Tests/Schemathesis`.
@Suite("The OpenAPI description and the running program", .serialized)
struct OpenAPITests {
    enum Listener: String, CaseIterable, CustomTestStringConvertible {
        case sessions, admin
        var testDescription: String { "\(rawValue) API" }
    }

    enum Credentials: String, CaseIterable, CustomTestStringConvertible {
        case valid, none
        var testDescription: String { "\(rawValue) credentials" }
    }

    /// Of one run; it takes a tenth of that.
    private static let patience = Duration.seconds(150)
    private static let sources = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    private static let tool = sources.appendingPathComponent(".build/python/bin/schemathesis").path

    /// An identity provider that sends logout tokens.
    private static let issuer = "https://idp.example"
    private static let issuerSecret = "a secret of the tests, of 32 bytes or more"
    private static let issuers =
        "[{name: idp, issuer: \"\(issuer)\", audiences: [api], algorithms: [HS256], secret: \"\(issuerSecret)\", backchannel_logout: true}]"

    @Test("agree, whatever is asked", arguments: Listener.allCases, Credentials.allCases)
    func agree(listener: Listener, credentials: Credentials) async throws {
        try #require(FileManager.default.isExecutableFile(atPath: Self.tool), "there is no \(Self.tool): `make test` installs it")
        try await withEchoGateway(.redis, { $0["issuers"] = Self.issuers }) { gateway in
            let folder = try temporaryFolder("schemathesis")
            defer { try? FileManager.default.removeItem(atPath: folder) }
            let publicURL = "http://127.0.0.1:\(gateway.port)", adminURL = "http://127.0.0.1:\(gateway.adminPort)"
            let source = Self.sources.appendingPathComponent("Tests/Schemathesis").path
            var words = [
                "--chdir", folder, "PYTHONPATH=\(source)", "PYTHONDONTWRITEBYTECODE=1", "SCHEMATHESIS_HOOKS=hooks", "PORTCULLIS_ADMIN=\(adminURL)",
                "PORTCULLIS_ADMIN_TOKEN=\(GatewaySetup.adminToken)", "PORTCULLIS_PASSWORD=\(TestUsers.password(of: "alice"))",
                "PORTCULLIS_ISSUER=\(Self.issuer)", "PORTCULLIS_ISSUER_SECRET=\(Self.issuerSecret)", "PORTCULLIS_CREDENTIALS=\(credentials.rawValue)",
                "PORTCULLIS_STATUSES=\(folder)/statuses", Self.tool, "--config-file",
                "\(source)/schemathesis.toml", "run", "--seed", "1", "--no-color",
            ]
            switch listener {
            case .sessions: words += ["\(publicURL)/auth/openapi.json", "--url", publicURL]
            case .admin: words += ["\(adminURL)/openapi.json", "--url", adminURL, "--include-tag", "admin listener"]
            }
            let run = try ChildProcess("/usr/bin/env", words, output: "\(folder)/output")
            try await eventually("schemathesis ends", within: Self.patience) { !run.isRunning }
            let output = try String(contentsOfFile: "\(folder)/output", encoding: .utf8)
            // A call with a body of the largest size is printed whole.
            #expect(run.exitCode == 0, "\(output.split(separator: "\n").map { $0.prefix(300) }.joined(separator: "\n"))")
            #expect(gateway.process.isRunning && gateway.process.errors.isEmpty)

            let statuses = try JSONDecoder().decode(
                [String: [String: Int]].self, from: Data(contentsOf: URL(fileURLWithPath: "\(folder)/statuses")))
            try expectReached(statuses, listener, credentials)
        }
    }

    /// Whether the run saw what it is about: with credentials each call that succeeds, without them none that needs one.
    private func expectReached(_ statuses: [String: [String: Int]], _ listener: Listener, _ credentials: Credentials) throws {
        let open = listener == .sessions ? ["publishedKeys"] : ["health", "readiness", "metrics", "describe"]
        let successful =
            listener == .sessions
            ? ["login", "refresh", "logout", "logoutAll", "listSessions", "endSession", "currentSession", "backchannelLogout"]
            : ["createSession", "listUserSessions", "endUserSessions", "registerSession", "endUserSession", "introspect", "revoke", "edges"]
        #expect(Set(statuses.keys) == Set(open + successful))
        for (operation, answered) in statuses {
            let isSuccessful = answered.contains { $0.key.hasPrefix("2") }
            let expected = open.contains(operation) || (successful.contains(operation) && credentials == .valid)
            #expect(isSuccessful == expected, "\(operation): \(answered)")
        }
    }
}
