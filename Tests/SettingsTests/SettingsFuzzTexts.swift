// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// Where fuzzing begins: what once was trouble, here or in other YAML parsers, and what the parser and the reading care for.
enum SettingsFuzzTexts {
    /// `c4n4ry` is what no message may show.
    static let good: [String] = [
        "{}",
        """
        # c4n4ry
        listeners:
          - address: "127.0.0.1:8080"
            protocols: [http/1.1]
          - {address: "unix:run/c4n4ry"}
        trusted_proxies: [10.0.0.0/8, "::1"]
        admin: {address: "[::1]:9180", token: c4n4ry}
        workers: auto
        store: {kind: redis, redis: {mode: standalone, addresses: ["127.0.0.1:6379"], password: "c4n4ry", key_prefix: 'c4n4ry:'}}
        revocation:
          mode: strict
          max_staleness: 1s
          grace: 0s
        """,
        """
        sessions:
          api_path: /auth
          issuer: &own c4n4ry
          audience:
          - *own
          access_token_lifetime: 5m
          max_per_user: 0100
          cookies: {enabled: true, access_name: __Host-c4n4ry, same_site: lax, secure: yes}
        issuers:
          - name: idp
            issuer: https://c4n4ry.example
            audiences: [c4n4ry]
            algorithms: [RS256, ES256]
            jwks: {url: "https://c4n4ry.example/", refresh: 5m}
            leeway: 30s
          - {name: b, issuer: c, any_audience: true, algorithms: [HS256], secret: c4n4ryc4n4ryc4n4ryc4n4ryc4n4ryc4n4ry}
        """,
        """
        token_sources: [header, cookie, {query: c4n4ry}, {header: X-C4n4ry}]
        identity_headers: {user: X-U, claims: {X-Email: c4n4ry}}
        upstreams: {legacy: {endpoints: ["127.0.0.1:9001"], retries: 1, tls: {server_name: c4n4ry}}}
        routes:
          - path: /c4n4ry
            upstream: legacy
            hosts: ["*.c4n4ry"]
            methods: [GET]
            claims: {role: [c4n4ry, 5, true]}
            login_redirect: null
            rate_limit: {requests: 100, per: 1s, by: user}
          - {path: /, upstream: legacy, auth: none}
        limits:
          header_bytes: 32KiB
          head_timeout: 10s
        logging: {level: info, access_log: true}
        shutdown: {drain: ${DRAIN}}
        """,
    ]

    /// Replayed by every run. What a run has found is added here.
    static let replayed: [[UInt8]] =
        [
            "", "\n", "\0", "\u{FEFF}", "\u{FEFF}{}", "{}\u{FEFF}", "~", "---", "--- ---", "...", "---\n---\n", "{}\n--- {}", "{}\n...\n{}",
            "%YAML 1.2\n---\n{}",
            "%YAML 9.9\n---\n{}", "%TAG ! tag:c4n4ry,\n---\n!x {}", "%c4n4ry\n---\n{}", "!!map {}", "!<tag:yaml.org,2002:map> {}",
            "!!python/object:c4n4ry {}",
            "!!binary c4n4ry", "!c4n4ry!x {}", "\t{}", "limits:\n\thead_timeout: c4n4ry", "limits: {head_timeout: c4n4ry",
            "limits: {head_timeout: \"c4n4ry",
            "limits: 'c4n4ry", "a: b: c4n4ry", "- c4n4ry\n-", "[c4n4ry, ]", "[,]", "{,}", "{c4n4ry}", "{? }", "? ", "? ? ? a", ": c4n4ry", "*c4n4ry",
            "&c4n4ry",
            "&a *a", "a: &a [*a]", "&a {x: *a}", "a: &a 1\nb: &a 2\nc: *a", "{<<: *c4n4ry}", "&a {<<: {workers: 1}}", "workers: 1\nworkers: 2",
            "{workers: 1, 'workers': 2, \"workers\": 3}", "? {a: b}\n: c4n4ry", "? [a]\n: 1\n? [a]\n: 2", "1: 2\ntrue: 3\n~: 4\n1.5: 6",
            "workers: 0x7fffffffffffffffff",
            "limits: {head_timeout: 99999999999999999999s}", "limits: {body_bytes: 9223372036854775807GiB}", "limits: {body_bytes: 8589934592GiB}",
            "shutdown: {drain: 9223372036854775807d}", "workers: |\n  3", "workers: >2-\n  3", "workers: |9\n c4n4ry", "workers: \"\\x33\"",
            "workers: \"\\uD800\"",
            "workers: \"\\U00110000\"", "workers: \"\\c4n4ry\"", "sessions: {issuer: \"\\0c4n4ry\"}", "workers: 3\r", "workers:\r3",
            "workers: 3\u{85}x: 1", "a\u{2028}b: c",
            "a: 1\u{2029}\u{7}", "#", "# c4n4ry", "#\r#\r\u{7}", "{\"a\":1,\"a\":1}", "[[[[[[[[", "]]]]", "{{{{", "}}}}", "- - - - -",
            "a:\n b:\n  c:\n   d:\n", "\u{7F}: 1",
            "é: 1\ne\u{301}: 2", "limits:\n  head_timeout:\n  idle_timeout:", "routes: \n  -\n  -\n", "routes: [,", "\"\": \"\"",
            "sessions: {issuer: ${c4n4ry}}", "${c4n4ry}: 1",
            "upstreams: {a.b: {}, a: {b: 1}}", "upstreams: {\"\u{202E}\": 1, \"a\\nb: c\": 1}", "sessions: {issuer: c4n4ry, issuer: c4n4ry}",
            "- |\n c4n4ry\n\t", "a: 'b'c4n4ry",
            "identity_headers: {user: X-A, claims: {x-a: c4n4ry, X_A: c4n4ry}}", "store: {redis: {password: {c4n4ry}}}",
            "issuers: [{}, [], ~, c4n4ry]",
        ].map { Array($0.utf8) } + [
            [0xFF], [0xFE, 0xFF, 0, 0x7B], [0xFF, 0xFE, 0x7B, 0], [0x7B, 0xC0, 0x80, 0x7D], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80],
            [0xEF, 0xBB], [0x23, 0xE2, 0x80],
            Array("a: \"".utf8) + [0xC3], Array("a:\r\n  b: ".utf8) + [0x80],
        ]

    /// Bombs: what costs little to write and would cost much to read.
    static let bombs: [(name: String, text: String)] = [
        ("aliases of aliases", "a0: &a0 [c4n4ry]\n" + (1...60).map { "a\($0): &a\($0) [*a\($0 - 1), *a\($0 - 1), *a\($0 - 1)]\n" }.joined()),
        ("aliases as keys", "a0: &a0 [x]\n" + (1...60).map { "a\($0): &a\($0) {? *a\($0 - 1) : *a\($0 - 1)}\n" }.joined()),
        ("lists in lists", String(repeating: "[", count: 200_000)), ("mappings in mappings", String(repeating: "{a: ", count: 200_000)),
        ("block lists in block lists", String(repeating: "- ", count: 200_000)), ("keys in keys", String(repeating: "? ", count: 200_000)),
        ("quotes", String(repeating: "\"c4n4ry\" ", count: 100_000)),
        ("a huge scalar", "sessions: {issuer: \(String(repeating: "c4n4ry", count: 300_000))}"),
        ("a huge key", "\(String(repeating: "k", count: 1_000_000)): 1"), ("a huge quoted key", "\"\(String(repeating: "k", count: 1_000_000))\": 1"),
        ("a huge number", "workers: \(String(repeating: "9", count: 1_000_000))"),
        ("a huge anchor", "workers: &\(String(repeating: "a", count: 1_000_000)) 1"),
        ("a huge comment", "# \(String(repeating: "c4n4ry", count: 300_000))\n{}"), ("many keys", (0..<50_000).map { "k\($0): 1\n" }.joined()),
        ("one key many times", String(repeating: "workers: 1\n", count: 50_000)), ("many documents", String(repeating: "---\n{}\n", count: 100_000)),
        ("many variables", "sessions: {issuer: \"\(String(repeating: "${A}", count: 200_000))\"}"),
        ("many empty lines", String(repeating: "\n", count: 2_000_000)),
        ("many flow entries", "trusted_proxies: [\(String(repeating: "c4n4ry,", count: 50_000))]"),
        ("anchors without end", (0..<50_000).map { "- &a\($0) x\n" }.joined()),
    ]

    static let words: [[UInt8]] =
        [
            ":", ": ", "- ", "? ", "\n", "\n  ", "\n- ", "{", "}", "[", "]", ",", "\"", "'", "&a ", "*a", "!", "!!str ", "!!int ", "|\n ", ">\n ",
            "#", " #", "\t", "\r\n", "\r",
            "%YAML 1.1\n", "---\n", "...\n", "~", "null", "true", "5", "-1", "0s", "5s", "1KiB", "\"\"", "{}", "[]", "<<", "${", "${HOME}", "}",
            "c4n4ry", "\\", "\\u0000",
            "\u{FEFF}", "\u{85}", "\u{2028}", "é", "\u{7}", "limits", "head_timeout", "routes", "path", "upstream", "sessions", "issuer", "secret",
            "file", "env", "mode", "auth",
            "unix:", "http://", "/", "127.0.0.1:1",
        ].map { Array($0.utf8) } + [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0], [0xC3], [0x80]]
}
