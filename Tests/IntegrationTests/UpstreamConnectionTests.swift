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
