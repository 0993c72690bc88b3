// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import Gateway

@Suite("Exactly one credential")
struct RequestCredentialTests {
    private static let cookie = "__Host-portcullis"

    /// What was found, as text: `none`, `ambiguous`, or source and token.
    private func find(_ fields: [(String, String)], line: String = "GET / HTTP/1.1", sources: [TokenSource] = [.authorization, .cookie]) throws
        -> String
    {
        var configuration = GatewayConfiguration()
        configuration.tokenSources = sources
        return try StageRequest(line, fields).with { head, bytes in
            switch CredentialRules(configuration).find(head, bytes) {
            case .none: "none"
            case .ambiguous: "ambiguous"
            case .token(let range, let source): "\(source) <\(String(decoding: bytes.slice(range), as: UTF8.self))>"
            }
        }
    }

    @Test(
        "The scheme is Bearer in any case, then blanks, then the token; another scheme is no credential",
        arguments: [
            ("Bearer a.b.c", "authorization <a.b.c>"), ("bEARER a.b.c", "authorization <a.b.c>"), ("Bearer   a.b.c", "authorization <a.b.c>"),
            ("Bearer", "authorization <>"), ("Bearer a b", "authorization <a b>"), ("Bearer a, Bearer b", "authorization <a, Bearer b>"),
            ("Basic x", "none"),
            ("a.b.c", "none"), ("Token a", "none"), ("Bearer, a", "none"), ("Bearer=a", "none"), ("BearerX a", "none"), ("Bearer\ta", "none"),
            ("", "none"),
        ])
    func authorization(value: String, found: String) throws {
        #expect(try find([("Authorization", value)]) == found)
    }

    @Test("Two Authorization fields are ambiguous whatever they say", arguments: ["Bearer a", "Basic x", "garbage", ""])
    func twoAuthorizations(other: String) throws {
        #expect(try find([("Authorization", "Bearer a"), ("authorization", other)]) == "ambiguous")
        #expect(try find([("Authorization", "Basic a"), ("authorization", other)], sources: [.cookie]) == "ambiguous")
    }

    @Test("The cookie is found among others, in several fields, by its exact name")
    func cookies() throws {
        #expect(try find([("Cookie", "a=1; \(Self.cookie)=t.o.k; b=2")]) == "cookie <t.o.k>")
        #expect(try find([("Cookie", "a=1"), ("Cookie", "\(Self.cookie)=t.o.k")]) == "cookie <t.o.k>")
        #expect(try find([("Cookie", ";; \(Self.cookie) = t.o.k ;")]) == "cookie <t.o.k>")
        for name in ["__host-portcullis", "x\(Self.cookie)", "\(Self.cookie)2", "portcullis"] {
            #expect(try find([("Cookie", "\(name)=x")]) == "none")
        }
        #expect(try find([("Cookie", "a=\(Self.cookie)=x; =\(Self.cookie)=y")]) == "none")
    }

    @Test("An empty cookie of our name is a credential, and two are ambiguous")
    func emptyCookie() throws {
        #expect(try find([("Cookie", "\(Self.cookie)=")]) == "cookie <>")
        #expect(try find([("Cookie", Self.cookie)]) == "cookie <>")
        #expect(try find([("Cookie", "\(Self.cookie)=; \(Self.cookie)=x")]) == "ambiguous")
        #expect(try find([("Cookie", "\(Self.cookie)=x"), ("Cookie", "\(Self.cookie)=x")]) == "ambiguous")
    }

    @Test("Credentials from two places are ambiguous, another scheme beside one is not")
    func twoPlaces() throws {
        #expect(try find([("Authorization", "Bearer a"), ("Cookie", "\(Self.cookie)=a")]) == "ambiguous")
        #expect(try find([("Authorization", "Basic a"), ("Cookie", "\(Self.cookie)=a")]) == "cookie <a>")
    }

    @Test("Tokens are looked for in the configured places alone")
    func places() throws {
        let both: [TokenSource] = [.query("access_token"), .field("X-Api-Token")]
        #expect(try find([], line: "GET /?a=1&access_token=t&b=2 HTTP/1.1", sources: both) == "query <t>")
        #expect(try find([], line: "GET /?access%5Ftoken=t HTTP/1.1", sources: both) == "query <t>")
        #expect(try find([], line: "GET /?access_token HTTP/1.1", sources: both) == "query <>")
        #expect(try find([], line: "GET /?access_token=t&access_token=t HTTP/1.1", sources: both) == "ambiguous")
        #expect(try find([], line: "GET /?xaccess_token=t&access_token2=t HTTP/1.1", sources: both) == "none")
        #expect(try find([("x-api-TOKEN", "t")], sources: both) == "field <t>")
        #expect(try find([("X_Api_Token", "t")], sources: both) == "none")
        #expect(try find([("X-Api-Token", "t"), ("X-Api-Token", "t")], sources: both) == "ambiguous")
        #expect(try find([("Authorization", "Bearer a"), ("Cookie", "\(Self.cookie)=a")], sources: both) == "none")
        #expect(try find([("X-Api-Token", "t")], line: "GET /?access_token=t HTTP/1.1") == "none")
    }

    @Test(
        "An upgrade by cookie needs the request's own origin",
        arguments: [
            ("http://app.example", false, true), ("HTTP://App.Example:80", false, true), ("https://app.example", true, true),
            ("https://app.example:443", true, true),
            ("https://app.example", false, false), ("http://app.example:8080", false, false), ("https://evil.example", true, false),
            ("null", false, false),
            ("http://app.example.evil", false, false), ("http://app.example/", false, false), ("http://", false, false), ("", false, false),
        ])
    func origin(value: String, isSecure: Bool, holds: Bool) throws {
        try StageRequest([("Origin", value)]).with { head, bytes in
            let client = ClientView(address: .loopback, isSecure: isSecure, host: head.host)
            #expect(SameOrigin.holds(head, bytes, client) == holds)
        }
    }

    @Test("Without an Origin, or with two, it is not the same")
    func missingOrigin() throws {
        for fields in [[], [("Origin", "http://app.example"), ("Origin", "http://app.example")]] as [[(String, String)]] {
            try StageRequest(fields).with { head, bytes in
                #expect(!SameOrigin.holds(head, bytes, ClientView(address: .loopback, isSecure: false, host: head.host)))
            }
        }
    }

    @Test(
        "Only upgrades that do not change how HTTP is spoken are carried",
        arguments: [
            ("GET", "websocket", true), ("GET", "WebSocket", true), ("POST", "websocket", false), ("POST", "my-protocol/2", true),
            ("GET", "h2c", false), ("GET", "HTTP/2.0", false),
            ("GET", "TLS/1.3", false), ("GET", "a, b", false),
        ])
    func upgrades(method: String, offered: String, isCarried: Bool) throws {
        try StageRequest("\(method) / HTTP/1.1", [("Connection", "Upgrade"), ("Upgrade", offered)]).with { head, bytes in
            #expect(Upgrade.isCarried(head, bytes) == isCarried)
        }
    }

    @Test("An upgrade with a body, or that Connection does not name, is not carried")
    func upgradesWithBody() throws {
        let upgrade = ("Upgrade", "websocket")
        for fields in [[upgrade, ("Connection", "Upgrade"), ("Content-Length", "1")], [upgrade]] {
            try StageRequest(fields).with { head, bytes in #expect(!Upgrade.isCarried(head, bytes)) }
        }
    }

    @Test(
        "A browser is who GETs and lists HTML",
        arguments: [
            ("GET", "text/html,application/xml", true), ("GET", "a/b, Text/HTML;level=1;q=0.5", true), ("GET", "text/html;q=0", false),
            ("GET", "text/html; Q=0.00", false),
            ("GET", "application/json", false), ("GET", "text/htmlx", false), ("POST", "text/html", false), ("HEAD", "text/html", false),
            ("GET", "*/*", false),
        ])
    func browsers(method: String, accept: String, isBrowser: Bool) throws {
        try StageRequest("\(method) / HTTP/1.1", [("Accept", accept)]).with { head, bytes in #expect(Browser.wantsHTML(head, bytes) == isBrowser) }
    }
}
