// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import Control

@Suite("Users file")
struct UsersFileTests {
    private static let sha256 = "$5$rounds=1000$saltsalt$7AgMyv1GxsQqK7a3DezJADVAxd6Nn5sQiozLVIGubI7"

    private static let sha256Of511 = "$5$rounds=1000$saltsalt$9DknICkXtvRKwt.F1bKt0tRvzF8H3N35RogntZyquK5"

    private func parse(_ text: String) throws -> UsersFile { try UsersFile(parsing: Array(text.utf8)) }

    @Test(
        "understands what mkpasswd and htpasswd write today",
        arguments: [
            "$y$j9T$PqK0v0Wm1lq1b4nYhN3wF/$x45HK1Y4EOUPwlgnRPBmJtgaEZftxfaslTXTzp8ap97",
            "$2y$05$kY9sVbq3S8bT5m4Zr1nWeudBblyop2y2p/JqmGX1UkhFY0YTKNS7y",
        ])
    func methods(hash: String) throws {
        let users = try parse("# comment\n\nsomebody:\(hash)\r\n")
        #expect(users.authenticates("somebody", password: "a longer secret"))
        #expect(!users.authenticates("somebody", password: "a longer secreT") && !users.authenticates("somebody", password: ""))
        #expect(!users.authenticates("nobody", password: "a longer secret"), "what an unknown user is hashed with lets nobody in")
    }

    @Test("compares names byte for byte")
    func names() throws {
        let users = try parse("jo\u{308}rg:\(Self.sha256)")
        #expect(users.authenticates("jo\u{308}rg", password: "password of alice") && !users.authenticates("j\u{f6}rg", password: "password of alice"))
    }

    @Test("lets nobody in who is locked, nor with a password that goes on behind a NUL")
    func locked() throws {
        let users = try parse("a:!\(Self.sha256)\nb:*\nc:\(Self.sha256)")
        #expect(!users.authenticates("a", password: "password of alice") && !users.authenticates("b", password: "*"))
        #expect(users.authenticates("c", password: "password of alice") && !users.authenticates("c", password: "password of alice\u{0}x"))
    }

    @Test("that is empty knows nobody, and hashes all the same")
    func empty() throws {
        #expect(!(try parse("").authenticates("a", password: "b")))
    }

    @Test(
        "is refused with the line and without a word of it",
        arguments: [
            ("alice:\(sha256)\nnonsense", 2), ("alice", 1), (":\(sha256)", 1), (" alice:\(sha256)", 1), ("alice:\(sha256)\nalice:\(sha256)", 2),
            ("alice:", 1),
            ("\n\nalice:plain-password", 3), ("alice:$apr1$salt$0123456789012345678901", 1), ("alice:{SHA}x", 1), ("a:!\na:\(sha256)", 2),
            ("alice:$6$salt", 1), ("alice:$2y$05$", 1), ("alice:rl0uE8mAYTJrQ", 1),
        ])
    func problems(text: String, line: Int) {
        let problem = #expect(throws: UsersFileProblem.self) { try parse(text) }
        #expect(problem?.line == line && problem?.description.contains("alice") == false && problem?.description.contains("plain") == false)
    }

    @Test("kinds of hashes are told apart by method and cost, not by salt")
    func kinds() throws {
        #expect(PasswordHash(Array(Self.sha256.utf8))?.kind == Array("$5$rounds=1000".utf8)[...])
        #expect(PasswordHash(Array("$2y$05$kY9sVbq3S8bT5m4Zr1nWeudBblyop2y2p/JqmGX1UkhFY0YTKNS7y".utf8))?.kind == Array("$2y$05".utf8)[...])
        #expect(PasswordHash(Array("$6$salt$012345678901234567890123".utf8))?.kind == Array("$6".utf8)[...])
    }

    @Test("an unknown and a locked user cost what the file's users cost: each kind of hash as often as they have it, and a name always the same")
    func decoys() throws {
        let bcrypt = "$2y$05$kY9sVbq3S8bT5m4Zr1nWeudBblyop2y2p/JqmGX1UkhFY0YTKNS7y"
        let lines = (0..<30).map { "sha\($0):\(Self.sha256)" } + (0..<10).map { "bcrypt\($0):\(bcrypt)" } + ["locked:!\(bcrypt)"]
        let users = try parse(lines.joined(separator: "\n")), again = try parse(lines.reversed().joined(separator: "\n"))
        let more = try parse((lines + ["newcomer:\(bcrypt)"]).joined(separator: "\n"))
        var bcrypts = 0, moved = 0
        for number in 0..<4000 {
            let name = number == 0 ? "locked" : "nobody\(number)"
            let (hash, isUser) = users.hash(of: name)
            #expect(!isUser)
            #expect(again.hash(of: name).hash?.kind == hash?.kind, "neither a restart nor another gateway may change it")
            if hash?.text == Array(bcrypt.utf8) { bcrypts += 1 }
            if more.hash(of: name).hash?.kind != hash?.kind { moved += 1 }
        }
        #expect((800...1200).contains(bcrypts), "a quarter of 4000")
        #expect(moved < 200, "one user more changes few names")
        #expect(users.hash(of: "bcrypt3").hash?.text == Array(bcrypt.utf8) && users.hash(of: "bcrypt3").isUser)
    }

    @Test("a password that is longer than crypt(3) takes is a wrong one, and costs what others cost")
    func longPasswords() throws {
        // mkpasswd -m sha256crypt -R 1000 -S saltsalt, of 511 times the letter a.
        let users = try parse("a:\(Self.sha256Of511)")
        let longest = String(repeating: "a", count: PasswordHash.passwordByteLimit)
        #expect(users.authenticates("a", password: longest))
        #expect(!users.authenticates("a", password: longest + "a") && !users.authenticates("a", password: longest + "\u{0}"))
    }

    @Test("what a client sends is never taken for a method, a cost or a hash")
    func settings() throws {
        let users = try parse("alice:\(Self.sha256)\nbob:*\ncarol:!")
        for text in ["*0", "*1", "*", "!", "", Self.sha256, "$6$rounds=999999999$salt$", "$y$jFT$salt$", "x\n$5$"] {
            for name in ["alice", "bob", "carol", text] { #expect(!users.authenticates(name, password: text), "\(name) \(text)") }
        }
    }
}
