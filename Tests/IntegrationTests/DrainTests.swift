// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import TestSupport
import Testing

@Suite("The end of the process", .serialized)
struct DrainTests {
    /// A gateway with one idle connection and one whose answer is not complete yet.
    private func withOpenRequest(
        drain: String = "30s", _ body: (RunningGateway, ReleasedUpstream, HTTPConnection, HTTPConnection) async throws -> Void
    ) async throws {
        let upstream = try ReleasedUpstream()
        defer { upstream.stop() }
        var setup = GatewaySetup(upstream: upstream.port)
        setup["shutdown"] = "{drain: \(drain)}"
        // On one loop the end of the idle connection tells that the drain has begun for the others.
        setup["workers"] = "1"
        try await withGateway(setup) { gateway in
            let open = try HTTPConnection(port: gateway.port), idle = try HTTPConnection(port: gateway.port)
            #expect(try idle.get("/.well-known/jwks.json").status == 200)
            open.socket.write(HTTPConnection.head("GET", "/public", []))
            // The upstream has begun its answer, and the gateway to pass it on.
            try await eventually("the answer has begun") { upstream.waiting == 1 && open.socket.hasBytes }
            try await body(gateway, upstream, open, idle)
        }
    }

    @Test(
        "SIGTERM and SIGINT drain: nothing new is taken, what is idle is closed, an open request ends well, then exit 0",
        arguments: [SIGTERM, SIGINT])
    func drains(signal: Int32) async throws {
        try await withOpenRequest { gateway, upstream, open, idle in
            let late = try HTTPConnection(port: gateway.port)
            late.socket.write(HTTPConnection.head("GET", "/public/late", []))
            try await eventually("both requests are under way") { upstream.waiting == 2 }
            gateway.process.send(signal: signal)
            try await eventually("not ready any more") { try gateway.admin("GET", "/readyz").status == 503 }
            #expect(try gateway.admin("GET", "/healthz").status == 200)
            #expect(idle.socket.read().isEmpty)
            try await eventually("no new connection is taken") {
                do {
                    _ = try HTTPConnection(port: gateway.port).get("/public")
                    return false
                } catch { return true }
            }
            #expect(gateway.process.isRunning && upstream.waiting == 2)
            upstream.release()
            for connection in [open, late] {
                let answer = try connection.answer()
                #expect(answer.status == 200 && answer.isWhole && answer.text == "first-last")
                if connection === late { #expect(answer["Connection"] == ["close"]) }
                #expect(connection.socket.read().isEmpty)
                connection.close()
            }
            #expect(try await gateway.process.exit() == 0)
            #expect(gateway.process.errors.isEmpty)
        }
    }

    @Test("what is still open when the time of the drain is over is cut, so that it does not look whole, and the exit is 0")
    func timeIsOver() async throws {
        try await withOpenRequest(drain: "300ms") { gateway, upstream, open, _ in
            gateway.process.send(signal: SIGTERM)
            #expect(try await gateway.process.exit(within: .seconds(10)) == 0)
            #expect(upstream.waiting == 1)
            let answer = try open.answer()
            #expect(answer.status == 200 && !answer.isWhole)
        }
    }

    @Test("a second signal ends the process at once, whatever is open")
    func secondSignal() async throws {
        try await withOpenRequest { gateway, _, open, _ in
            gateway.process.send(signal: SIGTERM)
            try await eventually("not ready any more") { try gateway.admin("GET", "/readyz").status == 503 }
            #expect(gateway.process.isRunning)
            gateway.process.send(signal: SIGTERM)
            // Far less than the drain would take.
            _ = try await gateway.process.exit(within: .seconds(5))
            #expect(try !open.answer().isWhole)
        }
    }

    @Test("a WebSocket lives until the time of the drain is over, and is closed with 1001")
    func webSocket() async throws {
        let upstream = try FakeServer.webSocketEcho()
        defer { upstream.stop() }
        var setup = GatewaySetup(upstream: upstream.port)
        // Long enough that a busy machine sees the gateway drain.
        setup["shutdown"] = "{drain: 4s}"
        setup["workers"] = "1"
        try await withGateway(setup) { gateway in
            let socket = try WebSocketPeer(gateway, token: gateway.login().access), idle = try HTTPConnection(port: gateway.port)
            #expect(socket.echoes("before"))
            #expect(try idle.get("/.well-known/jwks.json").status == 200)
            gateway.process.send(signal: SIGTERM)
            // On one loop the end of an idle connection tells that the drain has begun. Nothing is awaited: others might keep this from going on.
            #expect(idle.socket.read().isEmpty)
            #expect(socket.echoes("during"))
            #expect(socket.closeCode() == 1001)
            #expect(try await gateway.process.exit() == 0)
        }
    }
}
