// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing
import Tokens

@testable import Settings

/// What was read never appears in a message: a log or a terminal is no place for a secret that stands in the wrong line.
@Suite("No message holds what was read")
struct SecrecyTests {
    /// What must not be seen; it is no part of a word that messages have.
    private static let canary = "c4n4ry"
    private let folder: ConfigurationFolder

    init() throws {
        folder = try ConfigurationFolder()
        try folder.write("signing.pem", try SigningKey.generate(.eddsa).pem)
    }

    /// `@` is the canary. In none of them it is a key, which a message names.
    private static let values = [
        "@", "\"@\"", "'@'", "5@", "@5", "-@", "[@]", "[[@], {a: @}]", "{a: @}", "{file: @}", "{env: @}", "{env: [@]}", "{file: {a: @}}",
        "{file: @, env: @}", "{url: @}", "{header: @}", "{query: \"@=\"}", "{header: \"@ @\"}", "${@}", "\"${@\"", "${@_UNSET}", "${SET}",
        "\"${SET}${SET}\"",
        "\"x${SET} \"", "[\"${SET}\"]", "{file: \"${SET}\"}", "{env: \"${SET}\"}", "{env: SET}", "{file: secret}", "\"@\\u0007\"", "\" @ \"",
        "/@/../", "/@//a",
        "http://@ @/", "https://u:@@a/", "\"@:0\"", "\"@:port\"", "\"[@]:1\"", "unix:@/", "\"*.@:1\"", "!@ x", "!!@ x", "*@", "&@ x", "&@ [@]",
        "\"@\\q\"", "\"@",
        "'@", "[@", "{@", "@: @: @", "|@", ">@\n  @", "`@", "%@", "@ #@", "@\u{7}", "\u{FEFF}@", "!<@> x", "@\n\t@", "@\n@", "{<<: @}",
        "{x: @, x: @}",
        "-----BEGIN @-----", "\"-----BEGIN PRIVATE KEY-----\\n@\\n-----END PRIVATE KEY-----\"", "[\"@\", \"@\"]", "[{file: @}]",
        "[{name: @, issuer: @}]",
        "[{path: @, upstream: @}]", "[{address: @}]", "@s", "1h@", "0x@", "\(String(repeating: "@", count: 2000))",
    ]

    private static let environment = ["SET": "\(canary)\u{1}"]

    @Test("Whatever stands at a key, and however wrong it is, no message has a word of it", arguments: KeySection.all)
    func values(_ section: KeySection) throws {
        try folder.write("secret", "\(Self.canary)\n")
        var refused = 0
        for (key, _) in section.keys {
            for value in Self.values {
                let text = section.template.replacing("▸", with: "").replacing(
                    "@", with: "\(key): \(value.replacing("@", with: Self.canary))\(section.path.isEmpty ? "\n" : "")")
                let reading = try folder.read(text, environment: Self.environment)
                check(reading, text)
                if reading.loaded == nil { refused += 1 }
            }
        }
        #expect(refused > section.keys.count * Self.values.count / 2)
    }

    @Test(
        "What stands where a secret is due is not shown either when it has the form of keys",
        arguments: [
            "{@}", "{@: x}", "{file: a, @: b}", "{@, file: a}", "{\"@ @\"}", "{env: a, @}", "{@: @}",
        ])
    func secretsAsKeys(_ value: String) throws {
        for template in [
            "store: {redis: {password: ?}}", "admin: {token: ?}", "sessions: {signing_key: ?}", "sessions: {previous_keys: [?]}",
            "issuers: [{name: n, issuer: i, audiences: [a], algorithms: [HS256], secret: ?}]",
        ] {
            let text = template.replacing("?", with: value.replacing("@", with: Self.canary))
            let reading = try folder.read(text, environment: Self.environment)
            #expect(!reading.problems.isEmpty)
            check(reading, text)
        }
    }

    @Test("A line that stands anywhere in a file, and belongs nowhere, is not shown")
    func lines() throws {
        let lines = Self.block.split(separator: "\n").map(String.init)
        var refused = 0
        for index in 0...lines.count {
            for stray in [
                "@", "- @", "@ @", "  @", "      - @", "\t@", "\"@", "@\"", "'@", "]@", "}@", "[@", "*@", "&@", "!@", "%@ 1", "--- @", "... @", "`@",
                "? [@]", ": @", "#@",
            ] {
                let text = (lines[..<index] + [stray.replacing("@", with: Self.canary)] + lines[index...]).joined(separator: "\n")
                let reading = try folder.read(text)
                check(reading, text)
                if reading.loaded == nil { refused += 1 }
            }
        }
        #expect(refused > lines.count * 15)
    }

    private static let block = """
        admin:
          token: secret
        trusted_proxies:
          - 10.0.0.0/8
        limits:
          head_timeout: 5s
          header_count: 7
        upstreams:
          legacy:
            endpoints:
              - "127.0.0.1:1"
        routes:
          - path: /
            upstream: legacy
            scopes: [read]
        """

    @Test("What named files hold is not shown, whatever they should have been")
    func files() throws {
        let contents = [
            "@", "@:@\n@", "alice:@\n", "@:$2y$04$abcdefghijklmnopqrstuuiMEmxRzPpmnVo1aQyqR9F3UnY8jRhQW\n@\n", "{\"@\": \"@\"}", "{\"keys\": \"@\"}",
            "{\"keys\": [\"@\", {\"kty\": \"@\"}, {\"kty\": \"oct\", \"k\": \"@\"}]}",
            "{\"keys\": [{\"kty\": \"EC\", \"crv\": \"@\", \"x\": \"@\"}]}",
            "-----BEGIN @-----\n@\n-----END @-----\n", "-----BEGIN PRIVATE KEY-----\n@\n-----END PRIVATE KEY-----\n",
            "-----BEGIN CERTIFICATE-----\n@\n-----END CERTIFICATE-----\n", "-----BEGIN PUBLIC KEY-----\n@\n-----END PUBLIC KEY-----\n",
        ]
        let issuer = "issuers: [{name: n, issuer: i, audiences: [a], "
        var refused = 0
        for template in [
            "admin: {token: {file: bad}, address: \"a\"}", "sessions: {signing_key: {file: bad}}",
            "sessions: {signing_key: {file: signing.pem}, previous_keys: [{file: bad}], login: {users_file: bad}}",
            "listeners: [{address: \"a:1\", tls: {certificate: bad, private_key: bad, client_ca: bad}}]",
            "store: {redis: {tls: {ca: bad, certificate: bad, private_key: bad}}}", issuer + "algorithms: [ES256], public_key: {file: bad}}]",
            issuer + "algorithms: [HS256], jwks: {file: bad}}]", issuer + "algorithms: [HS256], secret: {file: bad}}]",
        ] {
            for content in contents {
                try folder.write("bad", content.replacing("@", with: Self.canary))
                let reading = try folder.read(template)
                if reading.loaded == nil { refused += 1 }
                check(reading, template)
            }
        }
        // Nearly all of them: long texts are good secrets.
        #expect(refused >= 8 * contents.count - 8)
    }

    private func check(_ reading: Reading, _ text: String) {
        for line in reading.lines + reading.warnings where line.contains(Self.canary) {
            Issue.record("\(line.debugDescription) shows what was read of \(text.prefix(300).debugDescription)")
        }
    }
}
