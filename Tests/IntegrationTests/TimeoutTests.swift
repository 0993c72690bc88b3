// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport
import Testing

@Suite("Times that are too long", .serialized)
struct TimeoutTests {
    private static let idleStreams = "portcullis_streams_closed_total{reason=\"idle\"}"

    @Test("an upstream that does not answer within response_timeout is 504 once, and its connection is not used again")
    func response() async throws {
        let upstream = try ScriptedUpstream { number, _ in number == 1 ? .stall("") : .answer }
        defer { upstream.stop() }
        try await withGateway(GatewaySetup(endpoints: [upstream.port], "response_timeout: 1s, retries: 3")) { gateway in
            let answer = try gateway.get("/public")
            #expect(answer.status == 504 && answer.code == "upstream_timeout")
            #expect(upstream.requests.count == 1, "it is not sent again")
            try await eventually("its connection is closed") { upstream.openConnections == 0 }
            #expect(try gateway.get("/public").status == 200)
            #expect(upstream.acceptedConnections == 2)
        }
    }

    @Test("response_timeout begins with the end of the request: a slow body does not count")
    func slowBody() async throws {
        let upstream = try ScriptedUpstream { _, _ in .answer }
        defer { upstream.stop() }
        try await withGateway(GatewaySetup(endpoints: [upstream.port], "response_timeout: 1s")) { gateway in
            let client = try HTTPConnection(port: gateway.port)
            client.socket.write(HTTPConnection.head("POST", "/public", [("Content-Length", "10")]) + "first")
            #expect(client.socket.staysSilent(for: .seconds(2)))
            client.socket.write("-last")
            let answer = try client.answer(to: "POST")
            #expect(answer.status == 200 && answer.text == "10")
        }
    }

    @Test("an answer that stands still for stream_idle_timeout is cut so that it does not look whole, on both sides")
    func stalledAnswer() async throws {
        let upstream = try ScriptedUpstream { _, _ in .stall("HTTP/1.1 200 OK\r\n\r\nno end is known") }
        defer { upstream.stop() }
        var setup = GatewaySetup(endpoints: [upstream.port])
        setup["limits"] = "{stream_idle_timeout: 400ms}"
        try await withGateway(setup) { gateway in
            let client = try HTTPConnection(port: gateway.port)
            client.socket.write("GET /public HTTP/1.0\r\nHost: app.example\r\n\r\n")
            #expect(client.socket.ending() == .reset, "its end would be the answer's")
            try await eventually("the upstream's side is closed") { upstream.openConnections == 0 }
            #expect(try gateway.metric(Self.idleStreams) == 1)
        }
    }

    @Test("a body that stands still for stream_idle_timeout ends its exchange")
    func stalledBody() async throws {
        let upstream = try ScriptedUpstream { _, _ in .answer }
        defer { upstream.stop() }
        var setup = GatewaySetup(endpoints: [upstream.port])
        setup["limits"] = "{stream_idle_timeout: 400ms}"
        try await withGateway(setup) { gateway in
            let client = try HTTPConnection(port: gateway.port)
            client.socket.write(HTTPConnection.head("POST", "/public", [("Content-Length", "10")]) + "first")
            #expect(client.socket.ending() == .reset)
            try await eventually("the upstream's side is closed") { upstream.openConnections == 0 }
            #expect(upstream.requests.allSatisfy { !$0.isWhole }, "the upstream never takes it for whole")
            #expect(try gateway.metric(Self.idleStreams) == 1)
        }
    }

    @Test("a tunnel lives as long as bytes come, and ends when none has for stream_idle_timeout")
    func tunnel() async throws {
        let upstream = try FakeServer.webSocketEcho()
        defer { upstream.stop() }
        var setup = GatewaySetup(upstream: upstream.port)
        setup["limits"] = "{stream_idle_timeout: 1s}"
        try await withGateway(setup) { gateway in
            let login = try gateway.login()
            let peer = try WebSocketPeer(gateway, token: login.access)
            let clock = ContinuousClock(), end = clock.now + .seconds(3)
            while clock.now < end { try #require(peer.echoes("still here")) }
            #expect(peer.closeCode() == nil, "it is cut")
            try await eventually("the upstream's side is closed") { upstream.openConnections == 0 }
            #expect(try gateway.metric(Self.idleStreams) == 1)
        }
    }
}
