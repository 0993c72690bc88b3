// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import Gateway

@Suite("Chunked bodies")
struct WireChunkedTests {
    private func decoded(_ body: String, limits: HeadLimits = HeadLimits()) -> DecodedBody { decode(Array(body.utf8), limits: limits) }

    @Test(
        "Chunks are put together whatever their sizes look like",
        arguments: [
            ("0\r\n\r\n", ""), ("3\r\nabc\r\n0\r\n\r\n", "abc"), ("3\r\nabc\r\n00002\r\nde\r\n000\r\n\r\n", "abcde"),
            ("A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
            ("a\r\n0123456789\r\n0\r\n\r\n", "0123456789"), ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n"), ("000000000000003\r\nabc\r\n0\r\n\r\n", "abc"),
        ])
    func sizes(body: String, data: String) {
        #expect(decoded(body) == DecodedBody(data: Array(data.utf8), end: .complete(trailers: [], consumed: body.utf8.count)))
        #expect(decode(Array(body.utf8), pieces: [1]) == decoded(body))
    }

    @Test(
        "Sizes and line ends that are none are refused, in one piece and in single bytes",
        arguments: [
            "0x3\r\nabc\r\n0\r\n\r\n", "-3\r\nabc\r\n0\r\n\r\n", "+3\r\nabc\r\n0\r\n\r\n", " 3\r\nabc\r\n0\r\n\r\n", "\r\nabc\r\n0\r\n\r\n",
            "xyz\r\nabc\r\n0\r\n\r\n", "3 \r\nabc\r\n0\r\n\r\n",
            "10000000000000003\r\nabc\r\n0\r\n\r\n", "0000000000000003\r\nabc\r\n0\r\n\r\n", "fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
            "3\nabc\r\n0\r\n\r\n", "3\rabc\r\n0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n",
            "3\r\nabc0\r\n\r\n", "3\r\nabc\n0\r\n\r\n", "3\r\nabc\r0\r\n\r\n", "3\r\nabc\r\n\r\n0\r\n\r\n", "3\r\nabc\r\n0\n\r\n",
            "3\r\nabc\r\n0\r\n\n", "0\r\r\n\r\n", "0\r\n\r\r", "1,1\r\na\r\n0\r\n\r\n",
            "3_\r\nabc\r\n0\r\n\r\n", "3\u{b}\r\nabc\r\n0\r\n\r\n",
        ])
    func badChunks(body: String) {
        for result in [decoded(body), decode(Array(body.utf8), pieces: [1])] {
            guard case .refused(.badRequest) = result.end else {
                Issue.record("\(result)")
                continue
            }
        }
    }

    @Test(
        "Extensions by the grammar are read past",
        arguments: [
            "3;a", "3;a=b", "3;a=\"b\"", "3;a=\"b\\\"c;\\\\\"", "3 ; a = b\t;c", "3;a;b;c=d", "3;a=\"\t ~ü\"", "3;a =b",
        ])
    func extensions(line: String) {
        #expect(decoded(line + "\r\nabc\r\n0;last\r\n\r\n").data == Array("abc".utf8))
        #expect(decode(Array((line + "\r\nabc\r\n0;last\r\n\r\n").utf8), pieces: [1]).data == Array("abc".utf8))
    }

    @Test(
        "Extensions against the grammar are refused",
        arguments: [
            "3;", "3;a=", "3;=b", "3;a=\"b", "3;a=\"b\"c", "3;a b", "3;a\u{0}", "3;a=\"\u{0}\"", "3;a\nb", "3;a=\"\n\"", "3;a=\"\\\n\"", "3;a=\"\\",
            "3;a;", "3;ü", "3 a", "3;a ", "3;a=\"\r\"", "3; ;a",
        ])
    func badExtensions(line: String) {
        guard case .refused(.badRequest) = decoded(line + "\r\nabc\r\n0\r\n\r\n").end else {
            Issue.record("taken")
            return
        }
    }

    @Test("A size line without end is refused")
    func longLine() {
        #expect(decoded("3;a=" + String(repeating: "b", count: 5000)).end == .refused(.badRequest("chunk size line too long")))
        #expect(decoded("3;a=" + String(repeating: "b", count: 4000)).end == .incomplete)
    }

    @Test("Trailers are given as they are, and can be scanned")
    func trailers() throws {
        let result = decoded("1\r\nx\r\n0\r\nX-A: b\r\nContent-Length:  7\r\n\r\nGET")
        guard case .complete(let trailers, let consumed) = result.end else {
            Issue.record("\(result)")
            return
        }
        #expect(String(decoding: trailers, as: UTF8.self) == "X-A: b\r\nContent-Length:  7\r\n\r\n" && consumed == 6 + 3 + trailers.count)
        let scanner = TrailerScanner(limits: HeadLimits())
        let section = try #require(trailers.withUnsafeBytes { scanner.scan($0) })
        #expect(
            fields(trailers, section) == [
                .init(name: "X-A", value: "b", kind: .other), .init(name: "Content-Length", value: "7", kind: .contentLength),
            ])
        #expect(decode(Array("1\r\nx\r\n0\r\nX-A: b\r\nContent-Length:  7\r\n\r\n".utf8), pieces: [1]) == result)
    }

    @Test(
        "Trailers that are none are refused",
        arguments: ["X : y\r\n", "X: a\r\n b\r\n", " X: a\r\n", ": a\r\n", "X: \u{0}\r\n", "X: a\nY: b\r\n", "X: a\rb\r\n", "X\r\n", "\n"])
    func badTrailers(lines: String) {
        for pieces in [[Int.max], [1]] {
            guard case .refused(.badRequest) = decode(Array("0\r\n\(lines)\r\n".utf8), pieces: pieces).end else {
                Issue.record("taken")
                continue
            }
        }
    }

    @Test("Trailers are bounded in bytes and in number")
    func trailerLimits() {
        let limits = HeadLimits(headerBytes: 100, headerCount: 3, targetBytes: 10)
        #expect(decoded("0\r\n" + String(repeating: "A: b\r\n", count: 4) + "\r\n", limits: limits).end == .refused(.headerTooLarge))
        guard case .complete = decoded("0\r\n" + String(repeating: "A: b\r\n", count: 3) + "\r\n", limits: limits).end else {
            Issue.record("three are allowed")
            return
        }
        guard case .complete = decoded("0\r\nA: " + String(repeating: "b", count: 93) + "\r\n\r\n", limits: limits).end else {
            Issue.record("a hundred bytes are allowed")
            return
        }
        #expect(decoded("0\r\nA: " + String(repeating: "b", count: 94) + "\r\n\r\n", limits: limits).end == .refused(.headerTooLarge))
        #expect(decode(Array(("0\r\nA: " + String(repeating: "b", count: 200)).utf8), pieces: [1], limits: limits).end == .refused(.headerTooLarge))
    }

    @Test("What breaks off is incomplete, at every byte")
    func prefixes() {
        let body = Array("3;a=\"b\"\r\nabc\r\n0\r\nX: y\r\n\r\n".utf8)
        for count in 1..<body.count { #expect(decode(Array(body[..<count])).end == .incomplete, "\(count)") }
    }
}
