// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Testing

@testable import Gateway

@Suite("Lines that say where a message goes and where it ends")
struct RequestFramingLineTests {
    private static let blanks = [(" ", ""), ("", ""), ("\t", ""), (" ", " "), ("  ", ""), (" \t ", "\t"), ("", "\t \t"), (" ", "\t")]

    /// What is written for a head whose lines are these, as text.
    private func forward(_ lines: String...) throws -> String {
        let world = try StageWorld()
        let snapshot = world.snapshot
        let peer = try PeerAddress(SocketAddress(ipAddress: "192.0.2.1", port: 1))
        let scanner = RequestScanner(limits: HeadLimits())
        return try Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8).withUnsafeBytes { raw in
            try #require(scanner.scan(raw) == .head)
            var buffer = ByteBuffer()
            snapshot.cleaning.writeRequestHead(
                scanner.head, raw, route: snapshot.routes[0], path: raw.slice(scanner.head.path), identity: nil,
                client: snapshot.view(scanner.head, raw, peer: peer, isSecure: false), peer: peer,
                correlation: world.ids.correlate(scanner.head, raw),
                carriesUpgrade: false, into: &buffer)
            return String(buffer: buffer)
        }
    }

    private func lines(_ text: String, named name: String) -> [String] {
        text.components(separatedBy: "\r\n").filter { $0.lowercased().hasPrefix(name.lowercased()) }
    }

    @Test("go on with one blank before their value and none behind it, however they came", arguments: blanks)
    func requests(before: String, after: String) throws {
        let counted = try forward(
            "POST / HTTP/1.1", "A: 1", "Host:\(before)app.example\(after)", "Content-Length:\(before)5\(after)", "B:\(before)2\(after)")
        #expect(lines(counted, named: "host") == ["Host: app.example"])
        #expect(lines(counted, named: "content-length") == ["Content-Length: 5"])
        // Others keep their bytes, at their place.
        #expect(lines(counted, named: "a:") == ["A: 1"] && lines(counted, named: "b:") == ["B:\(before)2\(after)"])
        for name in ["Transfer-Encoding", "tRANSFER-encoding"] {
            for value in ["chunked", "Chunked", "cHUNKED"] {
                let chunked = try forward("POST / HTTP/1.1", "\(name):\(before)\(value)\(after)", "Host:\(before)[::1]:80\(after)")
                #expect(lines(chunked, named: "transfer-encoding") == ["\(name): chunked"])
                #expect(lines(chunked, named: "host") == ["Host: [::1]:80"] && lines(chunked, named: "content-length").isEmpty)
            }
        }
    }

    @Test("an answer's length goes back so, too", arguments: blanks)
    func answers(before: String, after: String) throws {
        let scanner = ResponseScanner(limits: HeadLimits())
        let text = "HTTP/1.1 200 OK\r\nA: 1\r\ncontent-LENGTH:\(before)5\(after)\r\nB: 2\r\n\r\n"
        try Array(text.utf8).withUnsafeBytes { raw in
            try #require(scanner.scan(raw, requestMethod: .get) == .head)
            var buffer = ByteBuffer()
            try StageWorld().snapshot.cleaning.writeResponseHead(
                scanner.head, raw, framing: scanner.head.framing, connection: .unsaid, into: &buffer)
            let sent = String(buffer: buffer)
            #expect(lines(sent, named: "content-length") == ["content-LENGTH: 5"])
            #expect(lines(sent, named: "a:") == ["A: 1"] && lines(sent, named: "b:") == ["B: 2"])
        }
    }

    @Test("a Connection that names them removes none, nor the expectation of a 100", arguments: [" ", "\t", ""])
    func namedByConnection(before: String) throws {
        let sent = try forward(
            "POST / HTTP/1.1", "Connection: expect, host, content-length, x-hop", "X-Hop: 1", "Expect:\(before)100-continue",
            "Host:\(before)app.example", "Content-Length:\(before)5")
        #expect(lines(sent, named: "expect") == ["Expect:\(before)100-continue"])
        #expect(lines(sent, named: "host") == ["Host: app.example"] && lines(sent, named: "content-length") == ["Content-Length: 5"])
        #expect(lines(sent, named: "x-hop").isEmpty)
    }
}
