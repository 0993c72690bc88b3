// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import NIOSSL
import TestSupport
import Testing
import Tokens

@testable import Settings

@Suite("Files that the configuration names")
struct FileTests {
    private let folder: ConfigurationFolder

    init() throws {
        folder = try ConfigurationFolder()
        let certificates = try TestCertificates()
        defer { certificates.remove() }
        for name in ["ca.pem", "server.pem", "server.key", "client.pem", "client.key"] {
            try folder.copy("\(certificates.folder)/\(name)", to: name)
        }
        try folder.write("signing.pem", try SigningKey.generate(.eddsa).pem)
        try folder.write("old.pem", try SigningKey.generate(.es256).pem)
        try folder.write("text", "no key\n")
    }

    // MARK: TLS

    @Test("A listener's certificate, key and authorities are read, and TLS 1.2 is the least without more words")
    func serverTLS() throws {
        let listeners = try folder.read(
            """
            listeners:
              - {address: "a:1", tls: {certificate: server.pem, private_key: server.key}}
              - {address: "a:2", tls: {certificate: server.pem, private_key: server.key, minimum_version: "1.3", client_ca: ca.pem}}
            """
        ).settings.listeners
        let plain = try #require(listeners.first?.tls)
        #expect(plain.certificates.count == 1 && plain.minimumVersion == .tls12 && plain.clientAuthorities.isEmpty)
        #expect(plain.configuration(protocols: [.http1]).minimumTLSVersion == .tlsv12)
        #expect(plain.configuration(protocols: [.http1]).certificateVerification == .none)
        let strict = try #require(listeners.last?.tls)
        #expect(strict.clientAuthorities.count == 1)
        #expect(strict.configuration(protocols: [.http1]).minimumTLSVersion == .tlsv13)
        #expect(strict.configuration(protocols: [.http1]).certificateVerification == .noHostnameVerification)
    }

    @Test("TLS towards the store and upstreams verifies in full, with or without an own certificate")
    func clientTLS() throws {
        let settings = try folder.read(
            """
            store: {redis: {tls: {}}}
            upstreams: {a: {endpoints: ["a:1"], tls: {ca: ca.pem, certificate: client.pem, private_key: client.key, server_name: b.example}}}
            """
        ).settings
        guard case .redis(let redis) = settings.store else { return }
        let plain = try #require(redis.tls)
        #expect(plain == Settings.ClientTLS())
        #expect(plain.configuration.certificateVerification == .fullVerification)
        let full = try #require(settings.upstreams.first?.tls)
        #expect(full.authorities.count == 1 && full.certificates.count == 1 && full.privateKey != nil && full.serverName == "b.example")
        #expect(full.configuration.certificateVerification == .fullVerification && full.configuration.minimumTLSVersion == .tlsv12)
    }

    @Test("What cannot be used for TLS is a mistake where it is named")
    func brokenTLS() throws {
        let noCertificate = "names a file without a certificate in PEM"
        let noKey = "names a file without a private key in PEM that needs no passphrase"
        for (template, path) in [
            ("listeners: [{address: \"a:1\", tls: ▸{@}}]", "listeners[0].tls"), ("store: {redis: {tls: ▸{@}}}", "store.redis.tls"),
            ("upstreams: {a: {endpoints: [\"a:1\"], tls: ▸{@}}}", "upstreams.a.tls"),
        ] {
            func check(_ members: String, _ problems: String...) throws {
                let marked = members.contains("▸") ? template.replacing("▸", with: "") : template
                try Mistake(marked.replacing("@", with: members), problems.map { "\(path)\($0)" }).check(in: folder)
            }
            try check("certificate: ▸text, private_key: ▸text", ".certificate: \(noCertificate)", ".private_key: \(noKey)")
            try check("certificate: ▸server.key, private_key: ▸server.pem", ".certificate: \(noCertificate)", ".private_key: \(noKey)")
            try check(
                "certificate: ▸absent, private_key: ▸absent", ".certificate: names a file that does not exist",
                ".private_key: names a file that does not exist")
            try check("certificate: server.pem, private_key: client.key", ": has a private_key that is not the certificate's")
            if path == "listeners[0].tls" {
                try check("certificate: server.pem", ".private_key: is missing")
                try check("private_key: server.key", ".certificate: is missing")
                try check("certificate: server.pem, private_key: server.key, client_ca: ▸text", ".client_ca: \(noCertificate)")
                try check("certificate: server.pem, private_key: server.key, minimum_version: ▸1.2", ".minimum_version: must be 1.2 or 1.3")
                try check("certificate: server.pem, private_key: server.key, minimum_version: ▸\"1.1\"", ".minimum_version: must be 1.2 or 1.3")
            } else {
                try check("certificate: server.pem", ": needs both certificate and private_key, or none")
                try check("private_key: server.key", ": needs both certificate and private_key, or none")
                try check("ca: ▸text", ".ca: \(noCertificate)")
            }
        }
    }

    // MARK: Keys and users

    @Test("A signing key is a PKCS#8 key, of a file or literal; the ones before it keep their order")
    func signingKeys() throws {
        let pem = String(decoding: try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/signing.pem")), as: UTF8.self)
        let block = pem.split(separator: "\n").map { "    \($0)\n" }.joined()
        let sessions = try folder.read("sessions:\n  signing_key: |\n\(block)  previous_keys: [{file: old.pem}]\n").settings.sessions
        #expect(sessions.signingKey?.algorithm == .eddsa && sessions.previousKeys.map(\.algorithm) == [.es256])
        let named = try folder.read("sessions: {signing_key: {file: signing.pem}}").settings.sessions
        #expect(named.signingKey?.keyID == sessions.signingKey?.keyID)
    }

    @Test("A key that cannot sign is a mistake that says why")
    func brokenSigningKeys() throws {
        try openssl(["genrsa", "-out", "\(folder.path)/weak.pem", "1024"])
        try openssl(["pkey", "-in", "\(folder.path)/old.pem", "-pubout", "-out", "\(folder.path)/public.pem"])
        let mistakes = [
            ("text", "has no PEM block"), ("weak.pem", "is an RSA key of 1024 bits, at least 2048 are needed"),
            ("public.pem", "is a public key, a PKCS#8 private key is needed"),
        ]
        for (name, reason) in mistakes {
            let reading = try folder.read("sessions: {signing_key: {file: \(name)}}")
            #expect(reading.lines.count == 1 && reading.lines.allSatisfy { $0.hasPrefix("1:25: sessions.signing_key: ") }, "\(reading.lines)")
            if name != "weak.pem" { #expect(reading.problems.map(\.message) == [reason]) }
            let previous = try folder.read("sessions: {signing_key: {file: signing.pem}, previous_keys: [{file: \(name)}]}")
            #expect(previous.problems.map(\.key) == ["sessions.previous_keys[0]"])
        }
    }

    @Test("A users file is checked line by line, and its mistakes do not show what is in it")
    func users() throws {
        try folder.write("users", "alice:hunter2\n")
        try Mistake(
            "sessions: {signing_key: {file: signing.pem}, login: {users_file: ▸users}}",
            "sessions.login.users_file: names a file in which line 1 has no hash that the system's crypt(3) understands "
                + "(htpasswd -B and mkpasswd write such hashes)"
        ).check(in: folder)
    }

    // MARK: Paths

    @Test("Relative paths start at the folder of the file, wherever the process is and however the file is named")
    func relativePaths() throws {
        try folder.write("secrets/token", "t0ken")
        let text = "admin: {token: {file: secrets/token}, address: unix:run/admin}\nlisteners: [{address: unix:../a}]"
        let settings = try folder.read(text).settings
        #expect(settings.admin.token == Array("t0ken".utf8))
        #expect(settings.admin.address == .unix(path: "\(folder.path)/run/admin"))
        #expect(settings.listeners.map(\.address) == [.unix(path: "\(folder.path)/../a")])
        let current = FileManager.default.currentDirectoryPath
        let up = String(repeating: "../", count: current.split(separator: "/").count)
        let named = Reading(file: "\(up)\(folder.file.dropFirst())", environment: [:])
        #expect(try named.settings.admin.token == Array("t0ken".utf8))
        #expect(try named.settings.admin.address == .unix(path: "\(current)/\(up)\(folder.path.dropFirst())/run/admin"))
    }

    @Test("An absolute path is taken as it is")
    func absolutePaths() throws {
        try folder.write("token", "t0ken")
        #expect(try folder.read("admin: {token: {file: \(folder.path)/token}}").settings.admin.token == Array("t0ken".utf8))
    }

    @Test("The authorities of a URL are read with the configuration, and are other ones when their file is")
    func authorities() throws {
        let issuer = "issuers: [{name: n, issuer: i, audiences: [a], algorithms: [ES256], jwks: {url: \"https://a/\", ca: authority}}]"
        let login = "sessions: {signing_key: {file: signing.pem}, login: {verify_url: \"https://a/\", ca: authority}}"
        try folder.write("signing.pem", try SigningKey.generate(.eddsa).pem)
        var seen: [[NIOSSLCertificate]] = []
        for _ in 1...2 {
            let certificates = try TestCertificates()
            defer { certificates.remove() }
            try folder.copy(certificates.authority, to: "authority")
            let expected = try NIOSSLCertificate.fromPEMFile(certificates.authority)
            guard case .url(_, _, let ofKeys)? = try folder.read(issuer).settings.issuers.first?.keys,
                case .verify("https://a/", let ofLogin)? = try folder.read(login).settings.sessions.login
            else {
                Issue.record("read as something else")
                return
            }
            #expect(ofKeys == expected && ofLogin == expected)
            seen.append(ofKeys)
        }
        #expect(seen.count == 2 && seen[0] != seen[1])
    }

    // MARK: Changes

    @Test("The digest changes with the file, with every file and variable that it names, and with nothing else")
    func digest() throws {
        let text = "admin: {token: {file: token}}\nsessions: {issuer: \"${NAME}\"}\n"
        try folder.write("token", "a")
        func digest(_ text: String, _ environment: [String: String] = ["NAME": "x"]) throws -> [UInt8] {
            try folder.read(text, environment: environment).digest
        }
        let first = try digest(text)
        #expect(try digest(text) == first)
        #expect(try digest(text, ["NAME": "x", "OTHER": "y"]) == first)
        #expect(try digest(text + "# c\n") != first)
        #expect(try digest(text, ["NAME": "y"]) != first)
        try folder.write("token", "b")
        #expect(try digest(text) != first)
        try folder.write("token", "a")
        #expect(try digest(text) == first)
        try FileManager.default.removeItem(atPath: "\(folder.path)/token")
        let absent = try digest(text)
        #expect(absent != first)
        try folder.write("token", "")
        #expect(try digest(text) != absent)
    }

    @Test("A change of workers, of the store or of the admin's address needs a restart, and is told where it stands")
    func restart() throws {
        let running = try folder.read("{}").settings
        func problems(_ text: String) throws -> [String] {
            let loaded = try #require(try folder.read(text).loaded)
            return loaded.problems(replacing: running).map { "\($0.line):\($0.column): \($0.key): \($0.message)" }
        }
        #expect(try problems("limits: {header_count: 7}\nadmin: {token: t}\nrevocation: {grace: 1s}") == [])
        #expect(
            try problems("workers: 3\nadmin: {address: \"a:1\"}\nstore:\n  redis: {database: 1}\n") == [
                "1:10: workers: has changed, which needs a restart", "2:18: admin.address: has changed, which needs a restart",
                "4:3: store: has changed, which needs a restart",
            ])
    }

    // MARK: Who else can read them

    @Test(
        "A secret that every user of the machine can read or change is taken, and warned of, once for each place that names it",
        arguments: [
            ("sessions: {signing_key: {file: signing.pem}}", "sessions.signing_key.file"),
            ("sessions: {signing_key: {file: old.pem}, previous_keys: [{file: signing.pem}]}", "sessions.previous_keys[0].file"),
            ("sessions: {signing_key: {file: old.pem}, login: {users_file: users}}", "sessions.login.users_file"),
            ("admin: {token: {file: token}}", "admin.token.file"),
            ("store: {redis: {password: {file: token}}}", "store.redis.password.file"),
            (#"listeners: [{address: "a:1", tls: {certificate: server.pem, private_key: server.key}}]"#, "listeners[0].tls.private_key"),
            (
                #"upstreams: {a: {endpoints: ["a:1"], tls: {certificate: client.pem, private_key: client.key}}}"#,
                "upstreams.a.tls.private_key"
            ),
        ])
    func openSecrets(text: String, key: String) throws {
        try folder.write("users", "alice:$5$saltstring$\(String(repeating: "a", count: 43))\n")
        try folder.write("token", "token-of-the-tests\n")
        let secrets = ["signing.pem", "users", "token", "server.key", "client.key"]
        // What anybody may see is no matter of concern.
        for name in ["server.pem", "client.pem"] { try folder.permit(0o644, name) }
        #expect(try folder.read(text).warnings == [])
        for mode in [0o604, 0o602, 0o644] {
            for name in secrets { try folder.permit(mode, name) }
            let reading = try folder.read(text)
            #expect(reading.lines == [])
            #expect(reading.warnings == ["\(key): names a file that every user of this machine can read or change: chmod o-rw"])
        }
        for name in secrets { try folder.permit(0o640, name) }
        #expect(try folder.read(text).warnings == [])
    }
}
