// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Testing

@testable import Gateway

@Suite("Where a request comes from")
struct RequestForwardingTests {
    private func world(trusting ranges: [String] = []) throws -> StageWorld {
        try StageWorld { $0.trustedProxies = ranges.compactMap { AddressRange($0) } }
    }

    private func address(_ text: String) -> Address? { Array(text.utf8).withUnsafeBytes { Address($0) } }

    @Test("An untrusted peer's fields are replaced")
    func untrusted() throws {
        let fields = [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "evil.example")]
        let sent = try world(trusting: ["10.0.0.0/8"]).forward(StageRequest(fields, host: "app.example:8080"))
        #expect(
            sent.all("X-Forwarded-For") == ["192.0.2.1"] && sent.all("X-Forwarded-Proto") == ["http"]
                && sent.all("X-Forwarded-Host") == ["app.example:8080"])
        #expect(!sent.text.contains("evil") && !sent.text.contains("203.0.113.7"))
    }

    @Test("TLS on our own listener is https")
    func secure() throws {
        #expect(try world().forward(StageRequest(), isSecure: true).all("X-Forwarded-Proto") == ["https"])
    }

    @Test("A trusted peer's fields are kept and continued")
    func trusted() throws {
        let fields = [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "HTTPS"), ("X-Forwarded-Host", "shop.example")]
        let sent = try world(trusting: ["192.0.2.0/24"]).forward(StageRequest(fields))
        #expect(sent.all("X-Forwarded-For") == ["203.0.113.7, 192.0.2.1"] && sent.all("X-Forwarded-Proto") == ["https"])
        #expect(sent.all("X-Forwarded-Host") == ["shop.example"] && sent.all("Host") == ["app.example"])
    }

    @Test(
        "The chain is read from the right, as far as it consists of addresses; the client is the last that is not trusted",
        arguments: [
            (["203.0.113.7"], "203.0.113.7, 192.0.2.1", "203.0.113.7"),
            (["1.1.1.1, 203.0.113.7,10.0.0.1"], "1.1.1.1, 203.0.113.7, 10.0.0.1, 192.0.2.1", "203.0.113.7"),
            (["1.1.1.1", "10.0.0.2 ,, 10.0.0.1"], "1.1.1.1, 10.0.0.2, 10.0.0.1, 192.0.2.1", "1.1.1.1"),
            (["1.1.1.1, unknown, 10.0.0.1"], "10.0.0.1, 192.0.2.1", "10.0.0.1"),
            (["1.1.1.1, 2.2.2.2:80"], "192.0.2.1", "192.0.2.1"), (["10.0.0.3, 10.0.0.4"], "10.0.0.3, 10.0.0.4, 192.0.2.1", "10.0.0.3"),
            ([""], "192.0.2.1", "192.0.2.1"),
            (["2001:db8::1, 010.0.0.1"], "192.0.2.1", "192.0.2.1"), (["2001:db8::1"], "2001:db8::1, 192.0.2.1", "2001:db8::1"),
        ] as [([String], String, String)])
    func chain(values: [String], sent expected: String, client: String) throws {
        let world = try world(trusting: ["192.0.2.1", "10.0.0.0/8"])
        let request = StageRequest(values.map { ("X-Forwarded-For", $0) })
        #expect(try world.forward(request).all("X-Forwarded-For") == [expected])
        let peer = try PeerAddress(SocketAddress(ipAddress: "192.0.2.1", port: 1))
        try request.with { head, bytes in
            let view = world.snapshot.view(head, bytes, peer: peer, isSecure: false)
            #expect(view.address == address(client))
            #expect(view.addressText.map { String(decoding: bytes.slice($0), as: UTF8.self) } ?? "192.0.2.1" == client)
        }
    }

    @Test(
        "What a trusted peer says of scheme and host counts only where it is one",
        arguments: [("gopher", "a b"), ("https, http", "x;y"), ("", ""), ("httpss", "x:99999")])
    func odd(proto: String, host: String) throws {
        let sent = try world(trusting: ["192.0.2.1"]).forward(StageRequest([("X-Forwarded-Proto", proto), ("X-Forwarded-Host", host)]))
        #expect(sent.all("X-Forwarded-Proto") == ["http"] && sent.all("X-Forwarded-Host") == ["app.example"])
    }

    @Test("Two schemes or hosts from a trusted peer are none")
    func repeated() throws {
        let fields = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "a"), ("X-Forwarded-Host", "b")]
        let sent = try world(trusting: ["192.0.2.1"]).forward(StageRequest(fields))
        #expect(sent.all("X-Forwarded-Proto") == ["http"] && sent.all("X-Forwarded-Host") == ["app.example"])
    }

    @Test("The control plane, and nobody else, is told who is believed to ask")
    func sessionAPI() throws {
        let world = try StageWorld { configuration in
            configuration.sessionAPI = SessionAPIConfiguration(path: "/auth", socketPath: "/run/x")
            configuration.trustedProxies = [AddressRange("192.0.2.1")].compactMap(\.self)
        }
        let request = StageRequest([
            ("X-Portcullis-Client", "evil"), ("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "shop.example"),
            ("Authorization", "Bearer a"), ("X-Auth-User", "evil"),
        ])
        let sent = try world.forward(request, route: 1)
        #expect(
            sent.all("X-Portcullis-Client") == ["203.0.113.7"] && sent.all("X-Portcullis-Scheme") == ["https"]
                && sent.all("X-Portcullis-Host") == ["shop.example"])
        #expect(sent.all("Authorization") == ["Bearer a"] && !sent.text.contains("evil"))
        #expect(try !world.forward(request, route: 0).text.lowercased().contains("x-portcullis"))
    }

    @Test(
        "Ranges are CIDR or single addresses",
        arguments: [
            ("10.0.0.0/8", "10.255.0.1", true), ("10.0.0.0/8", "11.0.0.1", false), ("10.1.2.3/8", "10.9.9.9", true), ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true), ("2001:db8::/33", "2001:db8:7fff::1", true), ("2001:db8::/33", "2001:db8:8000::1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "::ffff:127.0.0.1", true), ("::ffff:10.0.0.0/104", "10.2.3.4", true), ("::1/128", "::2", false),
            ("192.0.2.1/32", "192.0.2.2", false),
        ])
    func ranges(range: String, text: String, isInside: Bool) throws {
        #expect(try #require(AddressRange(range)).contains(try #require(address(text))) == isInside)
    }

    @Test(
        "What is no range is refused",
        arguments: [
            "", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/+8", "localhost", "10.0.0.0/8/8", "01.2.3.4", "[::1]",
            "::1%lo", "10.0.0.1:80",
        ])
    func noRanges(text: String) { #expect(AddressRange(text) == nil) }

    @Test("A peer's text is the canonical one, and a Unix socket's is 127.0.0.1")
    func peers() throws {
        for (given, text) in [("2001:DB8:0::1", "2001:db8::1"), ("::ffff:192.0.2.7", "192.0.2.7"), ("192.0.2.7", "192.0.2.7")] {
            #expect(try String(decoding: PeerAddress(SocketAddress(ipAddress: given, port: 1)).text, as: UTF8.self) == text)
        }
        #expect(try String(decoding: PeerAddress(SocketAddress(unixDomainSocketPath: "/x")).text, as: UTF8.self) == "127.0.0.1")
        #expect(PeerAddress(nil).address == address("127.0.0.1"))
    }
}

@Suite("What a request is called")
struct RequestCorrelationTests {
    private static let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    @Test("A sane request id is kept", arguments: ["a1b2-c3d4_E5", "12345678", String(repeating: "x", count: 128), "a.b.c.d."])
    func kept(id: String) throws {
        #expect(try StageWorld().forward(StageRequest([("X-Request-Id", id)])).all("X-Request-Id") == [id])
    }

    @Test(
        "An odd one is replaced",
        arguments: [String(repeating: "x", count: 129), "1234567", "a\"bcdefgh", "a b c d e f", "", "<script>", "ünicode-id"])
    func replaced(id: String) throws {
        let sent = try StageWorld().forward(StageRequest([("X-Request-Id", id)])).all("X-Request-Id")
        #expect(sent.count == 1 && sent != [id] && sent[0].count == 32 && sent[0].allSatisfy(\.isHexDigit))
    }

    @Test("Two ids are none")
    func repeated() throws {
        let sent = try StageWorld().forward(StageRequest([("X-Request-Id", "12345678"), ("X-Request-Id", "12345679")])).all("X-Request-Id")
        #expect(sent.count == 1 && sent[0].count == 32)
    }

    @Test("A valid traceparent keeps its trace and flags, with a span of ours, and tracestate beside it")
    func traced() throws {
        let sent = try StageWorld().forward(StageRequest([("traceparent", Self.trace), ("tracestate", "a=1")]))
        let parts = try #require(sent.all("traceparent").first).split(separator: "-").map(String.init)
        #expect(parts[0] == "00" && parts[1] == "4bf92f3577b34da6a3ce929d0e0e4736" && parts[3] == "01")
        #expect(parts[2].count == 16 && parts[2] != "00f067aa0ba902b7" && sent.all("tracestate") == ["a=1"])
    }

    @Test("A later version is read as far as it is like ours")
    func laterVersion() throws {
        let later = "01" + Self.trace.dropFirst(2) + "-more"
        let sent = try StageWorld().forward(StageRequest([("traceparent", later)])).all("traceparent")
        #expect(sent.first?.hasPrefix("00-4bf92f3577b34da6a3ce929d0e0e4736-") == true)
    }

    @Test(
        "A missing or bad traceparent is made anew, and tracestate dropped",
        arguments: [
            nil, "nonsense", "00-\(String(repeating: "0", count: 32))-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            trace.uppercased(), String(trace.dropLast(3)),
            "ff" + trace.dropFirst(2), trace + "-x", trace + "0",
        ] as [String?])
    func untraced(value: String?) throws {
        let sent = try StageWorld().forward(StageRequest((value.map { [("traceparent", $0)] } ?? []) + [("TraceState", "a=1")]))
        let made = try #require(sent.all("traceparent").first)
        #expect(made.count == 55 && made.hasPrefix("00-") && !made.contains("4bf92f3577b34da6") && sent.all("tracestate") == [])
    }

    @Test("Ids of one loop, and of two, are different")
    func different() {
        var one = CorrelationSource()
        var other = CorrelationSource()
        var seen: Set<[UInt8]> = []
        for _ in 0..<1000 {
            seen.insert(one.requestID().withBytes { Array($0) })
            seen.insert(other.requestID().withBytes { Array($0) })
        }
        #expect(seen.count == 2000)
    }
}
