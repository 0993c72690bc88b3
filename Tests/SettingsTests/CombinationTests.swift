// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing
import Tokens

@testable import Settings

@Suite("References and combinations")
struct CombinationTests {
    private let folder: ConfigurationFolder

    init() throws {
        folder = try ConfigurationFolder()
        try folder.write("signing.pem", try SigningKey.generate(.eddsa).pem)
        try folder.write("old.pem", try SigningKey.generate(.es256).pem)
        try folder.write("users", "alice:$2y$04$abcdefghijklmnopqrstuuiMEmxRzPpmnVo1aQyqR9F3UnY8jRhQW\n")
    }

    // MARK: References

    @Test(
        "A reference to what does not exist is a mistake where it is written",
        arguments: [
            Mistake("routes: [{path: /, upstream: ▸legacy}]", "routes[0].upstream: is none of upstreams"),
            Mistake(
                "upstreams: {Legacy: {endpoints: [\"a:1\"]}}\nroutes:\n  - path: /\n    upstream: Legacy\n  - {path: /b, upstream: ▸legacy}\n",
                "routes[1].upstream: is none of upstreams"),
            Mistake(
                route("issuers: [▸idp, portcullis]"), "routes[0].issuers[0]: is the name of none of issuers, nor sessions.issuer"),
            Mistake(
                "sessions: {issuer: own}\n" + route("issuers: [own, ▸portcullis]"),
                "routes[0].issuers[1]: is the name of none of issuers, nor sessions.issuer"),
            Mistake("admin: {token: {file: ▸absent}}", "admin.token.file: names a file that does not exist"),
            Mistake(
                "sessions: {signing_key: {file: signing.pem}, login: {users_file: ▸absent}}",
                "sessions.login.users_file: names a file that does not exist"),
        ])
    func references(_ mistake: Mistake) throws { try mistake.check(in: folder) }

    @Test("A route may name an upstream that itself has a mistake, and an issuer where issuers have one: that is one mistake")
    func referencesToBroken() throws {
        try Mistake(
            "upstreams: {a: {endpoints: ▸[]}}\nroutes: [{path: /, upstream: a}]", "upstreams.a.endpoints: needs at least one endpoint"
        ).check()
        try Mistake("issuers: ▸{}\n" + Self.route("issuers: [idp]"), "issuers: must be a list, not a mapping").check()
    }

    // MARK: Impossible combinations

    @Test(
        "What cannot go together is a mistake",
        arguments: [
            // Addresses
            Mistake("listeners: [{address: \"a:1\"}, {address: ▸\"A:1\"}]", "listeners[1].address: is the address of another listener"),
            Mistake("listeners: [{address: unix:/a}, {address: ▸\"unix:/a\"}]", "listeners[1].address: is the address of another listener"),
            Mistake("admin: {address: ▸\"127.0.0.1:8080\"}", "admin.address: is both the admin's and a listener's address"),
            Mistake("listeners: [{address: ▸\"127.0.0.1:9180\"}]", "listeners[0].address: is both the admin's and a listener's address"),
            Mistake(
                "listeners: [{address: \"a:1\", protocols: [http/1.1, ▸http/1.1]}]", "listeners[0].protocols[1]: is in the list already"),
            // Redis
            Mistake(
                "store: {redis: {addresses: ▸[\"a:1\", \"b:1\"]}}", "store.redis.addresses: must have one address in the mode standalone"),
            Mistake("store: {redis: {sentinel_master: ▸x}}", "store.redis.sentinel_master: is for the mode sentinel alone"),
            Mistake("store: {redis: {username: ▸u}}", "store.redis.username: needs a password"),
            Mistake("store: {kind: memory, redis: {username: ▸u}}", "store.redis.username: needs a password"),
            Mistake(
                "store: {redis: {mode: cluster, database: ▸1}}", "store.redis.database: must be 0 in a cluster"),
            Mistake(
                "store: {redis: ▸{mode: sentinel}}", "store.redis.sentinel_master: is missing: the mode sentinel needs it"),
            Mistake("store: {kind: memory}\nlogging: {audit_stream: ▸{}}", "logging.audit_stream: needs a store of kind redis"),
            // Sessions
            Mistake("sessions: {login: ▸{users_file: users}}", "sessions.login: needs a signing_key: a login issues tokens"),
            Mistake("sessions: {previous_keys: ▸[{file: old.pem}]}", "sessions.previous_keys: needs a signing_key that comes after them"),
            Mistake(
                "sessions: {signing_key: {file: signing.pem}, previous_keys: [{file: old.pem}, ▸{file: signing.pem}, ▸{file: old.pem}]}",
                "sessions.previous_keys[1]: is the signing_key or in the list already",
                "sessions.previous_keys[2]: is the signing_key or in the list already"),
            Mistake(
                "sessions: {signing_key: {file: signing.pem}, login: ▸{users_file: users, verify_url: \"http://a/\"}}",
                "sessions.login: must have one of users_file and verify_url"),
            Mistake("sessions: {signing_key: {file: signing.pem}, login: ▸{}}", "sessions.login: needs users_file or verify_url"),
            Mistake(
                "sessions: {signing_key: {file: signing.pem}, login: {users_file: users, ca: ▸ca.pem}}",
                "sessions.login.ca: is for verify_url alone"),
            Mistake("identity_headers: {assertion: ▸X-A}", "identity_headers.assertion: needs sessions.signing_key"),
            // Logout by an identity provider
            Mistake(
                issuer("sessions: unchecked, backchannel_logout: ▸true"),
                "issuers[0].backchannel_logout: cannot go with sessions: unchecked, as nobody is asked about sessions that have ended"),
            Mistake(
                "sessions: {api_path: null}\n" + issuer("sessions: revocable, backchannel_logout: ▸true"),
                "issuers[0].backchannel_logout: needs sessions.api_path, under which logout tokens are taken"),
            Mistake(
                issuer("backchannel_logout: ▸true, sessions: unchecked") + "\nsessions: {api_path: null}\n",
                "issuers[0].backchannel_logout: cannot go with sessions: unchecked, as nobody is asked about sessions that have ended",
                "issuers[0].backchannel_logout: needs sessions.api_path, under which logout tokens are taken"),
            // Routes
            Mistake(
                route("auth: none, issuers: ▸[portcullis], scopes: ▸[a], claims: ▸{a: [b]}, login_redirect: ▸/login"),
                "routes[0].issuers: needs authentication, and this route has auth: none",
                "routes[0].scopes: needs authentication, and this route has auth: none",
                "routes[0].claims: needs authentication, and this route has auth: none",
                "routes[0].login_redirect: needs authentication, and this route has auth: none"),
            Mistake(
                route("auth: none, rate_limit: ▸{requests: 1, per: 1s, by: user}"),
                "routes[0].rate_limit: can only be by address with auth: none"),
        ])
    func combinations(_ mistake: Mistake) throws { try mistake.check(in: folder) }

    @Test(
        "A list that must have an element is not empty",
        arguments: [
            Mistake("listeners: ▸[]", "listeners: needs at least one listener"),
            Mistake("listeners: [{address: \"a:1\", protocols: ▸[]}]", "listeners[0].protocols: needs at least one protocol"),
            Mistake("store: {redis: {addresses: ▸[]}}", "store.redis.addresses: needs at least one address"),
            Mistake("sessions: {audience: ▸[]}", "sessions.audience: needs at least one audience"),
            Mistake("token_sources: ▸[]", "token_sources: needs at least one source"),
            Mistake("upstreams: {a: {endpoints: ▸[]}}", "upstreams.a.endpoints: needs at least one endpoint"),
            Mistake(
                "upstreams: {a: {endpoints: [\"a:1\", ▸\"A:1\"]}}", "upstreams.a.endpoints[1]: is in the list already"),
        ])
    func empty(_ mistake: Mistake) throws { try mistake.check(in: folder) }

    @Test("A mistake in what a combination hangs on is told alone")
    func noConsequences() throws {
        for mistake in [
            Mistake(
                "store: {redis: {mode: ▸sentinal, addresses: [\"a:1\", \"b:1\"], sentinel_master: m}}",
                "store.redis.mode: must be standalone, sentinel or cluster"),
            Mistake(
                "sessions: {signing_key: {file: ▸absent}, login: {users_file: users}}",
                "sessions.signing_key.file: names a file that does not exist"),
            Mistake(
                "sessions: {signing_key: {file: ▸absent}}\nidentity_headers: {assertion: X-A}",
                "sessions.signing_key.file: names a file that does not exist"),
            Mistake(
                "sessions: {api_path: ▸auth}\n" + Self.issuer("backchannel_logout: true"),
                "sessions.api_path: must begin with a slash and not end with one"),
            Mistake(
                Self.issuer("sessions: ▸nobody, backchannel_logout: true"), "issuers[0].sessions: must be registered, revocable or unchecked"),
            Mistake(Self.route("auth: ▸nobody, scopes: [a]"), "routes[0].auth: must be required, optional or none"),
            Mistake("listeners: [{address: ▸\"a\"}, {address: \"b:1\"}]", "listeners[0].address: needs a port: host:port, [v6]:port or unix:/path"),
        ] {
            try mistake.check(in: folder)
        }
    }

    // MARK: What is not there yet

    @Test(
        "What this version does not do is refused, not ignored",
        arguments: [
            Mistake("listeners: [{address: \"a:1\", proxy_protocol: ▸true}]", "listeners[0].proxy_protocol: true is not supported yet"),
            Mistake("listeners: [{address: \"a:1\", protocols: [▸h2, http/1.1]}]", "listeners[0].protocols[0]: h2 is not supported yet"),
            Mistake(
                "upstreams: {a: {endpoints: [\"a:1\"], balance: ▸least_requests}, b: {endpoints: [\"a:1\"], balance: ▸hash_user}}",
                "upstreams.a.balance: least_requests is not supported yet", "upstreams.b.balance: hash_user is not supported yet"),
            Mistake(
                "upstreams: {a: {endpoints: [\"a:1\"], health_check: ▸{path: /healthz}}}",
                "upstreams.a.health_check: a health_check is not supported yet"),
        ])
    func notYet(_ mistake: Mistake) throws { try mistake.check(in: folder) }

    @Test("An issuer may send logout tokens wherever sessions are asked about", arguments: ["registered", "revocable"])
    func backchannelLogout(sessions: String) throws {
        let settings = try folder.read(Self.issuer("sessions: \(sessions), backchannel_logout: true")).settings
        #expect(settings.issuers.map(\.backchannelLogout) == [true])
        let off = try folder.read("sessions: {api_path: null}\n" + Self.issuer("sessions: unchecked, backchannel_logout: false")).settings
        #expect(off.issuers.map(\.backchannelLogout) == [false])
    }

    private static func issuer(_ members: String) -> String {
        "issuers: [{name: n, issuer: i, audiences: [a], algorithms: [ES256], jwks: {url: \"https://a/\"}, \(members)}]"
    }

    private static func route(_ members: String) -> String {
        "upstreams: {a: {endpoints: [\"a:1\"]}}\nroutes: [{path: /, upstream: a, \(members)}]"
    }
}
