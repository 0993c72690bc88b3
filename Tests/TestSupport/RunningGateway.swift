// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation

/// `portcullis serve` as it runs somewhere: started, ready, spoken to over its sockets.
package final class RunningGateway: Sendable {
    package let process: PortcullisProcess
    /// As it was at the start, with the listeners that were chosen.
    package let setup: GatewaySetup
    package let port: Int
    package let adminPort: Int

    /// Starts a gateway and waits until it is ready.
    ///
    /// - Parameters:
    ///   - setup: without `listeners` and `admin` free ports are taken.
    ///   - sibling: a gateway whose key and users this one shares, as the gateways of a fleet do.
    ///   - isReady: what `/readyz` must have said before this returns; nil waits for nothing, and takes whatever becomes of the process.
    package static func start(_ setup: GatewaySetup, sibling: RunningGateway? = nil, isReady: Bool? = true) async throws -> RunningGateway {
        var attempt = 1
        while true {
            let gateway = try RunningGateway(setup, sibling: sibling)
            guard let isReady else { return gateway }
            do {
                try await eventually("/readyz is \(isReady ? 200 : 503)", within: .seconds(20)) {
                    try !gateway.process.isRunning || gateway.admin("GET", "/readyz").status == (isReady ? 200 : 503)
                }
            } catch {
                throw NotInTime(description: "\(error)\n\(gateway.process.output)\n\(gateway.process.errors)")
            }
            if gateway.process.isRunning { return gateway }
            // 69: somebody has taken a port meanwhile.
            guard gateway.process.exitCode == 69, attempt < 3 else {
                throw NotInTime(description: "the gateway ended:\n\(gateway.process.output)\n\(gateway.process.errors)")
            }
            attempt += 1
        }
    }

    private init(_ setup: GatewaySetup, sibling: RunningGateway?) throws {
        let ports = try freePorts(2)
        port = ports[0]
        adminPort = ports[1]
        var setup = setup
        if setup["listeners"] == nil { setup["listeners"] = "[{address: \"127.0.0.1:\(port)\"}]" }
        if setup["admin"] == nil { setup["admin"] = "{address: \"127.0.0.1:\(adminPort)\", token: {file: admin-token}}" }
        self.setup = setup
        let folder = try temporaryFolder("gateway")
        if let sibling {
            for name in ["signing.pem", "users"] {
                try FileManager.default.copyItem(atPath: "\(sibling.process.folder)/\(name)", toPath: "\(folder)/\(name)")
            }
        } else {
            try openssl(["genpkey", "-algorithm", "ed25519", "-out", "\(folder)/signing.pem"])
            try TestUsers.file.write(toFile: "\(folder)/users", atomically: true, encoding: .utf8)
        }
        try GatewaySetup.adminToken.write(toFile: "\(folder)/admin-token", atomically: true, encoding: .utf8)
        let path = "\(folder)/portcullis.yaml"
        try setup.text.write(toFile: path, atomically: true, encoding: .utf8)
        process = try PortcullisProcess(["serve", "--config", path], folder: folder)
    }

    package func stop() { process.stop() }

    /// Replaces the configuration file at once.
    package func write(_ setup: GatewaySetup) throws {
        try setup.text.write(toFile: process.configurationPath, atomically: true, encoding: .utf8)
    }

    /// One request on a connection of its own.
    package func call(
        _ method: String, _ target: String, token: String? = nil, json: String? = nil, fields: [(String, String)] = []
    ) throws -> HTTPMessage {
        try HTTPConnection(port: port).call(method, target, token: token, json: json, fields: fields)
    }

    package func get(_ target: String, token: String? = nil, fields: [(String, String)] = []) throws -> HTTPMessage {
        try call("GET", target, token: token, fields: fields)
    }

    /// One request to the admin listener.
    package func admin(
        _ method: String, _ target: String, token: String? = GatewaySetup.adminToken, json: String? = nil
    ) throws -> HTTPMessage {
        try HTTPConnection(port: adminPort).call(method, target, token: token, json: json)
    }

    /// The value of a sample on `/metrics`, by its name with its labels.
    package func metric(_ name: String) throws -> Double? {
        let lines = try admin("GET", "/metrics").text.split(separator: "\n")
        return lines.first { $0.hasPrefix("\(name) ") }.flatMap { Double($0.dropFirst(name.count + 1)) }
    }

    /// What a login gave.
    package struct Login: Sendable {
        package let answer: HTTPMessage
        package let access: String
        package let refresh: String
        package let session: String

        fileprivate init(_ answer: HTTPMessage, expected status: Int) throws {
            guard answer.status == status, let access = answer.member("access_token"), let refresh = answer.member("refresh_token"),
                let session = answer.member("session_id")
            else { throw NotInTime(description: "login: \(answer.start) \(answer.status == status ? "" : answer.text)") }
            (self.answer, self.access, self.refresh, self.session) = (answer, access, refresh, session)
        }
    }

    package func login(_ user: String = "alice", device: String = "phone") throws -> Login {
        try Login(
            call("POST", "/auth/login", json: #"{"username":"\#(user)","password":"\#(TestUsers.password(of: user))","device":"\#(device)"}"#),
            expected: 200)
    }

    /// A session that the admin API begins, for whatever user.
    package func begin(_ user: String) throws -> Login {
        try Login(admin("POST", "/v1/users/\(user)/sessions", json: "{}"), expected: 201)
    }
}

/// Runs `body` with a gateway of its own, which is ended afterwards.
package func withGateway<Result>(
    _ setup: GatewaySetup, sibling: RunningGateway? = nil, isReady: Bool = true, isolation: isolated (any Actor)? = #isolation,
    _ body: (RunningGateway) async throws -> Result
) async throws -> Result {
    let gateway = try await RunningGateway.start(setup, sibling: sibling, isReady: isReady)
    defer { gateway.stop() }
    return try await body(gateway)
}
