// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import NIOCore
import TestSupport
import Testing

@testable import BenchHarness

@Suite("URLs and files that are given")
struct TargetTests {
    @Test(
        "a URL tells scheme, host, port, authority and path",
        arguments: [
            ("http://127.0.0.1:8080/a?b=c", false, "127.0.0.1", 8080, "127.0.0.1:8080", "/a?b=c"),
            ("https://example.test", true, "example.test", 443, "example.test", "/"),
            ("HTTP://example.test:80", false, "example.test", 80, "example.test", "/"),
            ("https://[::1]:8443?x", true, "::1", 8443, "[::1]:8443", "/?x"), ("http://[::1]/", false, "::1", 80, "[::1]", "/"),
        ])
    func parts(url: String, isTLS: Bool, host: String, port: Int, authority: String, path: String) throws {
        let target = try Target(url)
        #expect(target.isTLS == isTLS && target.host == host && target.port == port && target.authority == authority && target.path == path)
    }

    @Test(
        "what is no URL to send requests to is refused without its text",
        arguments: [
            "127.0.0.1:8080", "ftp://secret/", "http://", "http:///secret", "http://user:secret@host/", "http://host:0/", "http://host:65536/",
            "http://host:secret/", "http://host:+1/", "http://[::1/secret", "http://host/#secret", "http://host/se cret", "http://hóst/secret",
        ])
    func refused(url: String) {
        #expect {
            try Target(url)
        } throws: { error in
            !"\(error)".contains("secret") && !"\(error)".isEmpty
        }
    }

    @Test("what follows the question mark is not shown: tokens travel there, too")
    func shown() throws {
        #expect(try Target("http://host:81/path?access_token=secret").shown == "http://host:81/path?…")
        #expect(try Target("https://host/path").shown == "https://host/path")
    }

    private func withFile(_ text: String, _ body: (String) throws -> Void) throws {
        let folder = try temporaryFolder("tokens")
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try text.write(toFile: "\(folder)/file", atomically: true, encoding: .utf8)
        try body("\(folder)/file")
    }

    @Test("a token file has one token a line; empty lines and either line end do no harm")
    func tokens() throws {
        try withFile("one\r\n\ntwo\nthree") { path in
            let tokens = try TokenFile.read(path)
            #expect(tokens == ["one", "two", "three"])
        }
    }

    @Test(
        "a token file without tokens, or with what is none, is refused by the number of the token and without its text",
        arguments: ["", "\n\r\n", "a\nse cret"])
    func noTokens(text: String) throws {
        try withFile(text) { path in
            #expect {
                try TokenFile.read(path)
            } throws: { error in
                !"\(error)".contains("cret") && (error as? TokenFile.Problem)?.isAbsent == false
            }
        }
        #expect {
            try TokenFile.read("/nowhere/at/all")
        } throws: { ($0 as? TokenFile.Problem)?.isAbsent == true }
    }

    @Test("of several addresses of a name the first is taken that takes connections, and the first where none does")
    func addresses() throws {
        let server = try FakeServer { $0.waitForEnd() }
        defer { server.stop() }
        let open = try SocketAddress(ipAddress: "127.0.0.1", port: server.port)
        let closed = try ["::1", "127.0.0.1"].map { try SocketAddress(ipAddress: $0, port: freePort()) }
        #expect(AddressChoice.reachable(among: closed + [open]) == open)
        #expect(AddressChoice.reachable(among: closed) == closed[0] && AddressChoice.reachable(among: []) == nil)
        #expect(server.acceptedConnections <= 1 && AddressChoice.reachable(among: [open]) == open)
        #expect(AddressChoice.addresses(of: "127.0.0.1", port: server.port) == [open])
        #expect(AddressChoice.addresses(of: "::1", port: 80) == [try SocketAddress(ipAddress: "::1", port: 80)])
        #expect(AddressChoice.addresses(of: "no name", port: 80).isEmpty)
    }

    @Test("a file of sessions has user, session id and token in each line")
    func sessions() throws {
        try withFile("alice s1 token\nbob\ts2  other\n") { path in
            let sessions = try BenchSession.read(path)
            #expect(sessions == [BenchSession(user: "alice", id: "s1", token: "token"), BenchSession(user: "bob", id: "s2", token: "other")])
        }
        for text in ["", "alice secret\n", "a b c secret\n"] {
            try withFile(text) { path in
                #expect {
                    try BenchSession.read(path)
                } throws: { !"\($0)".contains("secret") }
            }
        }
    }
}
