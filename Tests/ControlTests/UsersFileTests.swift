// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import Control

@Suite("Users file")
struct UsersFileTests {
    private static let sha256 = "$5$rounds=1000$saltsalt$7AgMyv1GxsQqK7a3DezJADVAxd6Nn5sQiozLVIGubI7"

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

    @Test("an unknown user costs what the file's users cost")
    func decoy() throws {
        let cheap = "$5$rounds=1000$saltsalt$7AgMyv1GxsQqK7a3DezJADVAxd6Nn5sQiozLVIGubI7"
        #expect(PasswordHash(Array(cheap.utf8))?.kind == Array("$5$rounds=1000".utf8)[...])
        #expect(PasswordHash(Array("$2y$05$kY9sVbq3S8bT5m4Zr1nWeudBblyop2y2p/JqmGX1UkhFY0YTKNS7y".utf8))?.kind == Array("$2y$05".utf8)[...])
        #expect(PasswordHash(Array("$6$salt$012345678901234567890123".utf8))?.kind == Array("$6".utf8)[...])
    }
}

@Suite("Hashing pool")
struct HashingPoolTests {
    @Test("lets 64 and more wait, refuses what is over its limit, and serves those that wait in the order of their coming")
    func bounded() async {
        let pool = HashingPool(threads: 1)
        let (gate, open) = AsyncStream<Void>.makeStream()
        let started = AsyncStream<Void>.makeStream()
        let holder = Task {
            await pool.withTurn {
                started.continuation.yield()
                for await _ in gate {}
            }
        }
        for await _ in started.stream { break }
        #expect(HashingPool.waitingLimit >= 64)
        let results = await withTaskGroup(of: Bool.self) { tasks in
            for _ in 0..<(HashingPool.waitingLimit + 5) { tasks.addTask { await pool.withTurn { true } ?? false } }
            var results: [Bool] = []
            // The refused come back first: nobody else can, as long as the turn is held.
            for await result in tasks {
                results.append(result)
                if results.count == 5 { open.finish() }
            }
            return results
        }
        #expect(results.prefix(5).allSatisfy { !$0 } && results.filter { $0 }.count == HashingPool.waitingLimit)
        _ = await holder.value
        await pool.shutDown()
    }
}
