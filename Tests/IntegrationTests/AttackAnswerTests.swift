// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import TestSupport
import Testing

@Suite("What an attacker tried: answers that are cut, repeated or not asked for", .serialized)
struct AttackAnswerTests {
    /// An upstream that answers `/public/N` with N bytes.
    private func sized() throws -> FakeServer {
        try FakeServer { connection in
            let reader = HTTPReader(connection.socket)
            while let request = reader.request(), let size = Int(request.target.dropFirst("/public/".count)) {
                guard connection.write(Array("HTTP/1.1 200 OK\r\nContent-Length: \(size)\r\n\r\n".utf8) + [UInt8](repeating: 9, count: size)) else {
                    return
                }
            }
        }
    }

    @Test("a client that takes its last answer slowly gets the whole of it", arguments: [false, true])
    func slowReader(isDraining: Bool) async throws {
        let upstream = try sized()
        defer { upstream.stop() }
        let folder = try temporaryFolder("socket")
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var setup = GatewaySetup(upstream: upstream.port)
        let port = try freePort()
        // A Unix socket holds a fixed amount, so that some of the answers are just so large that the gateway has to hold their end.
        setup["listeners"] = "[{address: \"unix:\(folder)/gateway.sock\"}, {address: \"127.0.0.1:\(port)\"}]"
        setup["limits"] = "{head_timeout: 2500ms}"
        try await withGateway(setup) { gateway in
            let sizes = stride(from: 128 << 10, through: 512 << 10, by: 16 << 10)
            var clients: [(HTTPConnection, Int)] = []
            for size in sizes {
                // The second keeps its connection, which is idle from then on.
                for version in isDraining ? ["1.0", "1.1"] : ["1.0"] {
                    let client = try HTTPConnection(unixSocket: "\(folder)/gateway.sock")
                    client.socket.write("GET /public/\(size) HTTP/\(version)\r\nHost: app.example\r\n\r\n")
                    clients.append((client, size))
                }
            }
            // A head that is never ended gives the time: longer than a connection lingers whose answer has left.
            let clock = try HTTPConnection(port: port)
            clock.socket.write("GET /public HTTP/1.1\r\n")
            try await eventually("all that fits has come") {
                let answered = try gateway.metric("portcullis_upstream_duration_seconds_count{upstream=\"legacy\"}") ?? 0
                return Int(answered) == clients.count
            }
            if isDraining {
                gateway.process.send(signal: SIGTERM)
                try await eventually("not ready any more") { try gateway.admin("GET", "/readyz").status == 503 }
            }
            #expect(try clock.answer().code == "head_timeout")
            for (client, size) in clients {
                let answer = try client.answer()
                #expect(answer.status == 200 && answer.isWhole && answer.body.count == size, "\(answer.body.count) of \(size)")
                client.close()
            }
            if isDraining { #expect(try await gateway.process.exit() == 0) }
        }
    }

    @Test("over TLS an answer that was cut does not end with close_notify, and a whole one does", arguments: ["whole", "cut"])
    func cutOverTLS(path: String) async throws {
        let upstream = try FakeServer { connection in
            guard let request = HTTPReader(connection.socket).request() else { return }
            connection.write(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n\(request.target == "/public/whole" ? "0\r\n\r\n" : "5\r\nla")")
        }
        defer { upstream.stop() }
        let certificates = try TestCertificates()
        defer { certificates.remove() }
        var setup = GatewaySetup(upstream: upstream.port)
        let port = try freePort()
        let tls = "{certificate: \"\(certificates.certificate)\", private_key: \"\(certificates.privateKey)\"}"
        setup["listeners"] = "[{address: \"127.0.0.1:\(port)\", tls: \(tls), protocols: [http/1.1]}]"
        try await withGateway(setup) { _ in
            let client = Process()
            client.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            client.arguments = ["openssl", "s_client", "-connect", "127.0.0.1:\(port)", "-CAfile", certificates.authority, "-ign_eof", "-msg"]
            let input = Pipe(), output = Pipe()
            client.standardInput = input
            client.standardOutput = output
            client.standardError = output
            try client.run()
            input.fileHandleForWriting.write(Data("GET /public/\(path) HTTP/1.0\r\nHost: app.example\r\n\r\n".utf8))
            let seen = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            client.waitUntilExit()
            #expect(seen.contains("HTTP/1.1 200 OK") && seen.contains("first"), "\(seen)")
            // Its own is marked with the other arrow.
            let farewells = seen.split(separator: "\n").filter { $0.hasPrefix("<<<") && $0.contains("close_notify") }
            #expect(farewells.count == (path == "whole" ? 1 : 0), "\(seen)")
        }
    }

    @Test("nothing further is served where an answer said that it is the last, while the request's body was still coming")
    func afterClose() async throws {
        let arrivals = Arrivals()
        let upstream = try FakeServer { connection in
            let reader = HTTPReader(connection.socket)
            while let head = reader.head() {
                arrivals.add(head)
                connection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
                var body = 0
                while body < 10, case let bytes = reader.bytes(), !bytes.isEmpty { body += bytes.count }
                connection.write("-last")
            }
        }
        defer { upstream.stop() }
        try await withGateway(GatewaySetup(upstream: upstream.port)) { gateway in
            let client = try HTTPConnection(port: gateway.port)
            client.socket.write(HTTPConnection.head("POST", "/public", [("Content-Length", "10")]) + "01234")
            let head = try #require(client.reader.head())
            #expect(head.status == 200 && head["Connection"] == ["close"])
            client.socket.write("56789" + HTTPConnection.head("GET", "/public/smuggled", []))
            var rest: [UInt8] = []
            while case let bytes = client.reader.bytes(), !bytes.isEmpty { rest += bytes }
            #expect(String(decoding: rest, as: UTF8.self) == "first-last")
            #expect(arrivals.all.map(\.target) == ["/public"])
        }
    }

    /// A request, and what its upstream says before it ends the connection.
    struct Break: Sendable, CustomTestStringConvertible {
        var method = "GET"
        var said = ""
        var byReset = false
        var mayRepeat = false
        var testDescription: String { "\(method), \(said.debugDescription)\(byReset ? ", reset" : "")" }
    }

    @Test(
        "a request is sent again when nothing of an answer has come, and never after its first byte or an interim answer",
        arguments: [
            Break(mayRepeat: true), Break(byReset: true, mayRepeat: true), Break(method: "DELETE", mayRepeat: true), Break(method: "POST"),
            Break(said: "H"), Break(said: "HTTP/1.1 200 OK\r\nContent-Le"), Break(said: "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
        ])
    func repeats(_ broken: Break) async throws {
        let arrivals = Arrivals()
        let upstream = try FakeServer { connection in
            guard let request = HTTPReader(connection.socket).request() else { return }
            arrivals.add(request)
            guard arrivals.all.count == 1 else {
                connection.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\nsecond")
                return
            }
            connection.write(broken.said)
            if broken.byReset { connection.reset() }
        }
        defer { upstream.stop() }
        try await withGateway(GatewaySetup(upstream: upstream.port)) { gateway in
            let answer = try gateway.call(broken.method, "/public")
            if broken.mayRepeat {
                #expect(answer.status == 200 && answer.text == "second")
            } else {
                #expect(answer.status == 502 && answer.code == "upstream_reset", "\(answer.start) \(answer.text)")
            }
            #expect(arrivals.all.count == (broken.mayRepeat ? 2 : 1))
        }
    }

    @Test("after a refusal the rest of a chunked body has the whole idle timeout to come")
    func discarding() async throws {
        try await withEchoGateway(.memory) {
            // The refusal comes when the time of the connection's last request is over.
            $0["limits"] = "{head_timeout: 1500ms, idle_timeout: 1500ms}"
        } _: { gateway in
            let client = try HTTPConnection(port: gateway.port)
            client.socket.write(
                HTTPConnection.head("POST", "/auth/login", [("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")]) + "2\r\n{}")
            #expect(try client.answer(to: "POST").code == "head_timeout")
            #expect(client.socket.staysSilent(for: .milliseconds(400)))
            client.socket.write("\r\n0\r\n\r\n")
            #expect(try client.get("/public").status == 200)
            #expect(client.socket.ending() == .finished)
        }
    }

    @Test("oddly spelled Host, length and coding lines reach the upstream plainly and once, and the body as it was sent")
    func oddLines() async throws {
        let arrivals = Arrivals()
        let upstream = try FakeServer { connection in
            let reader = HTTPReader(connection.socket)
            while let request = reader.request() {
                arrivals.add(request)
                connection.write("HTTP/1.1 200 OK\r\ncontent-length:\t2 \t\r\n\r\nok")
            }
        }
        defer { upstream.stop() }
        try await withGateway(GatewaySetup(upstream: upstream.port)) { gateway in
            let client = try LoopbackSocket(port: gateway.port)
            let reader = HTTPReader(client)
            for (framing, body) in [
                ("CONTENT-length:\t 5 \t", "hello"), ("Content-Length:5", "hello"), ("transfer-ENCODING:\tcHunked\t ", "5\r\nhello\r\n0\r\n\r\n"),
            ] {
                client.write("POST /public HTTP/1.1\r\nhOST:\tapp.example \t\r\n\(framing)\r\n\r\n\(body)")
                let answer = try #require(reader.answer(to: "POST"))
                #expect(answer.status == 200 && answer.text == "ok" && answer["Content-Length"] == ["2"])
            }
            try #require(arrivals.all.count == 3)
            for request in arrivals.all {
                #expect(request["Host"] == ["app.example"] && request.text == "hello" && request.isWhole)
                #expect(request["Content-Length"].count + request["Transfer-Encoding"].count == 1)
            }
        }
    }
}
