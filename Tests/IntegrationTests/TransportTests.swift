// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import Synchronization
import TestSupport
import Testing

@Suite("Ways through the gateway", .serialized)
struct TransportTests {
    @Test("a listener on a Unix socket serves, is gone after the end, and does not stand in the way of the next start")
    func unixListener() async throws {
        let upstream = try FakeServer.echo()
        defer { upstream.stop() }
        let folder = try temporaryFolder("socket")
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = "\(folder)/gateway.sock"
        var setup = GatewaySetup(upstream: upstream.port)
        setup["listeners"] = "[{address: \"unix:\(path)\"}]"
        for signal in [SIGKILL, SIGTERM] {
            try await withGateway(setup) { gateway in
                let client = try HTTPConnection(unixSocket: path)
                let seen = try client.get("/public")
                #expect(seen.status == 200 && seen.text.contains("x-forwarded-for: 127.0.0.1\n"), "\(seen.text)")
                #expect(try client.get("/orders").code == "token_missing")
                client.close()
                gateway.process.send(signal: signal)
                #expect(try await gateway.process.exit() == (signal == SIGTERM ? 0 : nil))
            }
        }
        #expect(!FileManager.default.fileExists(atPath: path))
    }

    @Test("an upstream over TLS is spoken to when its certificate is for the server_name, and not with another name or none")
    func upstreamTLS() async throws {
        let certificates = try TestCertificates(names: "DNS:legacy.internal")
        defer { certificates.remove() }
        let port = try freePort()
        let log = "\(certificates.folder)/log"
        let server = try ChildProcess(
            "/usr/bin/env",
            [
                "openssl", "s_server", "-accept", "127.0.0.1:\(port)", "-cert", certificates.certificate, "-key", certificates.privateKey, "-www",
            ], output: log)
        defer { server.kill() }
        try await eventually("the upstream listens") {
            guard server.isRunning else { throw NotInTime(description: try String(contentsOfFile: log, encoding: .utf8)) }
            return try String(contentsOfFile: log, encoding: .utf8).contains("ACCEPT")
        }
        var setup = GatewaySetup(upstream: port)
        let upstream = { (name: String) in
            "endpoints: [\"127.0.0.1:\(port)\"], tls: {ca: \"\(certificates.authority)\"\(name.isEmpty ? "" : ", server_name: \(name)")}"
        }
        setup["upstreams"] = "{right: {\(upstream("legacy.internal"))}, wrong: {\(upstream("other.internal"))}, none: {\(upstream(""))}}"
        setup["routes"] = "[\(["right", "wrong", "none"].map { "{path: /\($0), upstream: \($0), auth: none}" }.joined(separator: ", "))]"
        try await withGateway(setup) { gateway in
            for _ in 0..<3 {
                let answer = try gateway.get("/right")
                #expect(answer.status == 200 && answer.text.contains("s_server"), "\(answer.start)")
                for path in ["/wrong", "/none"] {
                    let refused = try gateway.get(path)
                    #expect(refused.status == 502 && refused.code == "upstream_refused", "\(refused.start) \(refused.text)")
                }
            }
        }
    }

    @Test("a chunked upload of 32 MiB arrives whole at a slow upstream, without being held in the gateway")
    func upload() async throws {
        let size = 32 << 20
        let sent = try [UInt8](#require(FileHandle(forReadingAtPath: "/dev/urandom")).read(upToCount: size) ?? Data())
        let arrivals = Arrivals()
        let upstream = try FakeServer { connection in
            let reader = HTTPReader(connection.socket)
            while let request = reader.request() {
                arrivals.add(request)
                connection.write("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
            }
        }
        defer { upstream.stop() }
        let relay = try TCPRelay(to: upstream.port)
        relay.delay = .milliseconds(2)
        defer { relay.stop() }
        try await withGateway(GatewaySetup(upstream: relay.port)) { gateway in
            let token = try gateway.login().access
            #expect(try gateway.get("/warm", token: token).status == 201)
            let before = try gateway.process.peakMemory
            let client = try HTTPConnection(port: gateway.port)
            client.socket.write(HTTPConnection.head("POST", "/upload", [("Authorization", "Bearer \(token)"), ("Transfer-Encoding", "chunked")]))
            var start = 0, step = 1
            while start < size {
                let chunk = sent[start..<min(start + step, size)]
                client.socket.write(Array("\(String(chunk.count, radix: 16))\r\n".utf8) + chunk + Array("\r\n".utf8))
                start += chunk.count
                // Chunks of all sizes, up to some that are larger than any buffer on the way.
                step = step > 500_000 ? 3 : step * 3
            }
            client.socket.write("0\r\n\r\n")
            #expect(try client.answer(to: "POST").status == 201)
            let upload = try #require(arrivals.all.last)
            #expect(upload.method == "POST" && upload.target == "/upload" && upload.isWhole && upload.body.count == size)
            #expect(
                upload.body.withUnsafeBytes { one in sent.withUnsafeBytes { memcmp(one.baseAddress!, $0.baseAddress!, min(one.count, size)) == 0 } })
            #expect(try gateway.process.peakMemory - before < 12 << 20)
        }
    }

    @Test(
        "an upgraded connection is a tunnel both ways, and a WebSocket gets the close frame 1008 when its session is logged out",
        arguments: StoreKind.allCases)
    func upgrade(store: StoreKind) async throws {
        let upstream = try FakeServer.webSocketEcho()
        defer { upstream.stop() }
        try await withEchoGateway(store) { setup in
            setup["upstreams"] = "{legacy: {endpoints: [\"127.0.0.1:\(upstream.port)\"]}}"
        } _: { gateway in
            let login = try gateway.login(), other = try gateway.login()
            let one = try WebSocketPeer(gateway, token: login.access), two = try WebSocketPeer(gateway, token: other.access)
            for text in ["hello", "again"] { #expect(one.echoes(text) && two.echoes(text)) }
            #expect(upstream.openConnections == 2)
            #expect(try gateway.call("POST", "/auth/logout", token: login.access).status == 204)
            #expect(one.closeCode() == 1008)
            try await eventually("the upstream's side has ended") { upstream.openConnections == 1 }
            #expect(two.echoes("still here"))
            #expect(try gateway.metric("portcullis_streams_closed_total{reason=\"revoked\"}") == 1)
        }
    }
}

/// What reached an upstream.
final class Arrivals: Sendable {
    private let messages = Mutex<[HTTPMessage]>([])
    var all: [HTTPMessage] { messages.withLock { $0 } }
    func add(_ message: HTTPMessage) { messages.withLock { $0.append(message) } }
}
