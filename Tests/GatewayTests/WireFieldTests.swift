// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import Gateway

@Suite("Lengths, limits and the fields that matter")
struct WireFieldTests {
    private let scanner = RequestScanner(limits: HeadLimits())

    private func request(_ fields: String, version: String = "HTTP/1.1", method: String = "POST") -> ScannedRequest? {
        scanner.request(Array("\(method) / \(version)\r\nHost: x\r\n\(fields)\r\n".utf8))
    }

    @Test(
        "A length that two parsers could read differently is refused",
        arguments: [
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5, 5\r\n", "Content-Length: +5\r\n", "Content-Length: -1\r\n", "Content-Length: 0x5\r\n", "Content-Length: 1_0\r\n",
            "Content-Length: 5 5\r\n",
            "Content-Length:\r\n", "Content-Length: 9223372036854775808\r\n", "Content-Length: 99999999999999999999999\r\n", "Content-Length: ５\r\n",
            "Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: identity\r\n", "Transfer-Encoding: xchunked\r\n", "Transfer-Encoding: chunked;q=1\r\n",
            "Transfer-Encoding: \"chunked\"\r\n",
            "Transfer-Encoding: ,chunked\r\n", "Transfer-Encoding:\r\n", "Transfer-Encoding: chun\r\n ked\r\n",
        ])
    func ambiguousLengths(fields: String) {
        #expect(request(fields) == nil)
    }

    @Test(
        "Lengths are digits up to what 64 bits hold, or the one coding in any case",
        arguments: [
            ("", BodyFraming.none), ("Content-Length: 0\r\n", .counted(0)), ("content-LENGTH:007\r\n", .counted(7)),
            ("Content-Length: 9223372036854775807 \r\n", .counted(.max)),
            ("transfer-encoding: Chunked\t\r\n", .chunked),
        ])
    func lengths(fields: String, framing: BodyFraming) throws {
        #expect(try #require(request(fields)).head.framing == framing)
    }

    @Test(
        "A line that not every parser may read as we do is told from a plain one",
        arguments: [
            (" 5", true), ("5", false), ("  5", false), ("\t5", false), (" 5\t", false), (" 5 ", false), (" \t5", false),
        ])
    func plainLines(value: String, isPlain: Bool) {
        let bytes = Array("GET / HTTP/1.1\r\nHost: x\r\nContent-Length:\(value)\r\n\r\n".utf8)
        bytes.withUnsafeBytes { raw in
            #expect(scanner.scan(raw) == .head && scanner.head.framing == .counted(5))
            #expect(scanner.head.first(.contentLength)?.isPlain(raw) == isPlain)
        }
    }

    @Test("HTTP/1.0 knows no chunks, no upgrade and no 100")
    func oldVersion() throws {
        #expect(request("Transfer-Encoding: chunked\r\n", version: "HTTP/1.0") == nil)
        let seen = try #require(request("Connection: upgrade\r\nUpgrade: websocket\r\nExpect: 100-continue\r\n", version: "HTTP/1.0"))
        #expect(seen.upgrade == nil && !seen.head.expectsContinue && !seen.head.keepAlive && seen.head.minorVersion == 0)
    }

    @Test(
        "A connection goes on as the version and Connection say",
        arguments: [
            ("HTTP/1.1", "", true), ("HTTP/1.1", "Connection: close\r\n", false), ("HTTP/1.1", "Connection: Keep-Alive,  CLOSE\r\n", false),
            ("HTTP/1.1", "Connection: x\r\nConnection: close\r\n", false), ("HTTP/1.0", "", false), ("HTTP/1.0", "Connection: keep-alive\r\n", true),
            ("HTTP/1.0", "Connection: keep-alive, close\r\n", false), ("HTTP/1.1", "Connection: closed\r\n", true),
            ("HTTP/1.1", "Connection:\r\n", true),
        ])
    func persistence(version: String, fields: String, keepAlive: Bool) throws {
        #expect(try #require(request(fields, version: version)).head.keepAlive == keepAlive)
    }

    @Test("Options of Connection beyond its own are noticed; what is no token is refused")
    func connectionOptions() throws {
        #expect(try #require(request("Connection: close, te, Upgrade, keep-alive,,\r\n")).head.hasConnectionOptions == false)
        #expect(try #require(request("Connection: close\r\nConnection: te ,X-A\r\n")).head.hasConnectionOptions)
        #expect(request("Connection: a b\r\n") == nil)
        #expect(request("Connection: \"close\"\r\n") == nil)
    }

    @Test(
        "An upgrade is one protocol that Connection names too",
        arguments: [
            ("Connection: Upgrade\r\nUpgrade: websocket\r\n", "websocket"), ("Connection: keep-alive, upgrade\r\nUpgrade: a/1.0\r\n", "a/1.0"),
            ("Upgrade: websocket\r\n", nil),
            ("Connection: upgrade\r\n", nil), ("Connection: upgrade\r\nUpgrade: a, b\r\n", nil),
            ("Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n", nil),
            ("Connection: upgrade\r\nUpgrade: a/b/c\r\n", nil), ("Connection: upgrade\r\nUpgrade: a/\r\n", nil),
            ("Connection: upgrade\r\nUpgrade:\r\n", nil),
        ])
    func upgrades(fields: String, upgrade: String?) throws {
        #expect(try #require(request(fields, method: "GET")).upgrade == upgrade)
    }

    @Test("Expectations: the one there is is noticed, others are the upstream's")
    func expectations() throws {
        #expect(try #require(request("Expect: 100-Continue\r\nContent-Length: 1\r\n")).head.expectsContinue)
        #expect(try #require(request("Expect: 200-ok\r\n")).head.expectsContinue == false)
        #expect(try #require(request("TE: deflate;q=0.5, trailers\r\n")).head.teTrailers)
        #expect(try #require(request("TE: deflate\r\n")).head.teTrailers == false)
    }

    @Test("Known fields are recognised in any case, repetitions are noticed")
    func kinds() throws {
        let seen = try #require(request("AUTHORIZATION: a\r\nauthorization: b\r\nx-request-ID: c\r\nHTTP2-Settings: d\r\nVia: e\r\nX-Other: f\r\n"))
        #expect(seen.fields.map(\.kind) == [.host, .authorization, .authorization, .xRequestID, .http2Settings, .via, .other])
        #expect(seen.head.seen.contains(.authorization) && seen.head.repeated.contains(.authorization))
        #expect(!seen.head.repeated.contains(.host) && !seen.head.seen.contains(.cookie))
        #expect(seen.head.first(.authorization)?.value == seen.head.fields[1].value && seen.head.first(.cookie) == nil)
    }

    @Test(
        "Other spellings of what frames, routes or tells where it came from are recognised",
        arguments: [
            ("Content_Length", FieldKind.otherSpelling), ("Transfer-Encoding-", .otherSpelling), ("H.ost", .otherSpelling),
            ("ContentLength", .otherSpelling),
            ("X_Forwarded_For", .otherForwarding), ("XForwardedHost", .otherForwarding), ("x.forwarded.port", .otherForwarding),
            ("X-Forwarded-Prefix", .otherForwarding),
            ("-X-Forwarded-Uri", .otherForwarding), ("X-Original-URL", .otherForwarding), ("x~original~method", .otherForwarding),
            ("Forwarded", .otherForwarding),
            ("For-Warded", .otherForwarding), ("X-Rewrite-URL", .otherForwarding), ("X_Rewrite_Url", .otherForwarding), ("X-Forward", .other),
            ("X-Origin", .other),
            ("X-Rewrite-Urls", .other), ("Hosts", .other), ("Cookie_", .other), ("XX-Forwarded-For", .other),
        ])
    func spellings(name: String, kind: FieldKind) throws {
        #expect(try #require(request("\(name): a\r\n")).fields.last?.kind == kind)
    }

    @Test("Names that differ in case and punctuation alone have one alias hash, and it is the one of configuration")
    func aliases() throws {
        let names = ["X-Auth-User", "x_auth_user", "XAUTHUSER", "x.auth!user~"]
        _ = try #require(request(names.map { "\($0): a\r\n" }.joined()))
        let hashes = (1...names.count).map { scanner.head.fields[$0].aliasHash }
        #expect(Set(hashes) == [aliasHash(of: "x-Auth-user".utf8)])
        #expect(aliasHash(of: "xauthusers".utf8) != hashes[0] && aliasHash(of: "".utf8) == 2_166_136_261 && aliasHash(of: "a".utf8) == 0xe40c_292c)
    }

    @Test("Limits: a target, a head and a number of fields at the limit pass, one more is refused")
    func limits() {
        let base = "GET / HTTP/1.1\r\nHost: x\r\n\r\n".utf8.count
        let small = RequestScanner(limits: HeadLimits(headerBytes: base + 100, headerCount: 3, targetBytes: 10))
        func outcome(_ target: String, _ fields: String) -> RequestScanner.Outcome {
            small.scan(Array("GET \(target) HTTP/1.1\r\nHost: x\r\n\(fields)\r\n".utf8))
        }
        #expect(outcome("/123456789", "") == .head)
        #expect(outcome("/1234567890", "") == .refused(.targetTooLong))
        #expect(outcome("/", "X: \(String(repeating: "y", count: 95))\r\n") == .head)
        #expect(outcome("/", "X: \(String(repeating: "y", count: 96))\r\n") == .refused(.headerTooLarge))
        #expect(outcome("/", "A: b\r\nA: b\r\n") == .head)
        #expect(outcome("/", "A: b\r\nA: b\r\nA: b\r\n") == .refused(.headerTooLarge))
        #expect(small.scan(Array("GET /1234567890".utf8)) == .refused(.targetTooLong), "before the line has ended")
        #expect(
            small.scan(Array("GET / HTTP/1.1\r\nX: \(String(repeating: "y", count: 1000))".utf8)) == .refused(.headerTooLarge),
            "before the head has ended")
        #expect(small.scan([UInt8](repeating: UInt8(ascii: "G"), count: 1000)) == .refused(.headerTooLarge))
    }

    @Test("A head in single bytes is refused where it passes a limit, and costs no more than its bytes")
    func trickledLimits() {
        var bytes = Array("GET / HTTP/1.1\r\nHost: x\r\nX: ".utf8)
        bytes += [UInt8](repeating: UInt8(ascii: "y"), count: 40 << 10)
        let clock = ContinuousClock()
        let start = clock.now
        var count = 1
        var outcome = RequestScanner.Outcome.incomplete
        bytes.withUnsafeBytes { raw in
            while outcome == .incomplete, count < raw.count {
                outcome = scanner.scan(UnsafeRawBufferPointer(rebasing: raw[..<count]), alreadyScanned: count - 1)
                count += 1
            }
        }
        #expect(outcome == .refused(.headerTooLarge) && count == (32 << 10) + 1)
        #expect(clock.now - start < .seconds(5), "thousands of scans of the whole would take longer, even on a busy machine")
    }

    @Test("Lists are read element by element, blanks and empty ones left out")
    func lists() {
        let bytes = Array(" a,, b c ,\t,d".utf8)
        bytes.withUnsafeBytes { raw in
            var elements = ListElements(raw, ByteRange(0, raw.count))
            var seen: [String] = []
            while let element = elements.next() { seen.append(text(bytes, element)) }
            #expect(seen == ["a", "b c", "d"])
        }
    }
}
