// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import BenchHarness

@Suite("Answers as the harness reads them")
struct ResponseParserTests {
    @Test(
        "an answer ends where its framing says, and tells whether another may follow",
        arguments: [
            Answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200),
            Answer("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200),
            Answer("HTTP/1.1 503 \r\ncontent-length:\t0 \r\nConnection: close\r\n\r\n", 503, keeps: false),
            Answer("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n", 200, keeps: false),
            Answer("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, keeps: false),
            Answer("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok", 200),
            Answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 200),
            Answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n00A ; a=\"b\"\r\n0123456789\r\n1\r\nx\r\n000\r\nTrailer: yes\r\n\r\n", 200),
            Answer("HTTP/1.1 204 No Content\r\n\r\n", 204), Answer("HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", 204),
            Answer("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", 304),
            Answer("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", 200, isOfHead: true),
            Answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200),
        ])
    func framing(_ answer: Answer) {
        var parser = ResponseParser()
        let bytes = Array(answer.text.utf8)
        for size in [bytes.count, 1, 3, 7] {
            parser.begin(isOfHead: answer.isOfHead)
            #expect(feed(&parser, bytes + Array("HTTP/1.1".utf8), in: size) == .complete(consumed: bytes.count), "\(size) bytes at a time")
            #expect(parser.status == answer.status && parser.keepsConnection == answer.keeps)
        }
    }

    @Test("an answer without a length ends with its connection, and not before")
    func untilClose() {
        var parser = ResponseParser()
        parser.begin(isOfHead: false, keepsBody: true)
        let text = Array("HTTP/1.1 200 OK\r\n\r\nall of it".utf8)
        #expect(feed(&parser, text, in: 4) == .needMore(consumed: text.count))
        let isWhole = parser.connectionEnded()
        #expect(isWhole)
        #expect(parser.status == 200 && !parser.keepsConnection && parser.body == Array("all of it".utf8))
    }

    @Test(
        "an answer that breaks off is not whole, wherever it does",
        arguments: [
            "", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        ])
    func brokenOff(text: String) {
        var parser = ResponseParser()
        parser.begin(isOfHead: false)
        _ = feed(&parser, Array(text.utf8), in: 5)
        let isWhole = parser.connectionEnded()
        #expect(!isWhole)
    }

    @Test("the body is kept where it is wanted, without its framing")
    func body() {
        var parser = ResponseParser()
        parser.begin(isOfHead: false, keepsBody: true)
        _ = feed(&parser, Array("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n".utf8), in: 2)
        #expect(parser.body == Array("onetwo".utf8))
    }

    @Test("101 ends the answer only of whom has asked for it")
    func upgrade() {
        let text = Array("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".utf8)
        var parser = ResponseParser()
        parser.begin(isOfHead: false, expectsUpgrade: true)
        #expect(feed(&parser, text, in: text.count) == .complete(consumed: text.count))
        parser.begin(isOfHead: false)
        #expect(feed(&parser, text, in: text.count) == .malformed)
    }

    @Test(
        "what two clients could read differently is no answer",
        arguments: [
            "HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.1 099 OK\r\n\r\n", "HTTP/1.1 600 OK\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1  200 OK\r\n\r\n",
            "HTTP/1.1 200OK\r\n\r\n", "HTTP/1.1 200 O\u{1}K\r\n\r\n", "HTTP/1.1 200 OK\n\n", "\r\nHTTP/1.1 200 OK\r\n\r\n", "ICY 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n", "HTTP/1.1 200 OK\r\n Folded: a\r\n\r\n", "HTTP/1.1 200 OK\r\nName\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: value\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\nB: c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConnection: keep alive\r\nContent-Length: 1\r\n\r\nx",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nx",
            "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000000000\r\n\r\nx",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n 1\r\nx\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\nx\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000000000000000\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nno trailer\r\n\r\n",
        ])
    func malformed(text: String) {
        var parser = ResponseParser()
        for size in [text.utf8.count, 1] {
            parser.begin(isOfHead: false)
            #expect(feed(&parser, Array(text.utf8), in: size) == .malformed, "\(size) bytes at a time")
        }
    }

    @Test("heads, lines, trailers and interim answers without end are malformed and not waited for")
    func limits() {
        var parser = ResponseParser()
        let line = "Filler: \(String(repeating: "x", count: 1000))\r\n"
        let head = "HTTP/1.1 200 OK\r\n"
        let many = String(repeating: line, count: ResponseParser.lineBytes / line.utf8.count + 1)
        let long = "A: " + String(repeating: "x", count: ResponseParser.lineBytes)
        let interims = String(repeating: "HTTP/1.1 103 Early Hints\r\n\r\n", count: ResponseParser.interimAnswers + 1)
        let trailers = "Transfer-Encoding: chunked\r\n\r\n0\r\n" + many
        for text in [head + many, head + long, interims, head + trailers] {
            parser.begin(isOfHead: false)
            #expect(feed(&parser, Array(text.utf8), in: 4096) == .malformed)
        }
        let few = String(repeating: line, count: ResponseParser.lineBytes / line.utf8.count - 1) + "Content-Length: 0\r\n\r\n"
        parser.begin(isOfHead: false)
        #expect(feed(&parser, Array((head + few).utf8), in: 4096) == .complete(consumed: head.utf8.count + few.utf8.count))
    }
}

/// An answer and what is to be read from it.
struct Answer: Sendable, CustomTestStringConvertible {
    let text: String
    let status: Int
    let keeps: Bool
    let isOfHead: Bool
    var testDescription: String { text.debugDescription }

    init(_ text: String, _ status: Int, keeps: Bool = true, isOfHead: Bool = false) {
        self.text = text
        self.status = status
        self.keeps = keeps
        self.isOfHead = isOfHead
    }
}

/// Gives the bytes to the parser so many at a time, and what it has not consumed again; `consumed` is of all bytes.
func feed(_ parser: inout ResponseParser, _ bytes: [UInt8], in size: Int) -> ResponseParser.Step {
    var consumed = 0
    var known = 0
    while true {
        known = min(bytes.count, known + max(1, size))
        switch bytes[consumed..<known].withUnsafeBytes({ parser.read($0) }) {
        case .needMore(let step):
            consumed += step
            if known == bytes.count { return .needMore(consumed: consumed) }
        case .complete(let step): return .complete(consumed: consumed + step)
        case .malformed: return .malformed
        }
    }
}
