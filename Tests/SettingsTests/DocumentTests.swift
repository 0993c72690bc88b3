// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import Settings

@Suite("The file as YAML")
struct DocumentTests {
    private let folder: ConfigurationFolder
    init() throws { folder = try ConfigurationFolder() }

    @Test("A file without a value is a mistake", arguments: ["", "\n\n", "# a comment\n", "   ", "\u{FEFF}"])
    func empty(_ text: String) throws {
        #expect(try folder.read(text).lines == ["1:1: (file): is empty: {} is the shortest configuration"])
    }

    @Test(
        "A file that is no mapping is a mistake",
        arguments: [
            Mistake("▸~", "(file): must be a mapping, not left empty"), Mistake("# x\n▸text", "(file): must be a mapping, not text"),
            Mistake("\n  ▸- a", "(file): must be a mapping, not a list"), Mistake("--- ▸5", "(file): must be a mapping, not a number"),
        ])
    func noMapping(_ mistake: Mistake) throws { try mistake.check() }

    @Test(
        "Whitespace, comments, a byte order mark, document marks, anchors and the usual tags are YAML",
        arguments: [
            Good("# c\n\nworkers: 3 # d\n"), Good("\u{FEFF}workers: 3\n"), Good("---\nworkers: 3\n...\n"), Good("%YAML 1.1\n---\nworkers: 3\n"),
            Good("workers: &n 3\nlimits: {header_count: *n}\n"), Good("workers: !!int 3"), Good("!!map {workers: 3}"), Good("workers: !!str 3"),
            Good("{\"workers\": \"3\"}"), Good("? workers\n: 3\n"), Good("workers: >-\n  3\n"), Good("workers:\r\n  3\r\n"),
        ])
    func yaml(_ good: Good) throws { #expect(try folder.read(good.text).settings.workers == .count(3)) }

    @Test(
        "Numbers and booleans are what YAML 1.1 and 1.2 agree on; the rest is text",
        arguments: [
            "yes", "no", "on", "off", "y", "1e3", "1_000", "0o17", "12:30", "2026-01-01", "<<", "=", "nil", "none", "+", "-x", "0x", "0xg", ".",
            "NULl",
        ])
    func plainText(_ text: String) throws { #expect(try folder.read("sessions:\n  issuer: \(text)\n").settings.sessions.issuer == text) }

    @Test(
        "A file that is no YAML is a mistake at the place, without a word of it",
        arguments: [
            Mistake("limits:\n▸\thead_timeout: 5s", "(file): is no YAML: found character that cannot start any token"),
            Mistake("limits: {head_timeout: 5s▸", "(file): is no YAML: did not find expected ',' or '}'"),
            Mistake("sessions: {issuer: ▸*nobody}", "(file): is no YAML: this alias has no anchor before it"),
            Mistake("a: &a [▸*a]", "(file): is no YAML: this alias has no anchor before it"),
            Mistake("{}\n▸---\n{}", "(file): has a second document here, one is read"),
            Mistake("workers: ▸!secret 5", "(file): has a tag here that is not understood"),
            Mistake("workers: ▸!!binary 5", "(file): has a tag here that is not understood"),
            Mistake("▸!!set {a}", "(file): has a tag here that is not understood"),
            Mistake("workers: ▸!!seq {}", "(file): has a tag here that is not understood"),
            Mistake("sessions:\n  issuer: é▸\u{7}", "(file): has a control character here"),
        ])
    func noYAML(_ mistake: Mistake) throws {
        let reading = try folder.read(mistake.text)
        // libyaml's words may change with its version; the place and ours may not.
        #expect(
            reading.lines.map { $0.replacing(/is no YAML: [a-z].*/, with: "is no YAML") }
                == mistake.problems.map { $0.replacing(/is no YAML: [a-z].*/, with: "is no YAML") })
    }

    @Test("Bytes that are no UTF-8 are a mistake at the place")
    func noUTF8() throws {
        let endsEarly: [[UInt8]] = [[0xC3], [0xE2, 0x82]]
        let never: [[UInt8]] = [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF8, 0x88, 0x80, 0x80, 0x80]]
        for bytes in never + endsEarly {
            let column = endsEarly.contains(bytes) ? 7 : 6
            let reading = try folder.read(Array("a: 1\né: \"é".utf8) + bytes + Array("\"".utf8))
            #expect(reading.lines == ["2:\(column): (file): is not UTF-8 here"], "\(bytes)")
        }
        #expect(try folder.read([0xFF, 0xFE, 0x7B, 0x00, 0x7D, 0x00]).lines == ["1:1: (file): is not UTF-8 here"])
    }

    @Test("Collections nested deeper than anything needs are a mistake, also where aliases build the depth")
    func deep() throws {
        let lists = String(repeating: "[", count: 64) + String(repeating: "]", count: 64)
        #expect(try folder.read("trusted_proxies: \(lists)").lines == ["1:81: (file): is nested too deeply: more than 64 collections"])
        #expect(try folder.read(String(repeating: "[", count: 200)).lines == ["1:65: (file): is nested too deeply: more than 64 collections"])
        for opening in ["[", "{", "- ", "? "] {
            #expect(try folder.read(String(repeating: opening, count: 1_000_000)).problems.map(\.key) == ["(file)"])
        }
        let halves = "a: &a \(String(repeating: "[", count: 40))\(String(repeating: "]", count: 40))\n"
        let doubled = halves + "b: \(String(repeating: "[", count: 40))*a\(String(repeating: "]", count: 40))\n"
        #expect(try folder.read(doubled).lines == ["2:20: (file): is nested too deeply: more than 64 collections"])
    }

    @Test("Aliases that stand for more values than any configuration has are a mistake, and cost nothing")
    func bomb() throws {
        var text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for level in 1...30 { text += "a\(level): &a\(level) [\(Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ", "))]\n" }
        let reading = try folder.read(text)
        #expect(reading.problems.map(\.message) == ["is too large here: more than 1000000 values, those that aliases stand for included"])
        #expect(reading.problems.allSatisfy { $0.key == "(file)" && $0.line == 6 })
    }

    @Test("A value that an alias stands for has its mistakes where it is used")
    func aliases() throws {
        try Mistake(
            "workers: &n ▸x\nlimits: {header_count: ▸*n}".replacing("&n ▸x", with: "▸&n x"),
            "workers: must be a whole number", "limits.header_count: must be a whole number"
        ).check()
    }

    @Test("The file itself may be missing, a folder or too large: one mistake that says so")
    func files() throws {
        #expect(Reading(file: "\(folder.path)/absent.yaml", environment: [:]).lines == ["1:1: (file): the file does not exist"])
        #expect(Reading(file: folder.path, environment: [:]).lines == ["1:1: (file): the file is a folder"])
        #expect(Reading(file: "a\0b", environment: [:]).lines == ["1:1: (file): the file cannot have this name"])
        let huge = try folder.read(Array("#".utf8) + [UInt8](repeating: 0x61, count: 4 << 20))
        #expect(huge.lines == ["1:1: (file): the file has more than 4 MiB"])
    }

    @Test("A mistake is written FILE:LINE:COLUMN: key.path: message, with the file as it was named")
    func description() throws {
        let reading = try folder.read("limits:\n    idle_timeout: 5\n")
        #expect(
            reading.problems.map(\.description) == [
                "\(folder.file):2:19: limits.idle_timeout: must be a duration such as 250ms, 5s, 10m, 12h or 30d"
            ])
        #expect(SettingsProblems(problems: reading.problems + reading.problems, digest: []).description.split(separator: "\n").count == 2)
    }

    @Test("All mistakes are found in one go, in the order of the lines")
    func order() throws {
        try Mistake(
            """
            shutdown: {drain: ▸30}
            routes:
              - path: ▸orders
                upstream: ▸nobody
                ▸colour: red
              - path: /
                upstream: legacy
                rate_limit: {requests: ▸0, per: ▸0s, by: ▸everybody}
            upstreams:
              legacy: {endpoints: [▸"127.0.0.1"], retries: ▸-1}
            limits:
              head_timeout: ▸0s
              ▸head_timeout: 1s
            issuers:▸
            ▸nonsense: {}
            listeners: [{address: ▸"127.0.0.1:0"}]
            """,
            "shutdown.drain: must be a duration such as 250ms, 5s, 10m, 12h or 30d", "routes[0].path: must begin with a slash",
            "routes[0].upstream: is none of upstreams",
            "routes[0].colour: is no key here; there are auth, claims, exact, forward_token, hosts, issuers, login_redirect, methods, path, "
                + "rate_limit, scopes, strip_prefix, upstream, when_unavailable",
            "routes[1].rate_limit.requests: must be from 1 to 1000000000", "routes[1].rate_limit.per: must be more than nothing",
            "routes[1].rate_limit.by: must be user, session or address",
            "upstreams.legacy.endpoints[0]: needs a port: host:port, [v6]:port or unix:/path", "upstreams.legacy.retries: must be a whole number",
            "limits.head_timeout: must be more than nothing", "limits.head_timeout: is there twice", "issuers: must be a list, not left empty",
            "nonsense: is no key here; there are admin, identity_headers, issuers, limits, listeners, logging, paths, revocation, "
                + "routes, sessions, shutdown, store, token_sources, trusted_proxies, upstreams, workers",
            "listeners[0].address: needs a port from 1 to 65535"
        ).check()
    }
}
