// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import TestSupport
import Testing

@Suite("portcullis-bench against real gateways", .serialized)
struct BenchTests {
    private func bench(_ arguments: [String], within: Duration = .seconds(60)) async throws -> PortcullisProcess.Result {
        try await PortcullisProcess.run(arguments, program: "portcullis-bench", within: within)
    }

    private func json(_ result: PortcullisProcess.Result) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any], "\(result)")
    }

    /// Two gateways on one Redis, in front of a service with WebSockets at `/socket`.
    private func withFleet(_ body: (RunningGateway, RunningGateway) async throws -> Void) async throws {
        let upstream = try FakeServer.echo(), sockets = try FakeServer.webSocketEcho()
        defer {
            upstream.stop()
            sockets.stop()
        }
        try await withRedisServer { redis in
            var setup = GatewaySetup(upstream: upstream.port, redis: redis)
            setup["upstreams"] = "{legacy: {endpoints: [\"127.0.0.1:\(upstream.port)\"]}, sockets: {endpoints: [\"127.0.0.1:\(sockets.port)\"]}}"
            setup["routes"] = "[{path: /socket, upstream: sockets}, {path: /, upstream: legacy}]"
            try await withGateway(setup) { one in
                try await withGateway(setup, sibling: one) { other in try await body(one, other) }
            }
        }
    }

    private func fleet(_ gateways: RunningGateway...) -> [String] {
        [
            "revocation", "--edges", gateways.map { "http://127.0.0.1:\($0.port)" }.joined(separator: ","), "--admin",
            "http://127.0.0.1:\(gateways[0].adminPort)", "--token-file", "\(gateways[0].process.folder)/admin-token",
        ]
    }

    @Test("no request that is sent after a logout's answer passes on any gateway, and WebSockets are closed, also while one is paused for a while")
    func revocation() async throws {
        try await withFleet { one, other in
            let fault = "kill -STOP \(other.process.identifier); sleep 0.5; kill -CONT \(other.process.identifier)"
            let page = "\(one.process.folder)/report.html", file = "\(one.process.folder)/report.json"
            // Longer than the report will be, and replaced by it.
            try String(repeating: "{", count: 100_000).write(toFile: file, atomically: true, encoding: .utf8)
            let result = try await bench(
                fleet(one, other) + [
                    "--logouts", "12", "--sessions", "3", "--settle", "300ms", "--websocket-path", "/socket", "--during", fault, "--html", page,
                    "--json", file,
                ])
            #expect(result.exitCode == 0 && result.output.isEmpty, "\(result)")
            let report = try #require(try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: file))) as? [String: Any])
            #expect(report["logouts"] as? Int == 12 && report["late_2xx"] as? Int == 0 && report["abandoned"] as? Int == 0)
            let edges = try #require(report["edges"] as? [[String: Any]])
            #expect(edges.map { $0["url"] as? String } == [one, other].map { "http://127.0.0.1:\($0.port)/" })
            for edge in edges {
                #expect((edge["last_2xx_ms"] as? [String: Double])?["max"].map { $0 <= 0 } == true, "\(edge)")
                #expect(
                    edge["websockets_open"] as? Int == 0 && edge["websockets_refused"] as? Int == 0 && edge["unconfirmed"] as? Int == 0, "\(edge)")
                // The close frame and the answer come on two connections: which is read first is the harness's doing.
                #expect((edge["websocket_cut_ms"] as? [String: Double])?["p50"].map { $0 < 50 } == true, "\(edge)")
            }
            #expect((report["during"] as? [String: Any])?["exit_code"] as? Int == 0)
            #expect(try String(contentsOfFile: page, encoding: .utf8).contains("<svg"))
        }
    }

    @Test("a route that asks for no session lets requests pass after the logout, which is told and ends with 1")
    func open() async throws {
        try await withEchoGateway(.memory) { gateway in
            let result = try await bench(fleet(gateway) + ["--path", "/public", "--logouts", "2", "--observe", "500ms"])
            #expect(result.exitCode == 1 && result.errors.contains("got a 2xx"), "\(result)")
            #expect((try json(result)["late_2xx"] as? Int).map { $0 > 0 } == true)
        }
    }

    @Test("a load of many tokens is measured, with the CPU time and memory of the gateway")
    func load() async throws {
        try await withEchoGateway(.memory) { gateway in
            let folder = gateway.process.folder
            let logins = try ["alice", "bob"].map { try gateway.login($0) }
            try logins.map { $0.access + "\n" }.joined().write(toFile: "\(folder)/tokens", atomically: true, encoding: .utf8)
            let scenario = "requests:\n  - {path: /orders, weight: 3}\n  - {path: /public, token: false}\n  - {path: /orders, token: false}\n"
            try scenario.write(toFile: "\(folder)/mix.yaml", atomically: true, encoding: .utf8)
            let result = try await bench([
                "run", "--url", "http://127.0.0.1:\(gateway.port)", "--rate", "100", "--duration", "2s", "--warmup", "500ms", "--token-file",
                "\(folder)/tokens", "--scenario", "\(folder)/mix.yaml", "--pid", "\(gateway.process.identifier)",
            ])
            #expect(result.exitCode == 0 && result.errors.isEmpty, "\(result)")
            let report = try json(result)
            let errors = try #require(report["errors"] as? [String: Int])
            #expect(
                report["requests"] as? Int == 200 && errors.keys.elementsEqual(["status_401"]) && errors["status_401"].map { 15...75 ~= $0 } == true)
            let process = try #require(report["process"] as? [String: Double])
            #expect(process["pid"] == Double(gateway.process.identifier) && process["rss_bytes"].map { $0 > 1_000_000 } == true)
            #expect(process["cpu_s"].map { $0 > 0 } == true)
        }
    }

    @Test("Control-C ends the schedule, and the report is of the time until then")
    func interruption() async throws {
        let upstream = try FakeServer.echo()
        defer { upstream.stop() }
        let run = try PortcullisProcess(
            ["run", "--url", "http://127.0.0.1:\(upstream.port)/", "--rate", "50", "--duration", "1h"], program: "portcullis-bench")
        defer { run.stop() }
        try await eventually("it is at work") { upstream.acceptedConnections > 0 }
        run.send(signal: SIGINT)
        #expect(try await run.exit() == 0 && run.errors.contains("interrupted"), "\(run.errors)")
        let report = try #require(try JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [String: Any], "\(run.output)")
        #expect((report["duration_s"] as? Double).map { $0 < 60 } == true && report["requests"] as? Int == report["ok"] as? Int)
    }

    @Test(
        "wrong usage is told on standard error: 64",
        arguments: [
            [], ["dance"], ["run"], ["run", "--url", "http://127.0.0.1:1/", "--rate", "fast", "--duration", "1s"],
            ["run", "--url", "http://127.0.0.1:1/", "--rate", "1", "--connections", "1", "--duration", "1s"],
            ["run", "--url", "http://127.0.0.1:1/", "--duration", "1s"], ["run", "--url", "127.0.0.1:1", "--rate", "1", "--duration", "1s"],
            ["run", "--url", "http://127.0.0.1:1/", "--rate", "1", "--duration", "1"],
            ["run", "--url", "http://127.0.0.1:1/", "--rate", "1", "--duration", "5h"],
            ["run", "--url", "http://127.0.0.1:1/", "--rate", "1", "--duration", "1s", "--streams", "2"],
            ["run", "--url", "http://127.0.0.1:1/", "--rate", "1", "--duration", "1s", "--json", "/dev/null", "--html", "/dev/null"],
            ["run", "--url", "http://127.0.0.1:1/orders", "--rate", "1", "--duration", "1s", "--scenario", "/dev/null"],
            ["revocation", "--edges", "http://127.0.0.1:1/"], ["revocation", "--edges", "http://127.0.0.1:1/", "--admin", "http://127.0.0.1:1/"],
            ["revocation", "--edges", "", "--admin", "http://127.0.0.1:1/", "--token-file", "/dev/null"],
        ])
    func usage(arguments: [String]) async throws {
        let result = try await bench(arguments)
        #expect(result.exitCode == 64 && !result.errors.isEmpty && result.output.isEmpty, "\(result)")
    }

    @Test("what cannot be reached or read ends it with one line that says what: 69, and 78 for a scenario with mistakes, each with its place")
    func unavailable() async throws {
        let folder = try temporaryFolder("bench")
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let nobody = try LoopbackSocket.deaf()
        defer { nobody.shutdown() }
        let run = ["run", "--url", "http://127.0.0.1:\(nobody.port)/", "--connections", "2", "--duration", "60s"]
        for (more, word) in [
            ([], "refused"), (["--pid", "999999999"], "999999999"), (["--token-file", "\(folder)/none"], "\(folder)/none"),
            (["--json", "\(folder)/no/folder"], "\(folder)/no/folder"), (["--html", folder], folder),
        ] {
            let result = try await bench(run + more)
            #expect(result.exitCode == 69 && result.errors.contains(word) && result.errors.split(separator: "\n").count == 1, "\(result)")
        }
        // What an earlier run has written stays until there is something new.
        try "of an earlier run".write(toFile: "\(folder)/report", atomically: true, encoding: .utf8)
        #expect(try await bench(run + ["--json", "\(folder)/report"]).exitCode == 69)
        #expect(try String(contentsOfFile: "\(folder)/report", encoding: .utf8) == "of an earlier run")
        try GatewaySetup.adminToken.write(toFile: "\(folder)/token", atomically: true, encoding: .utf8)
        try "requests:\n  - {path: nowhere}\n  - {weight: 0, path: /}\n".write(toFile: "\(folder)/mix.yaml", atomically: true, encoding: .utf8)
        let result = try await bench(run + ["--scenario", "\(folder)/mix.yaml"])
        #expect(result.exitCode == 78, "\(result)")
        let places = result.errors.split(separator: "\n").map { $0.split(separator: " ").prefix(2).joined(separator: " ") }
        #expect(places == ["\(folder)/mix.yaml:2:12: requests[0].path:", "\(folder)/mix.yaml:3:14: requests[1].weight:"])
    }
}
