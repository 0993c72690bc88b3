// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import Settings

@Suite("Variables and secrets")
struct VariableTests {
    private let folder: ConfigurationFolder
    init() throws { folder = try ConfigurationFolder() }

    // MARK: ${NAME}

    @Test("${NAME} in a string takes the variable, as often as it is there and beside other text")
    func variables() throws {
        let settings = try folder.read(
            """
            admin: {address: "${HOST}:${PORT}"}
            sessions: {issuer: "a-${HOST}-${_1}$-$x-${E}}", audience: ["${HOST}"]}
            trusted_proxies:
              - ${RANGE}
            """,
            environment: ["HOST": "127.0.0.1", "PORT": "9", "_1": "é", "E": "", "RANGE": "10.0.0.0/8"]
        ).settings
        #expect(settings.admin.address.description == "127.0.0.1:9")
        #expect(settings.sessions.issuer == "a-127.0.0.1-é$-$x-}")
        #expect(settings.sessions.audience == ["127.0.0.1"])
        #expect(settings.trustedProxies == ["10.0.0.0/8"])
    }

    @Test(
        "What a variable holds is text: neither YAML nor variables again",
        arguments: ["a: b", "[a]", "{a: b}", "# no comment", "'", "\"", "${HOST}", "$HOST", "null", "~", "true", "5", " a ", "&a", "*a", "!x", "- a"])
    func text(_ value: String) throws {
        let settings = try folder.read("sessions:\n  issuer: ${VALUE}\n", environment: ["VALUE": value, "HOST": "x"]).settings
        #expect(settings.sessions.issuer == value)
    }

    @Test("Text that spells a number, a boolean, a word, a duration or a size counts as one")
    func spelled() throws {
        let settings = try folder.read(
            """
            workers: ${N}
            limits: {header_count: "42", connections: "${N}${N}", head_timeout: "${N}s", header_bytes: "${N}${UNIT}"}
            logging: {access_log: "${NO}", level: "${LEVEL}"}
            sessions: {cookies: {secure: "true"}}
            token_sources: ["${SOURCE}"]
            """,
            environment: ["N": "7", "NO": "false", "UNIT": "KiB", "LEVEL": "debug", "SOURCE": "cookie"]
        ).settings
        #expect(settings.workers == .count(7))
        #expect(settings.limits.headerCount == 42 && settings.limits.connections == 77)
        #expect(settings.limits.headTimeout == .seconds(7) && settings.limits.headerBytes == 7 << 10)
        #expect(!settings.logging.accessLog && settings.logging.level == .debug)
        #expect(settings.sessions.cookies.secure)
        #expect(settings.tokenSources == [.cookie])
    }

    @Test("workers may be auto by a variable, as by itself", arguments: ["auto", "\"auto\"", "${WORKERS}", "au${TO}"])
    func auto(_ text: String) throws {
        #expect(try folder.read("workers: \(text)", environment: ["WORKERS": "auto", "TO": "to"]).settings.workers == .auto)
    }

    @Test(
        "A variable that is not set, or any other ${…}, is a mistake wherever a string may be",
        arguments: [
            ("${UNSET}", false), ("a${UNSET}b", false), ("${HOST}${UNSET}", false), ("${host}", false), ("${}", true), ("${ HOST}", true),
            ("${HOST }", true), ("${HOST:-x}", true), ("${HOST-x}", true), ("${HOST", true), ("${${HOST}}", true), ("${HÖST}", true),
            ("x${", true), ("${HOST.NAME}", true), ("$${HOST:?}", true),
        ])
    func broken(_ text: String, isNoName: Bool) throws {
        let message =
            isNoName ? "has a ${…} that is no variable: its name has letters, digits and _" : "needs an environment variable that is not set"
        for (path, template) in [
            ("sessions.issuer", "sessions: {issuer: ▸\"@\"}"), ("workers", "workers: ▸\"@\""), ("logging.level", "logging: {level: ▸'@'}"),
            ("logging.access_log", "logging: {access_log: ▸\"@\"}"), ("shutdown.drain", "shutdown: {drain: ▸\"@\"}"),
            ("limits.header_bytes", "limits: {header_bytes: ▸\"@\"}"), ("admin.token", "admin: {token: ▸\"@\"}"),
            ("admin.token.file", "admin: {token: {file: ▸\"@\"}}"), ("admin.token.env", "admin: {token: {env: ▸\"@\"}}"),
            ("token_sources[0]", "token_sources: [▸\"@\"]"), ("token_sources[0].query", "token_sources: [{query: ▸\"@\"}]"),
            ("listeners[0].address", "listeners: [{address: ▸\"@\"}]"), ("identity_headers.claims.X-A", "identity_headers: {claims: {X-A: ▸\"@\"}}"),
        ] {
            try Mistake(template.replacing("@", with: text), "\(path): \(message)").check(in: folder, environment: ["HOST": "x"])
        }
    }

    @Test("What a variable holds is held to the rules of the key, at the place of the string")
    func rules() throws {
        let environment = ["EMPTY": "", "LINES": "a\nb", "WORD": "yes", "NUMBER": "5", "LONG": String(repeating: "x", count: 8193)]
        for mistake in [
            Mistake("sessions: {issuer: ▸\"${EMPTY}\"}", "sessions.issuer: must not be empty"),
            Mistake("sessions: {issuer: ▸\"${LINES}\"}", "sessions.issuer: must not hold control characters"),
            Mistake("sessions: {issuer: ▸\"${LONG}\"}", "sessions.issuer: has more than 8192 bytes"),
            Mistake("workers: ▸${WORD}", "workers: must be a whole number"), Mistake("workers: ▸${EMPTY}", "workers: must be a whole number"),
            Mistake("logging: {access_log: ▸\"${WORD}\"}", "logging.access_log: must be true or false"),
            Mistake("logging: {access_log: ▸\"${NUMBER}\"}", "logging.access_log: must be true or false"),
            Mistake("limits: {idle_timeout: ▸\"${NUMBER}\"}", "limits.idle_timeout: must be a duration such as 250ms, 5s, 10m, 12h or 30d"),
            Mistake("limits: ▸\"${EMPTY}\"", "limits: must be a mapping, not text"),
            Mistake("routes: ▸\"${EMPTY}\"", "routes: must be a list, not text"),
        ] {
            try mistake.check(in: folder, environment: environment)
        }
    }

    // MARK: Secrets

    @Test(
        "A secret is a literal string, a file without its line end, or a variable",
        arguments: [
            ("s3cret", "s3cret"), ("\"5\"", "5"), ("'~'", "~"), ("\"a-${PART}\"", "a-part"), ("{file: plain}", "from-file"),
            ("{file: ended}", "from-file"), ("{file: windows}", "from-file"), ("{file: ended-twice}", "from-file\n"),
            ("{file: \"${NAME}\"}", "from-file"), ("{file: with-variable}", "${PART}"), ("{env: SECRET}", "from ${PART}\n"),
            ("{env: \"${WHICH}\"}", "from ${PART}\n"), ("{\"file\": sub/folder/secret}", "deep"), ("{file: ../@/plain}", "from-file"),
            ("!!str 5", "5"),
        ])
    func secrets(_ text: String, _ secret: String) throws {
        for (name, content) in [
            ("plain", "from-file"), ("ended", "from-file\n"), ("windows", "from-file\r\n"), ("ended-twice", "from-file\n\n"),
            ("with-variable", "${PART}\n"), ("sub/folder/secret", "deep\n"),
        ] {
            try folder.write(name, content)
        }
        let name = folder.path.split(separator: "/").last ?? ""
        let settings = try folder.read(
            "store: {redis: {password: \(text.replacing("@", with: name))}}",
            environment: ["PART": "part", "SECRET": "from ${PART}\n", "NAME": "plain", "WHICH": "SECRET"]
        ).settings
        guard case .redis(let redis) = settings.store else { return }
        #expect(redis.password.map { String(decoding: $0, as: UTF8.self) } == secret)
    }

    @Test("A secret of a file may be bytes that are no text")
    func bytes() throws {
        let secret = [UInt8](0...255)
        try folder.write("secret", secret + [0x0A])
        guard case .redis(let redis) = try folder.read("store: {redis: {password: {file: secret}}}").settings.store else { return }
        #expect(redis.password == secret)
    }

    @Test("A secret that cannot be had is a mistake where it is written")
    func brokenSecrets() throws {
        try folder.write("empty", "")
        try folder.write("line-end", "\r\n")
        let forms = "must be text, {file: PATH} or {env: NAME}"
        for mistake in [
            Mistake("admin: {token: {file: ▸absent}}", "admin.token.file: names a file that does not exist"),
            Mistake("admin: {token: {file: ▸.}}", "admin.token.file: names a file that is a folder"),
            Mistake("admin: {token: {file: ▸/dev/null}}", "admin.token.file: names a file that is no regular file"),
            Mistake("admin: {token: {file: ▸5}}", "admin.token.file: must be text: put it in quotes"),
            Mistake("admin: {token: {env: ▸UNSET}}", "admin.token.env: needs an environment variable that is not set"),
            Mistake("admin: {token: {env: ▸A-B}}", "admin.token.env: is no name of a variable: it has letters, digits and _"),
            Mistake("admin: {token: {env: ▸~}}", "admin.token.env: must be text, not left empty"),
            Mistake("admin: {token: ▸{env: EMPTY}}", "admin.token: must not be empty"),
            Mistake("admin: {token: ▸{file: empty}}", "admin.token: must not be empty"),
            Mistake("admin: {token: ▸{file: line-end}}", "admin.token: must not be empty"),
            Mistake("admin: {token: ▸{file: empty, env: EMPTY}}", "admin.token: \(forms)"),
            Mistake("admin: {token: ▸[{file: empty}]}", "admin.token: \(forms)"),
            Mistake("admin: {token: ▸{}}", "admin.token: \(forms)"),
            Mistake("admin: {token: {▸flie: empty}}", "admin.token: \(forms)"),
            Mistake("admin: {token: {file: secret, ▸mode: 5}}", "admin.token: \(forms)"),
            Mistake(
                "admin: {token: ▸\"a b\"}", "admin.token: must have visible ASCII characters alone, as Authorization has to carry it"),
        ] {
            try folder.write("secret", "x")
            try mistake.check(in: folder, environment: ["EMPTY": ""])
        }
    }
}
