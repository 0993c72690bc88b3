// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import Synchronization
import TestSupport
import Testing

@Suite("What an attacker tried: to make the gateway hold more and more", .serialized)
struct AttackGrowthTests {
    private static let sent = 40 << 20
    private static let allowance = 16 << 20

    /// Reads on a thread of its own, so that the other side never waits.
    private func drain(_ socket: LoopbackSocket) -> Progress {
        let count = Progress()
        Thread.detachNewThread {
            while case let bytes = socket.read(), !bytes.isEmpty { count.add(bytes.count) }
            count.finish()
        }
        return count
    }

    private final class Progress: Sendable {
        private let state = Mutex((bytes: 0, isOver: false))
        func add(_ count: Int) { state.withLock { $0.bytes += count } }
        func finish() { state.withLock { $0.isOver = true } }
        var bytes: Int { state.withLock { $0.bytes } }
        var isOver: Bool { state.withLock { $0.isOver } }
    }

    @Test("a connection forgets the requests that it has sent, though every read ends inside the next one's head")
    func pipelinedHeads() async throws {
        let upstream = try FakeServer.echo()
        defer { upstream.stop() }
        try await withGateway(GatewaySetup(upstream: upstream.port)) { gateway in
            #expect(try gateway.get("/orders").status == 401)
            let before = try gateway.process.peakMemory
            let client = try LoopbackSocket(port: gateway.port, timeout: .seconds(20))
            let answers = drain(client)
            let head = Array("GET /orders HTTP/1.1\r\nHost: app.example\r\nX-Padding: \(String(repeating: "x", count: 24 << 10))\r\n\r\n".utf8)
            // The end of one, and the beginning of the next.
            let piece = Array(head[100...] + head[..<100])
            #expect(client.write(Array(head[..<100])))
            for _ in 0..<(Self.sent / piece.count) { try #require(client.write(piece)) }
            #expect(client.write(Array(head[100...])))
            client.write("GET /orders HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n")
            try await eventually("all are answered", within: .seconds(30)) { answers.isOver }
            #expect(answers.bytes > (Self.sent / piece.count) * 200)
            #expect(try gateway.process.peakMemory - before < Self.allowance)
        }
    }

    @Test("a connection forgets the body that it has sent, though every read ends inside the next chunk's size line")
    func chunkSizes() async throws {
        let received = Progress()
        let upstream = try FakeServer { connection in
            let reader = HTTPReader(connection.socket)
            guard reader.head() != nil else { return }
            var tail: [UInt8] = []
            while !tail.elementsEqual(Array("\r\n0\r\n\r\n".utf8)) {
                let bytes = reader.bytes()
                if bytes.isEmpty { return }
                received.add(bytes.count)
                tail = Array((tail + bytes.suffix(7)).suffix(7))
            }
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        }
        defer { upstream.stop() }
        try await withGateway(GatewaySetup(upstream: upstream.port)) { gateway in
            let client = try HTTPConnection(port: gateway.port)
            let before = try gateway.process.peakMemory
            client.socket.write(HTTPConnection.head("POST", "/public", [("Transfer-Encoding", "chunked")]))
            // Almost all of it is size lines, so that hardly a read ends anywhere else.
            let chunk = Array("1;name=\(String(repeating: "x", count: 3900))\r\ny\r\n".utf8)
            let piece = Array(chunk[100...] + chunk[..<100])
            client.socket.write(Array(chunk[..<100]))
            let count = Self.sent / chunk.count
            for _ in 1..<count { try #require(client.socket.write(piece)) }
            client.socket.write(Array(chunk[100...]) + Array("0\r\n\r\n".utf8))
            let answer = try client.answer(to: "POST")
            #expect(answer.status == 200 && received.bytes > count)
            #expect(try gateway.process.peakMemory - before < Self.allowance)
        }
    }

    @Test("who reads no answers is not read any further, and is when it reads them")
    func unreadAnswers() async throws {
        let upstream = try FakeServer.echo()
        defer { upstream.stop() }
        let folder = try temporaryFolder("socket")
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var setup = GatewaySetup(upstream: upstream.port)
        // On a Unix socket the system holds a few hundred kilobytes at most, over TCP some megabytes.
        setup["listeners"] = "[{address: \"unix:\(folder)/gateway.sock\"}]"
        try await withGateway(setup) { gateway in
            let client = try HTTPConnection(unixSocket: "\(folder)/gateway.sock")
            #expect(try client.get("/orders").status == 401)
            let before = try gateway.process.peakMemory
            let request = Array(HTTPConnection.head("GET", "/orders", [("X-Padding", String(repeating: "x", count: 300))]).utf8)
            var all = request
            while all.count < 6 << 20 { all += all }
            let taken = client.socket.writeUntilStuck(all)
            #expect(taken < 3 << 20)
            #expect(try gateway.process.peakMemory - before < Self.allowance)

            let whole = (taken + request.count - 1) / request.count
            let socket = client.socket
            let rest = Array(all[taken..<(whole * request.count)])
            Thread.detachNewThread { socket.write(rest) }
            for _ in 0..<whole { try #require(try client.answer().status == 401) }
            #expect(try client.get("/public").status == 200)
        }
    }
}
