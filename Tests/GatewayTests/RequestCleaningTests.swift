// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Testing

@testable import Gateway

@Suite("What goes on to the upstream")
struct RequestCleaningTests {
    @Test("Fields that stay keep their bytes, order and number")
    func kept() throws {
        let fields = [("Accept", "text/html, */*;q=0.1"), ("X-Two", "one"), ("x-three", "a \"quoted, value\""), ("X-Two", "two"), ("X-Empty", "")]
        let sent = try StageWorld().forward(StageRequest(fields))
        #expect(sent.first == "GET /orders HTTP/1.1")
        #expect(sent.fields.prefix(6).map(\.name) == ["Host", "Accept", "X-Two", "x-three", "X-Two", "X-Empty"])
        #expect(sent.fields.prefix(6).map(\.value) == ["app.example"] + fields.map(\.1))
        #expect(sent.text.hasSuffix("\r\n\r\n"))
    }

    @Test(
        "Identity fields of the client are dropped in every spelling",
        arguments: [
            "X-Auth-User", "x-auth-USER", "X_Auth_User", "X.Auth.User", "XAuthUser", "X--Auth--User", "-X-Auth-User", "x|auth|user", "X'Auth#User",
            "X-Auth-Session", "x.auth.issuer", "X_EMAIL", "X-Portcullis-Client", "x_portcullis_host",
        ])
    func aliases(name: String) throws {
        let world = try StageWorld { $0.identity.claims = [("x-EMAIL", "email")] }
        let sent = try world.forward(StageRequest([("A", "1"), (name, "root"), ("B", "2"), (name, "root2")]))
        #expect(!sent.text.contains("root"))
        #expect(sent.all("A") == ["1"] && sent.all("B") == ["2"])
    }

    @Test("The rule is about letters and digits only")
    func notAliases() throws {
        let fields = [("X-Auth-Users", "1"), ("X-Auth", "2"), ("Auth-User", "3"), ("XX-Auth-User", "4")]
        let sent = try StageWorld().forward(StageRequest(fields))
        for (name, value) in fields { #expect(sent.all(name) == [value]) }
    }

    @Test("Whose request it is arrives exactly once, in the configured spelling")
    func identity() throws {
        let world = try StageWorld { $0.identity.user = "rEMOTE-uSER" }
        let sent = try world.forward(StageRequest([("Remote-User", "root"), ("REMOTE_USER", "root")]), identity: world.remembered(world.token()))
        #expect(sent.fields.filter { $0.name == "rEMOTE-uSER" }.map(\.value) == ["alice"])
        #expect(sent.all("Remote-User") == ["alice"] && sent.all("REMOTE_USER") == [])
        #expect(sent.all("X-Auth-Session") == ["session-1"] && sent.all("X-Auth-Issuer") == ["portcullis"])
    }

    @Test(
        "Hop-by-hop fields stay here",
        arguments: [
            ([("Connection", "close, X-Hop"), ("X-Hop", "1")], "X-Hop"), ([("Connection", "x-hop"), ("X-HOP", "1")], "X-Hop"),
            ([("Keep-Alive", "timeout=5")], "Keep-Alive"),
            ([("Proxy-Connection", "keep-alive")], "Proxy-Connection"), ([("Proxy-Authorization", "x")], "Proxy-Authorization"),
            ([("TE", "gzip")], "TE"),
            ([("Upgrade", "h2c"), ("Connection", "Upgrade, HTTP2-Settings"), ("HTTP2-Settings", "AA")], "HTTP2-Settings"),
            ([("Upgrade", "h2c"), ("Connection", "Upgrade")], "Upgrade"),
            ([("Upgrade", "websocket")], "Upgrade"), ([("Connection", "close")], "Connection"),
            ([("Connection", "a,  ,b"), ("Connection", "c"), ("C", "1")], "C"),
        ] as [([(String, String)], String)])
    func hopByHop(fields: [(String, String)], dropped: String) throws {
        let sent = try StageWorld().forward(StageRequest(fields + [("X-End", "1")]))
        #expect(sent.all(dropped) == [] && sent.all("X-End") == ["1"])
    }

    @Test(
        "Connection cannot remove Host, the framing, or what the gateway adds",
        arguments: ["Host", "Content-Length", "Via", "X-Request-Id", "traceparent", "X-Forwarded-For", "X-Forwarded-Host"])
    func connectionCannotRemove(name: String) throws {
        let world = try StageWorld()
        let request = StageRequest("POST / HTTP/1.1", [("Connection", name), ("Content-Length", "3"), ("Via", "1.0 fred")])
        try request.with { head, bytes in #expect(world.snapshot.cleaning.judge(head, bytes) == nil) }
        let sent = try world.forward(request)
        #expect(sent.all(name).count >= 1)
        #expect(sent.all("Via").joined(separator: ", ") == "1.0 fred, 1.1 portcullis")
    }

    @Test(
        "A Connection that names one of ours is refused, and so is one that names too many",
        arguments: ["X-Auth-User", "x_auth_user", "close, X-Auth-Session", "x.auth.issuer"])
    func connectionNamesOurs(value: String) throws {
        let cleaning = try StageWorld().snapshot.cleaning
        try StageRequest([("Connection", value)]).with { head, bytes in #expect(cleaning.judge(head, bytes) == .badRequest) }
        try StageRequest([("Connection", "ok"), ("Connection", value)]).with { head, bytes in #expect(cleaning.judge(head, bytes) == .badRequest) }
        let many = (0..<65).map { "x\($0)" }.joined(separator: ",")
        try StageRequest([("Connection", many)]).with { head, bytes in #expect(cleaning.judge(head, bytes) == .badRequest) }
    }

    @Test("Other spellings of Host, of the framing and of forwarding fields are dropped")
    func otherSpellings() throws {
        let names = [
            "H_ost", "Content_Length", "Transfer.Encoding", "X_Forwarded_For", "X.Forwarded.Host", "X-Forwarded-Port", "Forwarded", "X-Original-URL",
            "X-Rewrite-URL",
        ]
        let sent = try StageWorld().forward(StageRequest(names.map { ($0, "evil") }))
        #expect(!sent.text.contains("evil"))
        #expect(sent.all("Host") == ["app.example"])
    }

    @Test("TE: trailers passes, hop by hop")
    func trailersWanted() throws {
        let sent = try StageWorld().forward(StageRequest([("TE", "trailers, gzip")]))
        #expect(sent.all("TE") == ["trailers"] && sent.all("Connection") == ["TE"])
    }

    @Test("An upgrade goes on with what it needs")
    func upgrade() throws {
        let sent = try StageWorld().forward(
            StageRequest([("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "k"), ("Origin", "http://x")]))
        #expect(sent.all("Upgrade") == ["websocket"] && sent.all("Connection") == ["Upgrade"])
        #expect(sent.all("Sec-WebSocket-Key") == ["k"] && sent.all("Origin") == ["http://x"])
    }

    @Test("The framing goes on as it was, and Expect from HTTP/1.1 alone")
    func framing() throws {
        let world = try StageWorld()
        let counted = try world.forward(StageRequest("POST / HTTP/1.1", [("Content-Length", "5"), ("Expect", "100-continue")]))
        #expect(counted.all("Content-Length") == ["5"] && counted.all("Transfer-Encoding") == [] && counted.all("Expect") == ["100-continue"])
        let chunked = try world.forward(StageRequest("POST / HTTP/1.1", [("transfer-encoding", "chunked"), ("Trailer", "X-Sum")]))
        #expect(chunked.all("Transfer-Encoding") == ["chunked"] && chunked.all("Content-Length") == [] && chunked.all("Trailer") == ["X-Sum"])
        let old = try world.forward(StageRequest("POST / HTTP/1.0", [("Content-Length", "5"), ("Expect", "100-continue")]))
        #expect(old.first == "POST / HTTP/1.1" && old.all("Expect") == [] && old.all("Via") == ["1.0 portcullis"])
    }

    @Test("The credential stays here: Authorization, our cookies, token fields and parameters")
    func credentials() throws {
        let sources: [TokenSource] = [.authorization, .cookie, .query("access_token"), .field("X-Api-Token")]
        let world = try StageWorld { $0.tokenSources = sources }
        let fields = [
            ("Authorization", "Basic secret"), ("X-Api-Token", "secret"), ("Cookie", "theme=dark; __Host-portcullis=secret; lang=en"),
            ("Cookie", "__Secure-portcullis-refresh=secret"), ("cookie", "plain=1"),
        ]
        let sent = try world.forward(StageRequest("GET /x?a=1&access_token=secret&b=%2F&&access%5ftoken=secret HTTP/1.1", fields))
        #expect(!sent.text.contains("secret"))
        #expect(sent.first == "GET /x?a=1&b=%2F& HTTP/1.1")
        #expect(sent.all("Cookie") == ["theme=dark; lang=en", "plain=1"])
        #expect(try world.forward(StageRequest("GET /x?access_token=secret HTTP/1.1")).first == "GET /x HTTP/1.1")
    }

    @Test("Where the route forwards the token, all of it goes on as it came")
    func forwardToken() throws {
        let world = try StageWorld(routes: [StageWorld.route("/") { $0.forwardToken = true }]) {
            $0.tokenSources = [.authorization, .query("t"), .field("X-Api-Token")]
        }
        let sent = try world.forward(
            StageRequest("GET /x?t=1 HTTP/1.1", [("Authorization", "Bearer a"), ("Cookie", "__Host-portcullis=c"), ("X-Api-Token", "f")]))
        #expect(sent.first == "GET /x?t=1 HTTP/1.1")
        #expect(sent.all("Authorization") == ["Bearer a"] && sent.all("Cookie") == ["__Host-portcullis=c"] && sent.all("X-Api-Token") == ["f"])
    }

    @Test("The query goes on byte for byte", arguments: ["?a=b&c=%20d", "?x=%2F%2e%2e%2f", "?", "?a=//b/../c;d", "?q=a?b", "?%zz"])
    func query(text: String) throws {
        #expect(try StageWorld().forward(StageRequest("GET /item\(text) HTTP/1.1")).first == "GET /item\(text) HTTP/1.1")
    }

    @Test(
        "strip_prefix removes the matched prefix once",
        arguments: [
            ("/api/v1/orders/7?x=1", "/orders/7?x=1"), ("/api/v1", "/"), ("/api/v1/", "/"), ("/api/v1/api/v1", "/api/v1"), ("/api/v1?q", "/?q"),
        ])
    func stripPrefix(target: String, expected: String) throws {
        let world = try StageWorld(routes: [StageWorld.route("/api/v1") { $0.stripPrefix = true }])
        #expect(try world.forward(StageRequest("GET \(target) HTTP/1.1")).first == "GET \(expected) HTTP/1.1")
    }

    @Test("A head with the most fields and the longest chain fits into what was reserved")
    func largest() throws {
        let world = try StageWorld { $0.trustedProxies = [AddressRange("0.0.0.0/0")].compactMap(\.self) }
        let chain = Array(repeating: "1.1.1.1", count: 900).joined(separator: ",")
        let cookies = Array(repeating: "a", count: 3000).joined(separator: ";") + ";__Host-portcullis=x"
        let sent = try world.forward(
            StageRequest([("X-Forwarded-For", chain), ("Cookie", cookies), ("X-Forwarded-Host", String(repeating: "h", count: 4000))]))
        #expect(sent.all("X-Forwarded-For").first?.split(separator: ",").count == 901)
        #expect(sent.all("Cookie").first?.split(separator: ";").count == 3000)
    }
}
