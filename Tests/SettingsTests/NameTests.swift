// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import Settings

@Suite("Addresses, names and URLs")
struct NameTests {
    private let folder: ConfigurationFolder
    init() throws { folder = try ConfigurationFolder() }

    /// The message, or `good`, that each value has where `@` is.
    private func check(_ template: String, _ path: String, good: [String] = [], _ bad: [(String, String)]) throws {
        for value in good {
            #expect(try folder.read(template.replacing("@", with: value)).lines == [], "\(value)")
        }
        for (value, message) in bad {
            try Mistake(template.replacing("@", with: "▸\(value)"), "\(path): \(message)").check(in: folder)
        }
    }

    // MARK: Addresses

    private static let badAddresses = [
        ("localhost", "needs a port: host:port, [v6]:port or unix:/path"), ("\"a:0\"", "needs a port from 1 to 65535"),
        ("\"a:65536\"", "needs a port from 1 to 65535"), ("\"a:\"", "needs a port from 1 to 65535"), ("\"a:http\"", "needs a port from 1 to 65535"),
        ("\"a:+1\"", "needs a port from 1 to 65535"), ("\"a:-1\"", "needs a port from 1 to 65535"), ("\"a:1 \"", "needs a port from 1 to 65535"),
        ("\"a:999999999999999999999\"", "needs a port from 1 to 65535"), ("\"a:٣\"", "needs a port from 1 to 65535"),
        ("\":80\"", "must be host:port, [v6]:port or unix:/path"), ("\"*:80\"", "must be host:port, [v6]:port or unix:/path"),
        ("\"::1:80\"", "must be host:port, [v6]:port or unix:/path"), ("\"a b:80\"", "must be host:port, [v6]:port or unix:/path"),
        ("\"http://a:80\"", "must be host:port, [v6]:port or unix:/path"), ("\"1.2.3:80\"", "must be host:port, [v6]:port or unix:/path"),
        ("\"256.0.0.1:80\"", "must be host:port, [v6]:port or unix:/path"), ("\"a..b:80\"", "must be host:port, [v6]:port or unix:/path"),
        ("\"é.example:80\"", "must be host:port, [v6]:port or unix:/path"), ("\"[::1:80\"", "must be host:port, [v6]:port or unix:/path"),
        ("\"[a]:80\"", "has brackets around what is no IPv6 address"), ("\"[]:80\"", "has brackets around what is no IPv6 address"),
        ("\"[127.0.0.1]:80\"", "has brackets around what is no IPv6 address"), ("\"[fe80::1%lo]:80\"", "has brackets around what is no IPv6 address"),
        ("\"unix:\"", "needs the path of a socket after unix:"), ("\"unix:/run/\"", "needs the path of a socket after unix:"),
        ("\"unix:/\(String(repeating: "a", count: 107))\"", "has a socket path of more than 107 bytes"),
    ]

    @Test(
        "An address is host:port, [v6]:port or unix:PATH, wherever one is due",
        arguments: [
            ("listeners: [{address: @}]", "listeners[0].address"), ("admin: {address: @}", "admin.address"),
            ("store: {redis: {addresses: [@]}}", "store.redis.addresses[0]"), ("upstreams: {a: {endpoints: [@]}}", "upstreams.a.endpoints[0]"),
        ])
    func addresses(_ template: String, _ path: String) throws {
        try check(
            template, path,
            good: [
                "localhost:1", "\"127.0.0.1:65535\"", "\"[::1]:80\"", "\"[::ffff:1.2.3.4]:80\"", "a_b-c.example:80", "\"0.0.0.0:80\"", "unix:/run/a",
                "unix:a", "\"unix:/\(String(repeating: "a", count: 106))\"",
            ], Self.badAddresses)
    }

    @Test("A trusted proxy is an address or a range of them")
    func ranges() throws {
        try check(
            "trusted_proxies: [@]", "trusted_proxies[0]", good: ["10.0.0.0/8", "127.0.0.1", "\"::1\"", "\"fd00::/8\"", "0.0.0.0/0"],
            ["10.0.0.0/33", "a.example", "10.0.0/8", "10.0.0.0/", "\"[::1]\"", "\"::/129\"", "\"10.0.0.0/-1\"", "\"127.0.0.1:80\""].map {
                ($0, "must be an IP address or a range such as 10.0.0.0/8")
            })
    }

    @Test("A route's host is a name or address without a port, or everything below a name")
    func hosts() throws {
        try check(
            "upstreams: {a: {endpoints: [\"a:1\"]}}\nroutes: [{path: /, upstream: a, hosts: [@]}]", "routes[0].hosts[0]",
            good: ["a.example", "\"*.example.com\"", "127.0.0.1", "\"[::1]\""],
            ["\"*\"", "\"*.\"", "\"a.*\"", "\"*a.example\"", "\"a:80\"", "\"::1\"", "\"a/b\"", "\"[a]\"", "é"].map {
                ($0, "must be a host's name or address without a port, or *.name")
            })
    }

    @Test("A server's name in TLS is a name or an address")
    func serverNames() throws {
        try check(
            "store: {redis: {tls: {server_name: @}}}", "store.redis.tls.server_name", good: ["a.example", "127.0.0.1", "\"::1\""],
            [("\"a:80\"", "must be a host's name or address"), ("\"*.a\"", "must be a host's name or address")])
    }

    @Test("A URL is http or https, with a good host, and without user, password and fragment")
    func urls() throws {
        let blanks = "must be a URL without blanks, fragment, user and password"
        try check(
            "issuers: [{name: n, issuer: i, audiences: [a], algorithms: [ES256], jwks: {url: @}}]", "issuers[0].jwks.url",
            good: ["https://a.example/k?x=1", "\"http://[::1]:80/\"", "https://a", "\"https://127.0.0.1:8443\""],
            [
                ("ftp://a/", "must be an http or https URL"), ("HTTPS://a/", "must be an http or https URL"),
                ("a.example", "must be an http or https URL"),
                ("https://u@a/", blanks), ("\"https://u:p@a/\"", blanks), ("\"https://a/#x\"", blanks), ("\"https://a/ b\"", blanks),
                ("\"https://a/\\\\b\"", blanks), ("https://é/", blanks), ("\"https://\"", "has no good host"), ("https:///a", "has no good host"),
                ("\"https://a:0/\"", "has no port from 1 to 65535"), ("\"https://a:/\"", "has no port from 1 to 65535"),
                ("\"https://a:+443/\"", "has no port from 1 to 65535"), ("\"https://a:65536/\"", "has no port from 1 to 65535"),
                ("\"https://[a]/\"", "has no good host"), ("\"https://1.2.3/\"", "has no good host"),
            ])
    }

    // MARK: Fields and cookies

    @Test("An identity header is a field name that has no other meaning, in no other spelling either")
    func identityHeaders() throws {
        for (template, path) in [
            ("identity_headers: {user: @}", "identity_headers.user"), ("identity_headers: {session: @}", "identity_headers.session"),
            ("token_sources: [{header: @}]", "token_sources[0].header"),
        ] {
            try check(
                template, path, good: ["X-A", "x_a", "\"X!#$%&'*+.^`|~\""],
                ["\"X A\"", "\"X:A\"", "X-É", "\"X(A)\"", "\"X,A\""].map { ($0, "must be a field name: letters, digits and -") }
                    + [
                        "Host", "Content-Length", "content_length", "Transfer-Encoding", "Connection", "Cookie", "Authorization", "TE", "Upgrade",
                        "X-Forwarded-For", "x_forwarded_host", "X-Original-URI", "X-Rewrite-URL", "Forwarded", "Via", "X-Request-Id", "--",
                        "Sec-WebSocket-Key",
                    ].map { ($0, "is a field that has another meaning") } + [("X-\(String(repeating: "a", count: 127))", "has more than 128 bytes")])
        }
        try check("identity_headers: {user: @}", "identity_headers.user", good: ["X-Forwarded-User", "X-Forwarded-Email"], [])
        try check("token_sources: [{header: @}]", "token_sources[0].header", [("X-Forwarded-Access-Token", "is a field that has another meaning")])
        try Mistake(
            "identity_headers: {claims: {▸\"X A\": a, ▸Host: b, ▸Content_Type: c, X-Good: d}}",
            "identity_headers.claims.X?A: must be a field name: letters, digits and -",
            "identity_headers.claims.Host: is a field that has another meaning",
            "identity_headers.claims.Content_Type: is a field that has another meaning"
        ).check()
    }

    @Test(
        "No two identity headers are alike without case and punctuation, nor is one a token's",
        arguments: [
            Mistake(
                "identity_headers: {session: ▸x-auth-USER}",
                "identity_headers.session: looks like another identity header when case and punctuation do not count"),
            Mistake(
                "identity_headers: {claims: {X_Auth_User: ▸email}}",
                "identity_headers.claims.X_Auth_User: looks like another identity header when case and punctuation do not count"),
            Mistake(
                "identity_headers: {claims: {X-A: a, XA: ▸b}}",
                "identity_headers.claims.XA: looks like another identity header when case and punctuation do not count"),
            Mistake(
                "token_sources: [header, {header: ▸x_auth_user}]", "token_sources[1].header: is an identity header: those never come from clients"),
            Mistake(
                "token_sources: [header, ▸header, {query: a}, ▸{query: a}, {header: X-A}, ▸{header: x_a}, cookie, ▸cookie]",
                "token_sources[1]: is in the list already", "token_sources[3]: is in the list already", "token_sources[5]: is in the list already",
                "token_sources[7]: is in the list already"),
            Mistake(
                "token_sources: [{query: ▸\"a=b\"}, ▸{query: a, header: X-A}, {▸cookie: a}]".replacing("{▸cookie", with: "▸{▸cookie"),
                "token_sources[0].query: must have letters, digits and - . _ ~ alone",
                "token_sources[1]: must be header, cookie, {query: NAME} or {header: NAME}",
                "token_sources[2]: must be header, cookie, {query: NAME} or {header: NAME}",
                "token_sources[2].cookie: is no key here; there are header, query"),
        ])
    func alike(_ mistake: Mistake) throws { try mistake.check(in: folder) }

    @Test("Cookies have names that browsers take with what surrounds them")
    func cookies() throws {
        let secure = "browsers take cookies whose name begins with __Host- or __Secure- only if they are secure"
        let path = "cannot begin with __Host-: browsers want the path / for it, and this cookie's is sessions.api_path"
        let plain = "access_name: a, refresh_name: b"
        for good in ["enabled: false, secure: false", "\(plain), secure: false", "access_name: __Secure-a", "same_site: none", "same_site: strict"] {
            #expect(try folder.read("sessions: {cookies: {\(good)}}").lines == [], "\(good)")
        }
        #expect(try folder.read("sessions: {api_path: /, cookies: {refresh_name: __Host-r}}").lines == [])
        for mistake in [
            Mistake("sessions: {cookies: {secure: ▸false}}", "sessions.cookies.secure: \(secure)"),
            Mistake("sessions: {cookies: {secure: ▸false, access_name: a}}", "sessions.cookies.secure: \(secure)"),
            Mistake("sessions: {cookies: {secure: false, access_name: ▸__HOST-a, refresh_name: b}}", "sessions.cookies.access_name: \(secure)"),
            Mistake("sessions: {cookies: {secure: false, access_name: a, refresh_name: ▸__secure-b}}", "sessions.cookies.refresh_name: \(secure)"),
            Mistake("sessions: {cookies: {refresh_name: ▸__Host-r}}", "sessions.cookies.refresh_name: \(path)"),
            Mistake(
                "sessions: {api_path: /, cookies: {access_name: a, refresh_name: ▸a}}", "sessions.cookies.refresh_name: is the name of both cookies"),
            Mistake(
                "sessions: {cookies: {access_name: ▸__Secure-portcullis-refresh}}", "sessions.cookies.access_name: is the name of both cookies"),
            Mistake(
                "sessions: {cookies: {\(plain), secure: false, same_site: ▸none}}",
                "sessions.cookies.same_site: browsers take same_site none only with secure"),
            Mistake(
                "sessions: {cookies: {access_name: ▸\"a b\"}}", "sessions.cookies.access_name: must be a cookie's name: letters, digits, - and _"),
            Mistake(
                "sessions: {cookies: {access_name: ▸\"a=b\"}}", "sessions.cookies.access_name: must be a cookie's name: letters, digits, - and _"),
            Mistake(
                "sessions: {cookies: {access_name: ▸\"a;b\"}}", "sessions.cookies.access_name: must be a cookie's name: letters, digits, - and _"),
            Mistake(
                "sessions: {cookies: {access_name: ▸\(String(repeating: "a", count: 129))}}",
                "sessions.cookies.access_name: has more than 128 bytes"),
        ] {
            try mistake.check(in: folder)
        }
    }

    // MARK: Paths and the rest

    @Test("The session API's path is a normal one, without a slash at its end")
    func apiPath() throws {
        try check(
            "sessions: {api_path: @}", "sessions.api_path", good: ["/", "/a", "/a/b"],
            [("auth", "must begin with a slash and not end with one"), ("/auth/", "must begin with a slash and not end with one")]
                + ["/a//b", "/a/../b", "/%61", "/a?b", "/a b", "/é"].map { ($0, "must be a path in its normal form") })
    }

    @Test("A route's path is one that requests can have, by what paths says")
    func routePaths() throws {
        let upstream = "upstreams: {a: {endpoints: [\"a:1\"]}}\n"
        let impossible = "is a path that no request can have: see paths"
        try check(
            upstream + "routes: [{upstream: a, path: @}]", "routes[0].path", good: ["/", "/a/b", "/a%20b", "/a.b"],
            [("a", "must begin with a slash"), ("\"*\"", "must begin with a slash")]
                + ["/a//b", "/a/../b", "/%2f", "/%00", "/a?b", "\"/a#b\"", "/%zz"].map { ($0, impossible) })
        #expect(try folder.read(upstream + "paths: {encoded_slashes: keep}\nroutes: [{upstream: a, path: /a%2Fb}]").lines == [])
    }

    @Test("A method is one in capitals that can be forwarded, a scope is one, a redirect is a path or a URL")
    func routeValues() throws {
        func template(_ member: String) -> String { "upstreams: {a: {endpoints: [\"a:1\"]}}\nroutes: [{path: /, upstream: a, \(member)}]" }
        try check(
            template("methods: [@]"), "routes[0].methods[0]", good: ["GET", "PROPFIND", "M-SEARCH"],
            [
                ("get", "must be a method in capitals"), ("\"G T\"", "must be a method in capitals"),
                ("CONNECT", "is a method that is never forwarded"),
            ])
        try check(
            template("scopes: [@]"), "routes[0].scopes[0]", good: ["read", "a:b/c"], [("\"a b\"", "must be one scope, without blanks")])
        try check(
            template("login_redirect: @"), "routes[0].login_redirect", good: ["/login?to=x", "https://a.example/login"],
            [
                ("//evil.example", "must be a path or an http or https URL"), ("\"/a b\"", "must be a path or an http or https URL"),
                ("\"/\\\\a\"", "must be a path or an http or https URL"), ("login", "must be an http or https URL"),
                ("javascript:x", "must be an http or https URL"),
            ])
    }

    @Test("An upstream has a name that metrics and log lines can show; the key prefix one that Redis' patterns do not read")
    func names() throws {
        try Mistake("upstreams: {▸\"a b\": {endpoints: [\"a:1\"]}}", "upstreams.a?b: must have a name of letters, digits, - _ and dots, at most 128")
            .check(in: folder)
        let prefix = "must have at most 128 visible ASCII characters, none of { } [ ] * ? \\"
        try check(
            "store: {redis: {key_prefix: @}}", "store.redis.key_prefix", good: ["\"\"", "\"a:b:\""],
            ["\"a*\"", "\"{a}\"", "\"a?\"", "\"[a]\"", "\"a b\"", "é", "\"a\\\\\"", String(repeating: "a", count: 129)].map { ($0, prefix) })
    }
}
