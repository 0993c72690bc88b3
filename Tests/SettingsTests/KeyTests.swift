// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport
import Testing
import Tokens

@testable import Settings

@Suite("Every key of the configuration")
struct KeyTests {
    private let folder: ConfigurationFolder

    init() throws {
        folder = try ConfigurationFolder()
        try folder.write("signing.pem", try SigningKey.generate(.eddsa).pem)
    }

    @Test("A value that the key cannot be is a mistake, at the value, that says what it must be", arguments: KeySection.all)
    func wrongValues(_ section: KeySection) throws {
        // Null is a value like the others here; `nullable` keys have one more.
        try addCertificates(section)
        for (key, kind) in section.keys {
            for (value, message) in kind.mistakes where !section.nullable.contains(key) || !["~", "null", "Null", ""].contains(value) {
                let problem = "\(section.path(of: key)): \(message)"
                let written = section.path.isEmpty ? "\(key): ▸\(value)\n" : "\(key): ▸\(value)"
                try Mistake(section.template.replacing("@", with: written), section.always + [problem]).check(in: folder)
            }
        }
    }

    @Test("A key that there is not is a mistake, at the key, that names those that there are", arguments: KeySection.all)
    func unknownKeys(_ section: KeySection) throws {
        let names = (section.keys.map(\.name) + section.others).sorted().joined(separator: ", ")
        for key in ["nonsense", "Address", "\"\"", "\"a b\"", "\"a:\\u001bb\"", "5", "<<"] {
            let shown = ["\"\"": "?", "\"a b\"": "a?b", "\"a:\\u001bb\"": "a??b"][key] ?? key
            // What mappings with keys of their own need is missing then; it is not asked here.
            let reading = try folder.read(section.template.replacing("@", with: "\(key): 1").replacing("▸", with: ""))
            let message = "\(section.path(of: shown)): is no key here; there are \(names)"
            #expect(reading.lines.contains { $0.hasSuffix(": \(message)") }, "\(reading.lines)")
        }
    }

    @Test("An unknown key stands where it was written")
    func placeOfUnknownKey() throws {
        try Mistake(
            "logging:\n  access_log: true\n  ▸colour: true\n", "logging.colour: is no key here; there are access_log, audit_stream, level"
        ).check()
        try Mistake(
            "paths: {\"é\": 1, ▸x: 2}".replacing("\"é\"", with: "▸\"é\""),
            "paths.é: is no key here; there are duplicate_slashes, encoded_slashes",
            "paths.x: is no key here; there are duplicate_slashes, encoded_slashes"
        ).check()
    }

    @Test("A key that is there twice is a mistake, at the second, wherever it is")
    func twice() throws {
        try Mistake("logging: {}\n▸logging: {}\n", "logging: is there twice").check()
        try Mistake(
            "limits: {header_count: 1, ▸header_count: 1, ▸\"header_count\": 2}", "limits.header_count: is there twice",
            "limits.header_count: is there twice"
        )
        .check()
        try Mistake("upstreams:\n  a: {endpoints: [\"a:1\"]}\n  ▸a: {}\n", "upstreams.a: is there twice").check()
    }

    @Test(
        "A key that is no text is a mistake",
        arguments: [
            Mistake("▸~: 1", "(file): has a key that is no text"), Mistake("paths: {? ▸[a] : 1}", "paths: has a key that is no text"),
            Mistake("upstreams: {? ▸{a: b} : 1}", "upstreams: has a key that is no text"),
        ])
    func keysThatAreNoText(_ mistake: Mistake) throws { try mistake.check() }

    @Test("A value that is left empty in a block stands after its key")
    func emptyInBlock() throws {
        try Mistake("limits:\n  head_timeout:▸\n  idle_timeout: 5s\n", "limits.head_timeout: must be text with a number and a unit, not left empty")
            .check()
        try Mistake("routes:▸\nlimits: {}\n", "routes: must be a list, not left empty").check()
    }

    @Test(
        "What has no default must be there; the mistake is at what it should stand in",
        arguments: [
            Mistake("listeners: [▸{}]", "listeners[0].address: is missing"),
            Mistake(
                "listeners: [{address: \"a:1\", tls: ▸{}}]", "listeners[0].tls.certificate: is missing", "listeners[0].tls.private_key: is missing"),
            Mistake(
                "issuers: [▸{}]", "issuers[0].name: is missing", "issuers[0].issuer: is missing", "issuers[0].algorithms: is missing",
                "issuers[0].audiences: is missing", "issuers[0]: needs keys: one of jwks, secret and public_key"),
            Mistake("upstreams: {a: ▸{}}", "upstreams.a.endpoints: is missing"),
            Mistake(
                "upstreams: {a: {endpoints: [\"a:1\"], health_check: ▸{}}}", "upstreams.a.health_check.path: is missing",
                "upstreams.a.health_check: a health_check is not supported yet"),
            Mistake("routes: [▸{}]", "routes[0].path: is missing", "routes[0].upstream: is missing"),
            Mistake(
                "upstreams: {a: {endpoints: [\"a:1\"]}}\nroutes: [{path: /, upstream: a, rate_limit: ▸{}}]",
                "routes[0].rate_limit.requests: is missing",
                "routes[0].rate_limit.per: is missing", "routes[0].rate_limit.by: is missing"),
        ])
    func missing(_ mistake: Mistake) throws { try mistake.check() }

    @Test(
        "An element that a list cannot have is a mistake at the element, and all of them are found",
        arguments: [
            Mistake(
                "trusted_proxies: [▸5, ▸~, ▸[]]", "trusted_proxies[0]: must be text: put it in quotes",
                "trusted_proxies[1]: must be text, not left empty", "trusted_proxies[2]: must be text, not a list"),
            Mistake("listeners: [▸5, ▸~]", "listeners[0]: must be a mapping, not a number", "listeners[1]: must be a mapping, not left empty"),
            Mistake(
                "listeners: [{address: \"a:1\", protocols: [▸h3, ▸5]}]", "listeners[0].protocols[0]: must be h2 or http/1.1",
                "listeners[0].protocols[1]: must be h2 or http/1.1"),
            Mistake("store: {redis: {addresses: [▸5]}}", "store.redis.addresses[0]: must be text: put it in quotes"),
            Mistake(
                "sessions: {audience: [▸5, a, ▸a]}", "sessions.audience[0]: must be text: put it in quotes",
                "sessions.audience[2]: is in the list already"),
            Mistake("issuers: [▸x]", "issuers[0]: must be a mapping, not text"), Mistake("routes: [▸x]", "routes[0]: must be a mapping, not text"),
            Mistake("upstreams: {a: ▸x, b: ▸~}", "upstreams.a: must be a mapping, not text", "upstreams.b: must be a mapping, not left empty"),
            Mistake(
                "token_sources: [▸5, ▸[], ▸{}, ▸basic]", "token_sources[0]: must be text: put it in quotes",
                "token_sources[1]: must be header, cookie, {query: NAME} or {header: NAME}",
                "token_sources[2]: must be header, cookie, {query: NAME} or {header: NAME}",
                "token_sources[3]: must be header, cookie, {query: NAME} or {header: NAME}"),
            Mistake(
                "identity_headers: {claims: {X-A: ▸5, X-B: ▸~}}", "identity_headers.claims.X-A: must be text: put it in quotes",
                "identity_headers.claims.X-B: must be text, not left empty"),
            Mistake(
                "upstreams: {a: {endpoints: [\"a:1\"]}}\nroutes: [{path: /, upstream: a, claims: {x: [▸~, ▸[]], y: ▸z, w: ▸[]}, scopes: [▸5]}]",
                "routes[0].claims.x[0]: must be text, a number or a boolean, not left empty",
                "routes[0].claims.x[1]: must be text, a number or a boolean, not a list", "routes[0].claims.y: must be a list, not text",
                "routes[0].claims.w: needs at least one value", "routes[0].scopes[0]: must be text: put it in quotes"),
        ])
    func elements(_ mistake: Mistake) throws { try mistake.check() }

    private func addCertificates(_ section: KeySection) throws {
        guard section.path.hasSuffix(".tls") else { return }
        let certificates = try TestCertificates()
        defer { certificates.remove() }
        for name in ["server.pem", "server.key"] { try folder.copy("\(certificates.folder)/\(name)", to: name) }
    }
}
