// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import HTTPRules
import Testing

@testable import Gateway

@Suite("Paths and hosts")
struct WirePathTests {
    private let normaliser = PathNormaliser()

    private func normal(_ path: String, merge: Bool = false, keep: Bool = false) -> String? {
        normaliser.normalForm(Array(path.utf8), merge: merge, keep: keep).map { String(decoding: $0, as: UTF8.self) }
    }

    @Test(
        "Paths have one normal form",
        arguments: [
            ("/", "/"), ("", "/"), ("/a/./b", "/a/b"), ("/a/../b", "/b"), ("/a/b/..", "/a/"), ("/a/b/../", "/a/"), ("/a/.", "/a/"),
            ("/a/b/../../c", "/c"), ("/..", "/"), ("/.", "/"),
            ("/../a", "/a"), ("/../../a/", "/a/"), ("/a/../..", "/"), ("/%61%7e%2D%5f%2ehidden", "/a~-_.hidden"),
            ("/a%20b%3ac%c3%bc", "/a%20b%3Ac%C3%BC"), ("/a;v=1/b", "/a;v=1/b"), ("/...", "/..."),
            ("/.hidden", "/.hidden"), ("/a..b", "/a..b"), ("/a%2Eb", "/a.b"), ("/..a", "/..a"), ("/a+b@c:d!$&'()*,=", "/a+b@c:d!$&'()*,="),
            ("/100%25", "/100%25"), ("/%25zz", "/%25zz"),
            ("/\"<>[]^`{|}", "/%22%3C%3E%5B%5D%5E%60%7B%7C%7D"), ("/%23", "/%23"), ("/a%3f", "/a%3F"), ("/x;/../a", "/a"), ("/;/a", "/;/a"),
            ("/%ff", "/%FF"), ("/%c0", "/%C0"), ("/%C0pres", "/%C0pres"), ("/%e2%82%ac", "/%E2%82%AC"), ("/%f0%9f%98%80", "/%F0%9F%98%80"),
            ("/%0d%0a", "/%0D%0A"), ("/%41", "/A"), ("/.../..", "/"),
        ])
    func normalForms(path: String, normalForm: String) {
        #expect(normal(path) == normalForm)
        #expect(normal(normalForm) == normalForm)
    }

    @Test("A path that is in its normal form is left where it is", arguments: ["/", "/a", "/a/b/", "/.a/b", "/a%20b", "/a;b", "/...", "/%C3%BC"])
    func unchanged(path: String) {
        #expect(Array(path.utf8).withUnsafeBytes { normaliser.normalise($0, mergeSlashes: false, keepEncodedSlashes: false) } == .unchanged)
    }

    private static let alwaysRefused = [
        "/%5cx", "/%5C..", "/%00", "/x%00.png", "/open\\x", "/..;/a", "/..;x=1/a", "/.;/a", "/.;", "/%2e%2e;/a", "/..%3b/a", "/%252e%252e/a",
        "/%252E", "/%252f..", "/%255c", "/%2500", "/%2525",
        "/%25%32%65", "/%2%35%32e", "/%zz", "/%", "/%2", "/%u002e", "/%2g", "/%2e%2e/a", "/.%2E/a", "/%2e", "/a/%2e/b", "a", "*", "/ü", "/ ",
        "/\u{0}", "/\u{7f}", "/\t", "/a?b", "/a#b", "%2fa",
        "/%%32e", "/%c0%ae%c0%ae/a", "/..%c0%af", "/%C1%9C", "/%e0%80%ae", "/%f0%80%80%ae", "/%f8%80%80%80%ae", "/%fc%80%80%80%80%ae",
    ]

    @Test("Ambiguous paths are refused, whatever is allowed", arguments: alwaysRefused)
    func ambiguous(path: String) {
        for merge in [false, true] {
            for keep in [false, true] { #expect(normal(path, merge: merge, keep: keep) == nil) }
        }
    }

    @Test(
        "Duplicate and encoded slashes are refused unless allowed",
        arguments: ["//", "//a", "/a//b", "/a//", "///a", "/.//a", "/a%2fb", "/%2F", "/a/%2f/", "/..//a"])
    func slashes(path: String) {
        #expect(normal(path) == nil)
    }

    @Test(
        "Duplicate slashes are merged before dot segments are removed",
        arguments: [
            ("//", "/"), ("//a", "/a"), ("/a///b//", "/a/b/"), ("/a//../b", "/b"), ("/.//b", "/b"), ("/a/..//b", "/b"), ("/a//..//..//b", "/b"),
            ("//..", "/"), ("/a//.", "/a/"),
        ])
    func merging(path: String, normalForm: String) {
        #expect(normal(path, merge: true) == normalForm)
    }

    @Test(
        "An encoded slash stays encoded and separates nothing",
        arguments: [("/a%2fb", "/a%2Fb"), ("/a/b%2Fc%2f", "/a/b%2Fc%2F"), ("/a.%2f.b", "/a.%2F.b"), ("/%2fa", "/%2Fa"), ("/a%2f%41", "/a%2FA")])
    func keeping(path: String, normalForm: String) {
        #expect(normal(path, keep: true) == normalForm)
    }

    @Test(
        "An encoded slash beside a dot segment is refused",
        arguments: [
            "/..%2fa", "/%2e%2e%2fa", "/a%2f..", "/a%2f..%2fb", "/a%2f.", "/.%2fa", "/a%2f../b", "/a%2fb/../c", "/../a%2fb", "/a%2f..;x",
            "/a%2f%2e%2e/b", "/./a%2fb",
        ])
    func keptBesideDots(path: String) {
        #expect(normal(path, keep: true) == nil)
    }

    @Test("Paths longer than the storage are no problem")
    func longPaths() {
        let long = "/" + String(repeating: "[", count: 20_000)
        #expect(normal(long) == "/" + String(repeating: "%5B", count: 20_000))
        let deep = String(repeating: "/a", count: 10_000) + String(repeating: "/..", count: 10_000)
        #expect(normal(deep) == "/")
    }

    @Test(
        "Hosts: names, addresses and ports",
        arguments: [
            "x", "X.example", "x:80", "x:", "x:0", "x:65535", "127.0.0.1:8080", "[::1]", "[::1]:8080", "a-b_c.example", "1.2.3", "x.", "~a!$&'()*+=b",
            "a%20b", "[::]", "[1:2:3:4:5:6:7:8]", "[1::8]",
            "[::ffff:1.2.3.4]", "[64:ff9b::192.0.2.33]", "[1:2:3:4:5:6:1.2.3.4]", "[1:2:3:4:5:6:7::]", "[FE80::a]", "[::2:3:4:5:6:7:8]", "x:00080",
        ])
    func goodHosts(host: String) {
        #expect(Array(host.utf8).withUnsafeBytes { validHost($0) })
    }

    @Test(
        "Hosts that are none",
        arguments: [
            "", ":80", "x/y", "x y", "a@x", "x, y", "x,y", "x;by=evil", "x:99999", "x:65536", "x:080808", "x:80a", "x:-1", "x:+1", "[::1", "::1",
            "[::1]x", "[::1]:a", "[]", "[x]", "[1:2:3]", "[1:2:3:4:5:6:7]", "[1:2:3:4:5:6:7:8:9]",
            "[1:2:3:4::5:6:7:8]", "[1::2::3]", "[:::]", "[12345::]", "[::1%25eth0]", "[v1.x]", "[::1.2.3]", "[::1.2.3.256]", "[::1.2.3.4.5]",
            "[::01.2.3.4]", "[1.2.3.4]", "[1:]", "[:1]", "[:1::]", "x%zz", "x%", "x%2", "ü", "x\\y", "x\"",
            "<x>", "x?", "x#", "x:80:80", "x:[::1]", "[1:2:3:4:5:6:7:1.2.3.4]", "[::1.2.3.4:5]", "\u{7f}",
        ])
    func badHosts(host: String) {
        #expect(!Array(host.utf8).withUnsafeBytes { validHost($0) })
    }
}
