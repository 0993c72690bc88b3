// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import TestSupport
import Testing

@Suite("Connections to upstreams", .serialized)
struct UpstreamConnectionTests {
    @Test("an endpoint never has more connections than max_connections; who waits for one is served when one is free")
    func limit() async throws {
        let upstream = try ReleasedUpstream()
        defer { upstream.stop() }
        var setup = GatewaySetup(endpoints: [upstream.port], "max_connections: 2, connect_timeout: 20s")
        setup["workers"] = "2"
        try await withGateway(setup) { gateway in
            let clients = try (0..<6).map { _ in try HTTPConnection(port: gateway.port) }
            for client in clients { client.socket.write(HTTPConnection.head("GET", "/public/late", [])) }
            try await eventually("all requests have come, two are with the upstream") {
                try upstream.waiting == 2 && gateway.metric("portcullis_connections{state=\"active\"}") == 6
            }
            #expect(try SocketTable.connections(to: upstream.port) == 2)
            upstream.release()
            for client in clients {
                let answer = try client.answer()
                #expect(answer.status == 200 && answer.text == "first-last")
            }
            #expect(upstream.mostAtOnce <= 2)
        }
    }

    @Test("who has waited for a connection as long as connect_timeout gets 503, and the others nothing of it")
    func exhausted() async throws {
        let upstream = try ReleasedUpstream()
        defer { upstream.stop() }
        try await withGateway(GatewaySetup(endpoints: [upstream.port], "max_connections: 1, connect_timeout: 200ms")) { gateway in
            let first = try HTTPConnection(port: gateway.port)
            first.socket.write(HTTPConnection.head("GET", "/public/late", []))
            try await eventually("it is with the upstream") { upstream.waiting == 1 }
            let second = try gateway.get("/public/late")
            #expect(second.status == 503 && second.code == "no_healthy_upstream" && second["Retry-After"].count == 1)
            upstream.release()
            #expect(try first.answer().text == "first-last")
            #expect(try gateway.get("/public/late").text == "first-last")
        }
    }

    @Test("a body that breaks while its connection to the upstream is being made costs no place there")
    func brokenWhileConnecting() async throws {
        let upstream = try FakeServer.echo()
        defer { upstream.stop() }
        var setup = GatewaySetup(endpoints: [upstream.port], "max_connections: 1, connect_timeout: 2s")
        setup["workers"] = "1"
        try await withGateway(setup) { gateway in
            for _ in 0..<3 {
                let client = try HTTPConnection(port: gateway.port)
                client.socket.write(HTTPConnection.head("POST", "/public", [("Transfer-Encoding", "chunked")]) + "ZZ\r\n")
                #expect(try client.answer().status == 400)
                #expect(try gateway.get("/public").status == 200)
            }
        }
    }

    @Test("the body of a request that has waited behind another one goes on to the upstream, though reading had stopped before it")
    func pipelinedBody() async throws {
        let upstream = try ReleasedUpstream()
        defer { upstream.stop() }
        try await withGateway(GatewaySetup(endpoints: [upstream.port], "max_connections: 1")) { gateway in
            let client = try HTTPConnection(port: gateway.port)
            let size = 4 << 20
            client.socket.write(HTTPConnection.head("GET", "/public/late", []))
            try await eventually("the first is with the upstream") { upstream.waiting == 1 }
            let socket = client.socket
            Thread.detachNewThread {
                let body = String(size, radix: 16) + "\r\n" + String(repeating: "x", count: size) + "\r\n0\r\n\r\n"
                socket.write(HTTPConnection.head("POST", "/public/late", [("Transfer-Encoding", "chunked")]) + body)
            }
            try await eventually("the gateway has stopped reading") { try SocketTable.unread(at: gateway.port) > 0 }
            upstream.release()
            #expect(try client.answer().text == "first-last")
            #expect(try client.answer(to: "POST").text == "first-last")
        }
    }

    @Test("a connection is used again, and closed when it has been idle for idle_timeout")
    func idle() async throws {
        let upstream = try ScriptedUpstream { _, _ in .answer }
        defer { upstream.stop() }
        var setup = GatewaySetup(endpoints: [upstream.port], "idle_timeout: 30s")
        try await withGateway(setup) { gateway in
            for _ in 0..<5 { #expect(try gateway.get("/public").status == 200) }
            #expect(upstream.acceptedConnections == 1 && upstream.openConnections == 1)
            setup = gateway.setup
            setup["upstreams"] = "{legacy: {endpoints: [\"127.0.0.1:\(upstream.port)\"], idle_timeout: 200ms}}"
            try gateway.write(setup)
            gateway.process.send(signal: SIGHUP)
            try await eventually("a pool with other times begins anew") {
                try gateway.metric("portcullis_config_reloads_total{outcome=\"applied\"}") == 1
            }
            #expect(try gateway.get("/public").status == 200)
            try await eventually("it is closed") { upstream.openConnections == 0 }
            #expect(try gateway.get("/public").status == 200)
            #expect(upstream.acceptedConnections == 3)
        }
    }
}
