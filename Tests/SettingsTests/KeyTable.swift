// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

/// What a key of the configuration can be, and what is said about everything else.
enum KeyKind: Sendable {
    /// Text that is not empty; more is asked of it elsewhere.
    case text
    case textOrNothing
    case secret
    case list
    case mapping
    case boolean
    case integer(ClosedRange<Int>)
    case word(String)
    case duration
    case durationOrNothing
    case size(upTo: Int)

    /// Values that it cannot be, as YAML, and what is said about each.
    var mistakes: [(value: String, message: String)] {
        switch self {
        case .text: texts + [("\"\"", "must not be empty"), (#""a\u0007b""#, "must not hold control characters")]
        case .textOrNothing: texts
        case .secret:
            scalars + ["[a]", "{}", "{file: a, env: b}"].map { ($0, "must be text, {file: PATH} or {env: NAME}") } + [("\"\"", "must not be empty")]
        case .list: kinds(["text", "a mapping", "left empty", "a number", "a boolean"], "must be a list")
        case .mapping: kinds(["text", "a list", "left empty", "a number", "a boolean"], "must be a mapping")
        case .boolean:
            ["yes", "1", "~", "\"\"", "on"].map { ($0, "must be true or false") } + kinds(["a list", "a mapping"], "must be true or false")
        case .integer(let range):
            ["x", "1.5", "-1", "+1", "0x10", "1_000", "1e3", "007", "\"1 \"", "\"\""].map { ($0, "must be a whole number") }
                + kinds(["a list", "a mapping", "left empty", "a boolean"], "must be a whole number")
                + [range.upperBound + 1, range.lowerBound - 1].filter { $0 >= 0 }.map { ("\($0)", outside(range)) }
                + [("99999999999999999999", outside(range))]
        case .word(let words):
            ["nonsense", "5", "true", "\"\""].map { ($0, "must be \(words)") } + kinds(["a list", "a mapping", "left empty"], "must be \(words)")
        case .duration: durations + [("0s", "must be more than nothing")]
        case .durationOrNothing: durations
        case .size(let limit):
            ["5", "0", "5K", "5kb", "5MB", "1.5MiB", "-5B", "B", "5 B", "5s", "\"\"", "true"].map {
                ($0, "must be a size such as 512B, 32KiB, 10MiB or 1GiB")
            } + kinds(["a list", "a mapping", "left empty"], "must be text with a number and a unit")
                + (limit == .max
                    ? [("9007199254740992KiB", "must be at most \(limit)B")]
                    : [("0B", "must be more than nothing"), ("\(limit + 1)B", "must be at most \(limit)B")])
        }
    }

    private var scalars: [(String, String)] {
        ["5", "-0.5", "true", "False", "0x1F", ".inf"].map { ($0, "must be text: put it in quotes") }
            + ["~", "null", "Null", ""].map { ($0, "must be text, not left empty") }
    }

    private var texts: [(String, String)] { scalars + kinds(["a list", "a mapping"], "must be text") }

    private var durations: [(String, String)] {
        ["5", "0", "1.5", "1.5s", "s", "5 s", "5sec", "-5s", "1h30m", "5S", "10MiB", "\"\"", "99999999999999999999s", "true"].map {
            ($0, "must be a duration such as 250ms, 5s, 10m, 12h or 30d")
        } + kinds(["a list", "a mapping", "left empty"], "must be text with a number and a unit")
            + ["36601d", "9223372036854775807d"].map { ($0, "must be at most 36600d") }
    }

    private func kinds(_ kinds: [String], _ message: String) -> [(String, String)] {
        let values = ["text": "x", "a list": "[]", "a mapping": "{}", "left empty": "~", "a number": "5", "a boolean": "true"]
        return kinds.map { (values[$0] ?? "", "\(message), not \($0)") }
    }

    private func outside(_ range: ClosedRange<Int>) -> String { "must be from \(range.lowerBound) to \(range.upperBound)" }
}

/// A mapping of the configuration and its keys.
struct KeySection: Sendable, CustomTestStringConvertible {
    /// Empty: the whole file.
    let path: String
    /// A configuration without mistakes once `@` is replaced by members of this mapping; it has all that they need.
    let template: String
    /// What the template is refused for in any case, as `key.path: message`; `▸` is where.
    var always: [String] = []
    /// Those with null as a value are marked.
    let keys: [(name: String, kind: KeyKind)]
    var nullable: Set<String> = []
    /// Keys that the template has already, or that cannot be alone: tested elsewhere.
    var others: [String] = []

    var testDescription: String { path.isEmpty ? "(file)" : path }

    func path(of key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }
}

extension KeySection {
    static let all: [KeySection] = server + store + sessions + routing

    private static let server: [KeySection] = [
        KeySection(
            path: "", template: "@",
            keys: [
                ("listeners", .list), ("trusted_proxies", .list), ("admin", .mapping), ("workers", .integer(1...1024)), ("store", .mapping),
                ("revocation", .mapping), ("sessions", .mapping), ("issuers", .list), ("token_sources", .list), ("identity_headers", .mapping),
                ("upstreams", .mapping), ("routes", .list), ("paths", .mapping), ("limits", .mapping), ("logging", .mapping),
                ("shutdown", .mapping),
            ]),
        KeySection(
            path: "listeners[0]", template: "listeners: [{address: \"127.0.0.1:1\", @}]",
            keys: [("proxy_protocol", .boolean), ("tls", .mapping), ("protocols", .list)], others: ["address"]),
        KeySection(path: "listeners[0]", template: "listeners: [{@}]", keys: [("address", .text)], others: ["proxy_protocol", "tls", "protocols"]),
        KeySection(
            path: "listeners[0].tls", template: "listeners: [{address: \"127.0.0.1:1\", tls: {certificate: server.pem, private_key: server.key, @}}]",
            keys: [("minimum_version", .word("1.2 or 1.3")), ("client_ca", .text)], others: ["certificate", "private_key"]),
        KeySection(path: "admin", template: "admin: {@}", keys: [("address", .text), ("token", .secret)]),
        KeySection(
            path: "paths", template: "paths: {@}",
            keys: [("duplicate_slashes", .word("reject or merge")), ("encoded_slashes", .word("reject or keep"))]),
        KeySection(
            path: "limits", template: "limits: {@}",
            keys: [
                ("header_bytes", .size(upTo: 16 << 20)), ("header_count", .integer(1...100_000)), ("target_bytes", .size(upTo: 16 << 20)),
                ("token_bytes", .size(upTo: 16 << 20)), ("body_bytes", .size(upTo: .max)), ("connections", .integer(1...10_000_000)),
                ("head_timeout", .duration), ("idle_timeout", .duration), ("stream_idle_timeout", .duration),
            ]),
        KeySection(
            path: "logging", template: "logging: {@}",
            keys: [("level", .word("trace, debug, info, notice, warning or error")), ("access_log", .boolean), ("audit_stream", .mapping)],
            nullable: ["audit_stream"]),
        KeySection(
            path: "logging.audit_stream", template: "logging: {audit_stream: {@}}",
            keys: [("max_entries", .integer(1...100_000_000)), ("retain", .duration)]),
        KeySection(path: "shutdown", template: "shutdown: {@}", keys: [("drain", .durationOrNothing)]),
    ]

    private static let store: [KeySection] = [
        KeySection(path: "store", template: "store: {@}", keys: [("kind", .word("redis or memory")), ("redis", .mapping)]),
        KeySection(
            path: "store.redis", template: "store: {redis: {password: secret, @}}",
            keys: [
                ("mode", .word("standalone, sentinel or cluster")), ("addresses", .list), ("username", .text), ("database", .integer(0...1_000_000)),
                ("tls", .mapping), ("key_prefix", .textOrNothing), ("connect_timeout", .duration), ("command_timeout", .duration),
                ("wait_replicas", .integer(0...1000)),
            ], others: ["password", "sentinel_master"]),
        KeySection(
            path: "store.redis", template: "store: {redis: {@}}", keys: [("password", .secret)],
            others: [
                "mode", "addresses", "username", "database", "tls", "key_prefix", "connect_timeout", "command_timeout", "wait_replicas",
                "sentinel_master",
            ]),
        KeySection(
            path: "store.redis.tls", template: "store: {redis: {tls: {@}}}", keys: [("ca", .text), ("server_name", .text)],
            others: ["certificate", "private_key"]),
        KeySection(
            path: "revocation", template: "revocation: {@}",
            keys: [
                ("mode", .word("strict or tracked")), ("max_staleness", .duration), ("when_unavailable", .word("reject or allow_recent")),
                ("grace", .durationOrNothing),
            ]),
    ]

    private static let sessions: [KeySection] = [
        KeySection(
            path: "sessions", template: "sessions: {signing_key: {file: signing.pem}, @}",
            keys: [
                ("api_path", .text), ("issuer", .text), ("audience", .list), ("previous_keys", .list), ("access_token_lifetime", .duration),
                ("refresh_token_lifetime", .duration), ("session_lifetime", .duration), ("refresh_reuse_window", .durationOrNothing),
                ("max_per_user", .integer(1...1_000_000)), ("retain_revoked", .durationOrNothing), ("cookies", .mapping), ("login", .mapping),
            ], nullable: ["api_path"], others: ["signing_key"]),
        KeySection(
            path: "sessions", template: "sessions: {@}", keys: [("signing_key", .secret)],
            others: [
                "api_path", "issuer", "audience", "previous_keys", "access_token_lifetime", "refresh_token_lifetime", "session_lifetime",
                "refresh_reuse_window", "max_per_user", "retain_revoked", "cookies", "login",
            ]),
        KeySection(
            path: "sessions.cookies", template: "sessions: {cookies: {@}}",
            keys: [
                ("enabled", .boolean), ("access_name", .text), ("refresh_name", .text), ("same_site", .word("lax, strict or none")),
                ("secure", .boolean),
            ]),
        KeySection(
            path: "sessions.login", template: "sessions: {signing_key: {file: signing.pem}, login: {@}}",
            keys: [("users_file", .text), ("verify_url", .text)], others: ["ca"]),
        KeySection(
            path: "sessions.login", template: "sessions: {signing_key: {file: signing.pem}, login: {verify_url: \"http://h/\", @}}",
            keys: [("ca", .text)], others: ["users_file", "verify_url"]),
        KeySection(
            path: "issuers[0]", template: "issuers: [{name: idp, issuer: i, audiences: [a], algorithms: [HS256], secret: \(secret), @}]",
            keys: [
                ("user_claim", .text), ("session_claim", .text), ("namespace", .textOrNothing),
                ("sessions", .word("registered, revocable or unchecked")), ("leeway", .durationOrNothing), ("backchannel_logout", .boolean),
                ("any_audience", .boolean),
            ], others: ["name", "issuer", "audiences", "algorithms", "secret", "jwks", "public_key"]),
        KeySection(
            path: "issuers[0].jwks", template: "issuers: [{name: n, issuer: i, audiences: [a], algorithms: [ES256], jwks: {url: \"http://h/\", @}}]",
            keys: [("refresh", .duration), ("ca", .text)], others: ["file", "url"]),
        KeySection(
            path: "issuers[0].jwks", template: "issuers: [{name: n, issuer: i, audiences: [a], algorithms: [ES256], jwks: {@}}]",
            keys: [("file", .text), ("url", .text)], others: ["refresh", "ca"]),
        KeySection(
            path: "identity_headers", template: "sessions: {signing_key: {file: signing.pem}}\nidentity_headers: {@}",
            keys: [("user", .text), ("session", .text), ("issuer", .text), ("claims", .mapping), ("assertion", .text)]),
    ]

    private static let routing: [KeySection] = [
        KeySection(
            path: "upstreams.a", template: "upstreams: {a: {endpoints: [\"127.0.0.1:1\"], @}}",
            keys: [
                ("balance", .word("round_robin, least_requests or hash_user")), ("connect_timeout", .duration), ("response_timeout", .duration),
                ("idle_timeout", .duration), ("max_connections", .integer(1...1_000_000)), ("retries", .integer(0...100)),
                ("health_check", .mapping), ("tls", .mapping),
            ], others: ["endpoints"]),
        KeySection(
            path: "upstreams.a.health_check", template: "upstreams: {a: {endpoints: [\"127.0.0.1:1\"], health_check: ▸{path: /, @}}}",
            always: ["upstreams.a.health_check: a health_check is not supported yet"],
            keys: [
                ("interval", .duration), ("timeout", .duration), ("unhealthy_after", .integer(1...1000)), ("healthy_after", .integer(1...1000)),
            ], others: ["path"]),
        KeySection(
            path: "upstreams.a.tls", template: "upstreams: {a: {endpoints: [\"127.0.0.1:1\"], tls: {@}}}",
            keys: [("ca", .text), ("server_name", .text)], others: ["certificate", "private_key"]),
        KeySection(
            path: "routes[0]", template: "upstreams: {a: {endpoints: [\"127.0.0.1:1\"]}}\nroutes: [{path: /, upstream: a, @}]",
            keys: [
                ("exact", .boolean), ("hosts", .list), ("methods", .list), ("auth", .word("required, optional or none")), ("issuers", .list),
                ("scopes", .list), ("claims", .mapping), ("forward_token", .boolean), ("strip_prefix", .boolean), ("login_redirect", .text),
                ("when_unavailable", .word("reject or allow_recent")), ("rate_limit", .mapping),
            ], nullable: ["login_redirect", "when_unavailable", "rate_limit"], others: ["path", "upstream"]),
        KeySection(
            path: "routes[0].rate_limit",
            template: "upstreams: {a: {endpoints: [\"127.0.0.1:1\"]}}\nroutes: [{path: /, upstream: a, rate_limit: {per: 1s, by: user, @}}]",
            keys: [("requests", .integer(1...1_000_000_000))], others: ["per", "by"]),
        KeySection(
            path: "routes[0].rate_limit",
            template: "upstreams: {a: {endpoints: [\"127.0.0.1:1\"]}}\nroutes: [{path: /, upstream: a, rate_limit: {requests: 1, by: user, @}}]",
            keys: [("per", .duration)], others: ["requests", "by"]),
        KeySection(
            path: "routes[0].rate_limit",
            template: "upstreams: {a: {endpoints: [\"127.0.0.1:1\"]}}\nroutes: [{path: /, upstream: a, rate_limit: {requests: 1, per: 1s, @}}]",
            keys: [("by", .word("user, session or address"))], others: ["requests", "per"]),
    ]

    private static let secret = "0123456789abcdef0123456789abcdef"
}
