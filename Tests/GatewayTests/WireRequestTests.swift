// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import Gateway

@Suite("Request heads on the wire")
struct WireRequestTests {
    private let scanner = RequestScanner(limits: HeadLimits())

    private func request(_ text: String) -> ScannedRequest? { scanner.request(Array(text.utf8)) }

    private func outcome(_ text: String) -> RequestScanner.Outcome { scanner.scan(Array(text.utf8)) }

    @Test("An ordinary request is told in its parts")
    func ordinary() throws {
        let seen = try #require(request("POST /a/b?c=d?e HTTP/1.1\r\nHost: x.example:80\r\nX-A:  b c \t\r\nContent-Length: 2\r\nEmpty:\r\n\r\nhi"))
        #expect(seen.method == "POST" && seen.head.methodKind == .post)
        #expect(seen.target == "/a/b?c=d?e" && seen.path == "/a/b" && seen.query == "c=d?e" && seen.head.targetForm == .origin)
        #expect(seen.head.minorVersion == 1 && seen.host == "x.example:80" && seen.head.framing == .counted(2) && seen.head.keepAlive)
        #expect(
            seen.fields == [
                .init(name: "Host", value: "x.example:80", kind: .host), .init(name: "X-A", value: "b c", kind: .other),
                .init(name: "Content-Length", value: "2", kind: .contentLength), .init(name: "Empty", value: "", kind: .other),
            ])
        #expect(seen.head.length == 88)
    }

    @Test("A head that comes byte by byte is found when its last byte is there, and not before")
    func trickle() {
        let bytes = Array("\r\nGET / HTTP/1.1\r\nHost: x\r\nCookie: a=b\r\n\r\n".utf8)
        for count in 1..<bytes.count {
            #expect(scanner.scan(Array(bytes[..<count]), alreadyScanned: count - 1) == .incomplete, "\(count) bytes")
            #expect(scanner.scan(Array(bytes[..<count])) == .incomplete, "\(count) bytes")
        }
        #expect(scanner.scan(bytes, alreadyScanned: bytes.count - 1) == .head)
        #expect(scanner.head.length == bytes.count)
    }

    @Test(
        "What is wrong is said before the head is complete",
        arguments: [
            "GET /\u{1}", "GET /a#", "G(", "GET / HTTP/3", "GET / HTTP/1.1\r\nHost: x\n", "GET / HTTP/1.1\r\nHost: x\r\n Y",
            "GET / HTTP/1.1\r\nHost: a@x\r\nY: z",
            "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n", "\r\n\r", "\n", "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n",
        ])
    func early(start: String) {
        #expect(outcome(start).isBadRequest)
    }

    @Test(
        "Every method is a token, in its own spelling",
        arguments: zip(
            ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "get", "PROPFIND", "M-SEARCH", "XXXXXXXGET", "!#$%&'*+-.^_`|~"],
            [MethodKind.get, .head, .post, .put, .delete, .options, .trace, .patch, .other, .other, .other, .other, .other]))
    func methods(method: String, kind: MethodKind) throws {
        let seen = try #require(request("\(method) / HTTP/1.1\r\nHost: x\r\n\r\n"))
        #expect(seen.method == method && seen.head.methodKind == kind)
    }

    @Test(
        "Request lines that are none are refused",
        arguments: [
            "GET /\r\n", "GET / HTTP/0.9\r\n", "GET / HTTP/1.2\r\n", "GET / HTTP/2.0\r\n", "GET / HTTP/11\r\n", "GET / http/1.1\r\n",
            "GET / HTTP/1.1 \r\n",
            "GET / HTTP/1.1x\r\n", "GET  / HTTP/1.1\r\n", "GET /  HTTP/1.1\r\n", " GET / HTTP/1.1\r\n", "GET\t/ HTTP/1.1\r\n",
            "GET /a b HTTP/1.1\r\n", "GET  HTTP/1.1\r\n",
            "GET HTTP/1.1\r\n", " / HTTP/1.1\r\n", "GE T / HTTP/1.1\r\n", "G\u{0}T / HTTP/1.1\r\n", "GET / HTTP/1.1\n", "GET / HTTP/1.1\rHost: y\r\n",
            "GET /\rHTTP/1.1\r\n",
            "CONNECT x:443 HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n", "\r\n\r\nGET / HTTP/1.1\r\n", "\nGET / HTTP/1.1\r\n", "\rGET / HTTP/1.1\r\n",
        ])
    func badLines(line: String) {
        #expect(outcome(line + "Host: x\r\n\r\n").isBadRequest)
    }

    @Test(
        "Targets that are none are refused",
        arguments: [
            "a", "*", "/a#b", "/a?b#c", "/\u{7f}", "/\u{1f}", "/ü", "/?ü", "x:80", "//", "ftp://x/", "http:/x/", "http:///a", "http://", "http://?a",
            "http://a@x/", "http://:80/",
            "http://x:y/", "http://y/", "http://x:81/", "https://x:80/", "?a", "http://x,y/", "urn:x", "http://[::1/", "",
        ].filter { $0 != "//" })
    func badTargets(target: String) {
        #expect(outcome("GET \(target) HTTP/1.1\r\nHost: x\r\n\r\n").isBadRequest)
    }

    @Test(
        "An absolute target agrees with Host whatever the case, and with or without the default port",
        arguments: [
            ("http://x/a?b", "x", "/a", "b"), ("HTTP://X.Example/", "x.EXAMPLE", "/", nil), ("http://x:80/", "x", "/", nil),
            ("http://x", "x:80", "", nil),
            ("https://x:443?q", "x", "", "q"), ("http://x:", "x", "", nil), ("http://[::1]:8080/a", "[::1]:8080", "/a", nil),
            ("http://x?", "x:", "", ""),
        ])
    func absolute(target: String, host: String, path: String, query: String?) throws {
        let seen = try #require(request("GET \(target) HTTP/1.1\r\nHost: \(host)\r\n\r\n"))
        #expect(seen.head.targetForm == .absolute && seen.path == path && seen.query == query && seen.target == target && seen.host == host)
    }

    @Test("OPTIONS may ask about the server itself, in both spellings", arguments: ["*", "http://x", "https://x:443"])
    func asterisk(target: String) throws {
        let seen = try #require(request("OPTIONS \(target) HTTP/1.1\r\nHost: x\r\n\r\n"))
        #expect(seen.head.targetForm == .asterisk && seen.path.isEmpty && seen.query == nil)
    }

    @Test(
        "No question mark, an empty query and a query are three things; a query is not judged",
        arguments: [
            ("/a", nil), ("/a?", ""), ("/a??", "?"), ("/?%zz&{}|\"<>\\^`=//..", "%zz&{}|\"<>\\^`=//.."),
        ])
    func queries(target: String, query: String?) throws {
        #expect(try #require(request("GET \(target) HTTP/1.1\r\nHost: x\r\n\r\n")).query == query)
    }

    @Test(
        "Host is there exactly once, in HTTP/1.0 too",
        arguments: [
            "HTTP/1.0\r\n", "HTTP/1.1\r\n", "HTTP/1.1\r\nHost: x\r\nHost: x\r\n", "HTTP/1.1\r\nHost: x\r\nhost: y\r\n", "HTTP/1.1\r\nHost:\r\n",
        ])
    func hostCount(rest: String) {
        #expect(outcome("GET / \(rest)\r\n").isBadRequest)
    }

    @Test(
        "Field lines that are none are refused",
        arguments: [
            "X", "X y: z", "X : y", "X\t: y", ": y", " X: y", "\tX: y", "X: y\r\n z", "X: y\r\n\tz", "X: a\u{0}b", "X: a\u{1}", "X: a\u{7f}b",
            "X: a\u{b}b", "X: a\nY: b", "X: a\rY: b",
            "X: a\r\r", "X\u{0}: a", "Xä: a", "X(: a", "X\": a", "X/: a", "X@: a", "X[: a", "X{}: a", "X;: a", "X=: a", "X,: a", "X?: a", "\u{7f}: a",
            "", "\n",
        ].filter { !$0.isEmpty })
    func badFields(field: String) {
        #expect(outcome("GET / HTTP/1.1\r\nHost: x\r\n\(field)\r\n\r\n").isBadRequest)
        #expect(outcome("GET / HTTP/1.1\r\n\(field)\r\nHost: x\r\n\r\n").isBadRequest)
    }

    @Test("Values may have tabs, bytes above ASCII and anything visible, at every place of a word")
    func values() throws {
        for length in 0..<40 {
            for place in 0..<length {
                var value = [UInt8](repeating: UInt8(ascii: "v"), count: length)
                for byte: UInt8 in [0x21, 0x7e, 0x80, 0xff, 0xa0] {
                    value[place] = byte
                    let head = Array("GET / HTTP/1.1\r\nHost: x\r\nX:".utf8) + value + Array("\r\n\r\n".utf8)
                    #expect(scanner.scan(head) == .head)
                    #expect(scanner.head.section[1].value.count == length)
                }
                for byte: UInt8 in [0, 8, 10, 11, 13, 31, 127] {
                    value[place] = byte
                    #expect(scanner.scan(Array("GET / HTTP/1.1\r\nHost: x\r\nX:".utf8) + value + Array("\r\n\r\n".utf8)).isBadRequest)
                }
            }
        }
    }
}
