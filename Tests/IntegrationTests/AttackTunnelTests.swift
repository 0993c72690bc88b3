// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import Synchronization
import TestSupport
import Testing

@Suite("What an attacker tried: to keep a tunnel, or to make a cut one look whole", .serialized)
struct AttackTunnelTests {
    /// How the gateway ended the upstream's side of a tunnel.
    private final class Ended: Sendable {
        private let state = Mutex<LoopbackSocket.Ending?>(nil)
        var how: LoopbackSocket.Ending? { state.withLock { $0 } }
        func set(_ ending: LoopbackSocket.Ending) { state.withLock { $0 = ending } }
    }

    private static func upgrade(to name: String) -> String {
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: \(name)\r\n\r\n"
    }

    private func tunnel(_ gateway: RunningGateway, token: String, to name: String) throws -> HTTPConnection {
        let client = try HTTPConnection(port: gateway.port)
        var fields = [("Connection", "Upgrade"), ("Upgrade", name)]
        if name == "websocket" { fields += [("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")] }
        let answer = try client.get("/tunnel", token: token, fields: fields)
        try #require(answer.status == 101 && answer["Upgrade"] == [name])
        return client
    }

    @Test("a WebSocket whose upstream does not read is closed on both sides when its session is logged out")
    func unreadingUpstream() async throws {
        let over = DispatchSemaphore(value: 0)
        let upstream = try FakeServer { connection in
            _ = HTTPReader(connection.socket).head()
            connection.write(Self.upgrade(to: "websocket"))
            over.wait()
            over.signal()
        }
        defer {
            over.signal()
            upstream.stop()
        }
        try await withGateway(GatewaySetup(upstream: upstream.port)) { gateway in
            let login = try gateway.login()
            // Binary frames of 256 bytes, so that the gateway mostly stands between two when nothing more is taken; several, as it is not sure.
            var frames = [0x82, 0xFE, 0, 248, 0, 0, 0, 0] + [UInt8](repeating: 7, count: 248)
            while frames.count < 32 << 20 { frames += frames }
            let clients = try (0..<4).map { _ in try tunnel(gateway, token: login.access, to: "websocket") }
            for client in clients { try #require(client.socket.writeUntilStuck(frames) < frames.count) }
            let held = try SocketTable.connections(to: upstream.port)
            #expect(held == clients.count)
            #expect(try gateway.call("POST", "/auth/logout", token: login.access).status == 204)
            try await eventually("both sides are closed", within: .seconds(6)) {
                try SocketTable.connections(to: upstream.port) == 0 && SocketTable.connections(acceptedAt: gateway.port) == 0
            }
            for client in clients { #expect(client.socket.ending() != .open) }
        }
    }

    @Test("another tunnel than a WebSocket ends with a reset on both sides when its session is logged out")
    func revokedTunnel() async throws {
        let ended = Ended()
        let upstream = try FakeServer { connection in
            _ = HTTPReader(connection.socket).head()
            connection.write(Self.upgrade(to: "other"))
            connection.write(connection.read())
            ended.set(connection.socket.ending())
        }
        defer { upstream.stop() }
        try await withGateway(GatewaySetup(upstream: upstream.port)) { gateway in
            let login = try gateway.login()
            let client = try tunnel(gateway, token: login.access, to: "other")
            client.socket.write("there and back")
            #expect(client.reader.bytes() == Array("there and back".utf8))
            #expect(try gateway.call("POST", "/auth/logout", token: login.access).status == 204)
            #expect(client.socket.ending() == .reset)
            try await eventually("the upstream's side has ended") { ended.how != nil }
            #expect(ended.how == .reset)
        }
    }

    @Test(
        "how the upstream ends a tunnel is how the client sees it end", arguments: [LoopbackSocket.Ending.reset, .finished], ["other", "websocket"])
    func upstreamEnds(_ ending: LoopbackSocket.Ending, name: String) async throws {
        let upstream = try FakeServer { connection in
            _ = HTTPReader(connection.socket).head()
            connection.write(Self.upgrade(to: name))
            _ = connection.read()
            if ending == .reset { connection.reset() }
        }
        defer { upstream.stop() }
        try await withGateway(GatewaySetup(upstream: upstream.port)) { gateway in
            let client = try tunnel(gateway, token: gateway.login().access, to: name)
            client.socket.write([0x81, 0x80, 0, 0, 0, 0])
            #expect(client.socket.ending() == ending)
        }
    }
}
