// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import Gateway

@Suite("Response heads on the wire")
struct WireResponseTests {
    private let scanner = ResponseScanner(limits: HeadLimits())

    private func head(_ text: String, to method: MethodKind = .get) -> ResponseHead? {
        scanner.scan(Array(text.utf8), requestMethod: method) == .head ? scanner.head : nil
    }

    @Test("An ordinary answer is told in its parts")
    func ordinary() throws {
        let bytes = Array("HTTP/1.1 404 Not\tFound ü\r\nContent-Length: 3\r\nX: y\r\n\r\nabc".utf8)
        #expect(scanner.scan(bytes) == .head)
        let head = scanner.head
        #expect(head.status == 404 && text(bytes, head.reason) == "Not\tFound ü" && head.minorVersion == 1)
        #expect(head.framing == .counted(3) && head.keepAlive && head.fieldCount == 2 && head.length == bytes.count - 3)
    }

    @Test("The reason may be empty, and then the space before it missing", arguments: ["HTTP/1.1 200 \r\n\r\n", "HTTP/1.1 200\r\n\r\n"])
    func emptyReason(text: String) throws {
        #expect(try #require(head(text)).reason.isEmpty)
    }

    @Test("Every prefix of an answer is incomplete")
    func trickle() {
        let bytes = Array("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".utf8)
        for count in 0..<bytes.count {
            #expect(scanner.scan(Array(bytes[..<count]), alreadyScanned: max(0, count - 1)) == .incomplete)
            #expect(scanner.scan(Array(bytes[..<count])) == .incomplete)
        }
    }

    @Test(
        "What is no status line is refused",
        arguments: [
            "HTTP/1.2 200 OK\r\n", "HTTP/2 200\r\n", "http/1.1 200 OK\r\n", "HTTP/1.1  200 OK\r\n", "HTTP/1.1\t200 OK\r\n", "HTTP/1.1 20 OK\r\n",
            "HTTP/1.1 2000 OK\r\n", "HTTP/1.1 099 x\r\n",
            "HTTP/1.1 600 x\r\n", "HTTP/1.1 999 x\r\n", "HTTP/1.1 2x0 OK\r\n", "HTTP/1.1 -20 OK\r\n", "HTTP/1.1 200 O\u{0}K\r\n", "HTTP/1.1 200 OK\n",
            "HTTP/1.1 200 O\rK\r\n", "HTTP/1.1 200\n",
            "\r\nHTTP/1.1 200 OK\r\n", "ICY 200 OK\r\n", "HTTP/1.1 200;OK\r\n",
        ])
    func badStatusLines(line: String) {
        #expect(scanner.scan(Array((line + "\r\n").utf8)).isRefused)
    }

    @Test(
        "Fields that two parsers could read differently are refused",
        arguments: [
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "Content-Length: 1\r\nContent-Length: 1\r\n", "Content-Length: 1, 1\r\n",
            "Content-Length: x\r\n",
            "Transfer-Encoding: gzip\r\n", "Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "X: a\r\n b\r\n", "X: a\nY: b\r\n", "X: a\u{0}\r\n",
            "X : a\r\n", "X\r\n", ": a\r\n", "Connection: a b\r\n",
        ])
    func badFields(fields: String) {
        #expect(scanner.scan(Array("HTTP/1.1 200 OK\r\n\(fields)\r\n".utf8)).isRefused)
    }

    @Test(
        "How the body ends follows from request, status and fields",
        arguments: [
            (MethodKind.get, "200", "", BodyFraming.untilClose), (.get, "200", "Content-Length: 0\r\n", .counted(0)),
            (.get, "200", "Transfer-Encoding: Chunked\r\n", .chunked),
            (.head, "200", "Content-Length: 5\r\n", .none), (.head, "200", "Transfer-Encoding: chunked\r\n", .none),
            (.get, "304", "Content-Length: 5\r\n", .none),
            (.get, "204", "", .none), (.get, "204", "Content-Length: 5\r\n", .none), (.get, "100", "", .none), (.get, "103", "Link: a\r\n", .none),
            (.get, "101", "", .none),
            (.post, "500", "Content-Length: 12\r\n", .counted(12)),
        ])
    func framing(method: MethodKind, status: String, fields: String, framing: BodyFraming) throws {
        #expect(try #require(head("HTTP/1.1 \(status) x\r\n\(fields)\r\n", to: method)).framing == framing)
    }

    @Test("No interim answer has a length, no 204 a coding, and HTTP/1.0 none at all")
    func forbiddenLengths() {
        #expect(head("HTTP/1.1 101 x\r\nContent-Length: 0\r\n\r\n") == nil)
        #expect(head("HTTP/1.1 100 x\r\nTransfer-Encoding: chunked\r\n\r\n") == nil)
        #expect(head("HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n") == nil)
        #expect(head("HTTP/1.0 200 x\r\nTransfer-Encoding: chunked\r\n\r\n") == nil)
    }

    @Test(
        "A connection goes on only where both sides know where the answer ends",
        arguments: [
            ("HTTP/1.1 200 x\r\nContent-Length: 0\r\n", true), ("HTTP/1.1 200 x\r\n", false),
            ("HTTP/1.1 200 x\r\nContent-Length: 0\r\nConnection: close\r\n", false),
            ("HTTP/1.0 200 x\r\nContent-Length: 0\r\n", false), ("HTTP/1.0 200 x\r\nContent-Length: 0\r\nConnection: keep-alive\r\n", true),
            ("HTTP/1.1 204 x\r\n", true),
        ])
    func persistence(text: String, keepAlive: Bool) throws {
        #expect(try #require(head(text + "\r\n")).keepAlive == keepAlive)
    }

    @Test("An upgrade is told with its protocol")
    func upgrade() throws {
        let bytes = Array("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".utf8)
        #expect(scanner.scan(bytes) == .head)
        #expect(try text(bytes, #require(scanner.head.upgrade)) == "websocket")
        #expect(try #require(head("HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n")).upgrade == nil)
    }

    @Test("Answers are bounded in bytes, but not by the number of fields that a client may send")
    func limits() {
        let small = ResponseScanner(limits: HeadLimits(headerBytes: 4096, headerCount: 2, targetBytes: 10))
        let many = String(repeating: "A: b\r\n", count: 300)
        #expect(small.scan(Array("HTTP/1.1 200 OK\r\n\(many)\r\n".utf8)) == .head)
        #expect(small.scan(Array("HTTP/1.1 200 OK\r\nX: \(String(repeating: "y", count: 5000))".utf8)).isRefused)
        let large = ResponseScanner(limits: HeadLimits(headerBytes: 1 << 20, headerCount: 2, targetBytes: 10))
        #expect(large.scan(Array("HTTP/1.1 200 OK\r\n\(String(repeating: "A: b\r\n", count: 1001))\r\n".utf8)).isRefused)
    }
}
