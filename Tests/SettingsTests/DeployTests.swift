// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import TestSupport
import Testing
import Tokens

@testable import Settings

@Suite("The example configurations")
struct DeployTests {
    private static let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("deploy")

    /// Everything below `deploy` that is a configuration of ours, by its path from there.
    private static let examples: [String] = {
        let names = FileManager.default.enumerator(atPath: source.path)?.compactMap { $0 as? String } ?? []
        return names.filter { name in
            guard name.hasSuffix(".yaml"), let text = try? String(contentsOf: source.appendingPathComponent(name), encoding: .utf8) else {
                return false
            }
            // Others' files (Compose, Kubernetes) have no such key at the beginning of a line.
            return text.split(separator: "\n").contains { $0.hasPrefix("listeners:") || $0.hasPrefix("upstreams:") }
        }.sorted()
    }()

    @Test("There is one that shows every key")
    func there() { #expect(Self.examples.contains("portcullis.yaml")) }

    @Test("Each has no mistake and no warning where the files and variables that it names are there", arguments: examples)
    func example(_ name: String) throws {
        let world = try World()
        let reading = try world.read(String(contentsOf: Self.source.appendingPathComponent(name), encoding: .utf8))
        #expect(reading.lines == [])
        #expect(reading.warnings == [])
    }

    /// A line such as `    # tls: {ca: ca.pem}   # why`: a key that the example leaves out, put in.
    @Test("Each line of the documented one that is commented out can be put in alone")
    func commentedOut() throws {
        let world = try World()
        let lines = try String(contentsOf: Self.source.appendingPathComponent("portcullis.yaml"), encoding: .utf8)
            .split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        // These need another one, or another form, of the example.
        let bound = ["username", "issuers"]
        var tried = 0
        for (index, line) in lines.enumerated() {
            guard let match = line.wholeMatch(of: /(\s+)# ([a-z_]+)(: .*)/), !bound.contains(String(match.2)) else { continue }
            var changed = lines
            changed[index] = "\(match.1)\(match.2)\(match.3)"
            let reading = try world.read(changed.joined(separator: "\n"))
            #expect(reading.lines == [], "\(changed[index])")
            tried += 1
        }
        #expect(tried >= 15)
    }

    /// A folder with all files that examples name.
    private struct World {
        let folder: ConfigurationFolder

        init() throws {
            folder = try ConfigurationFolder()
            let certificates = try TestCertificates()
            defer { certificates.remove() }
            let copies = [
                "server.pem": "server.pem", "server-key.pem": "server.key", "clients.pem": "ca.pem", "redis-ca.pem": "ca.pem", "ca.pem": "ca.pem",
                "client.pem": "client.pem", "client-key.pem": "client.key",
            ]
            for (name, file) in copies { try folder.copy("\(certificates.folder)/\(file)", to: name) }
            try folder.write("signing.pem", try SigningKey.generate(.eddsa).pem)
            try folder.write("old.pem", try SigningKey.generate(.es256).pem)
            // A hash in its right form will do: nobody logs in here.
            try folder.write("users", "alice:$5$saltstring$\(String(repeating: "a", count: 43))\n")
        }

        func read(_ text: String) throws -> Reading {
            try folder.read(text, environment: ["PORTCULLIS_ADMIN_TOKEN": "token", "REDIS_PASSWORD": "password"])
        }
    }
}
