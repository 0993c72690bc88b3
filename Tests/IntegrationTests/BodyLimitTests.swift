// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import TestSupport
import Testing

@Suite("The limit of a request's body", .serialized)
struct BodyLimitTests {
    private static let applied = "portcullis_config_reloads_total{outcome=\"applied\"}"
    private static let chunkedHead = HTTPConnection.head("POST", "/public", [("Transfer-Encoding", "chunked")])

    private func use(_ limit: String, in gateway: RunningGateway) async throws {
        let before = try #require(try gateway.metric(Self.applied))
        var setup = gateway.setup
        setup["limits"] = "{body_bytes: \(limit)}"
        try gateway.write(setup)
        gateway.process.send(signal: SIGHUP)
        try await eventually("body_bytes is \(limit)") { try gateway.metric(Self.applied) ?? 0 > before }
    }

    private func chunk(_ count: Int) -> String { "\(String(count, radix: 16))\r\n\(String(repeating: "a", count: count))\r\n" }

    /// A request that the gateway has begun: its upstream's connection is open.
    private func begin(_ gateway: RunningGateway, _ upstream: ScriptedUpstream, _ first: Int) async throws -> HTTPConnection {
        let before = upstream.acceptedConnections
        let client = try HTTPConnection(port: gateway.port)
        client.socket.write(Self.chunkedHead + chunk(first))
        try await eventually("it is with the upstream") { upstream.acceptedConnections == before + 1 }
        return client
    }

    @Test("a body of the limit passes, a longer one is 413, with a length or in chunks, and never looks whole to the upstream")
    func limit() async throws {
        let upstream = try ScriptedUpstream { _, _ in .answer }
        defer { upstream.stop() }
        var setup = GatewaySetup(endpoints: [upstream.port])
        setup["limits"] = "{body_bytes: 100B}"
        try await withGateway(setup) { gateway in
            let client = try HTTPConnection(port: gateway.port)
            #expect(try client.call("POST", "/public", json: String(repeating: "a", count: 100)).text == "100")
            client.socket.write(Self.chunkedHead + chunk(60) + chunk(40) + "0\r\n\r\n")
            #expect(try client.answer(to: "POST").text == "100")
            #expect(try gateway.call("POST", "/public", json: String(repeating: "a", count: 101)).code == "body_too_large")
            client.socket.write(Self.chunkedHead + chunk(60) + chunk(41) + "0\r\n\r\n")
            let refused = try client.answer(to: "POST")
            #expect(refused.status == 413 && refused.code == "body_too_large" && refused["Connection"] == ["close"])
            try await eventually("the upstream's side is closed") { upstream.openConnections == 0 }
            #expect(upstream.requests.filter(\.isWhole).map(\.body.count) == [100, 100])
        }
    }

    @Test("a reload changes the limit for requests that begin after it; those under way keep theirs")
    func reload() async throws {
        let upstream = try ScriptedUpstream { _, _ in .answer }
        defer { upstream.stop() }
        try await withGateway(GatewaySetup(endpoints: [upstream.port])) { gateway in
            let unlimited = try await begin(gateway, upstream, 5)
            try await use("10B", in: gateway)
            let limited = try await begin(gateway, upstream, 5)
            #expect(try gateway.call("POST", "/public", json: String(repeating: "a", count: 11)).status == 413)
            try await use("0B", in: gateway)
            #expect(try gateway.call("POST", "/public", json: String(repeating: "a", count: 11)).status == 200)

            unlimited.socket.write(chunk(5000) + "0\r\n\r\n")
            #expect(try unlimited.answer(to: "POST").text == "5005")
            limited.socket.write(chunk(6) + "0\r\n\r\n")
            #expect(try limited.answer(to: "POST").code == "body_too_large")
        }
    }
}
