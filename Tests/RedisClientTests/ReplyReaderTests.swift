// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import RedisClient

/// All replies in these bytes, given to a reader in pieces of that size.
func read(_ bytes: [UInt8], pieces: Int = .max, limits: RedisLimits = RedisLimits()) throws(ReplyReader.Problem) -> [RedisReply] {
    var reader = ReplyReader(limits: limits)
    var replies: [RedisReply] = []
    var rest = bytes[...]
    while !rest.isEmpty {
        let piece = Array(rest.prefix(pieces))
        rest = rest.dropFirst(pieces)
        try feed(&reader, piece)
        while let reply = try reader.next() { replies.append(reply) }
    }
    return replies
}

func feed(_ reader: inout ReplyReader, _ bytes: [UInt8]) throws(ReplyReader.Problem) {
    var problem: ReplyReader.Problem?
    bytes.withUnsafeBytes { raw in
        do throws(ReplyReader.Problem) { try reader.feed(raw) } catch { problem = error }
    }
    if let problem { throw problem }
}

@Suite("Reading replies")
struct ReplyReaderTests {
    private func text(_ string: String) -> [UInt8] { Array(string.utf8) }

    @Test("every type of RESP2 is read, however the bytes are cut", arguments: [1, 2, 3, 7, .max])
    func types(_ pieces: Int) throws {
        let bytes = text(
            "+OK\r\n:1\r\n:-9223372036854775808\r\n:9223372036854775807\r\n$5\r\na\r\nb\0\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n-ERR no\r\n+\r\n"
                + "*3\r\n:1\r\n*2\r\n$1\r\nx\r\n$-1\r\n-WRONGTYPE x\r\n:0\r\n")
        #expect(
            try read(bytes, pieces: pieces) == [
                .simple(text("OK")), .integer(1), .integer(.min), .integer(.max), .bulk(text("a\r\nb\0")), .bulk([]), .null, .null, .array([]),
                .error(text("ERR no")), .simple([]), .array([.integer(1), .array([.bulk(text("x")), .null]), .error(text("WRONGTYPE x"))]),
                .integer(0),
            ])
    }

    @Test(
        "what Redis never writes is refused, however the bytes are cut",
        arguments: [
            "*2147483647\r\n", "*4294967296\r\n", "*9223372036854775807\r\n", "*99999999999999999999\r\n", "*-2\r\n", "$-5\r\n", "$-2\r\n",
            "$9223372036854775807\r\n", "$67108865\r\n", "*1048577\r\n", "HTTP/1.1 400 Bad Request\r\n", "\r\n", "\0", ":\r\n", ":-\r\n", ":+1\r\n",
            ":01\r\n",
            ":-0\r\n", ":1 \r\n", ":9223372036854775808\r\n", ":1\n", ":1\rx", "$1\r\nab\r\n", "$1\r\na\rx", "$\r\n", "$x\r\n", "+a\nb\r\n",
            "+a\rb\r\n", "%1\r\n", "_\r\n",
            "#t\r\n", ",1.5\r\n", ">1\r\n", "(1\r\n", "=7\r\ntxt:abc\r\n", "~1\r\n", "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
            "*1048576\r\n*1\r\n", "*2\r\n:1\r\n*-2\r\n", "*?\r\n",
        ], [1, .max])
    func refused(_ bytes: String, _ pieces: Int) {
        #expect(throws: ReplyReader.Problem.self) { try read(text(bytes), pieces: pieces) }
    }

    @Test("arrays may be nested seven deep")
    func nesting() throws {
        let replies = try read(text(String(repeating: "*1\r\n", count: 7) + ":1\r\n:2\r\n"))
        #expect(replies.count == 2)
    }

    @Test("limits hold for a whole reply with all that is nested in it, and begin anew with the next")
    func limits() throws {
        var limits = RedisLimits()
        limits.replyBytes = 40
        limits.replyElements = 4
        limits.lineBytes = 10
        let fits = text("*2\r\n$5\r\naaaaa\r\n$5\r\nbbbbb\r\n")
        #expect(try read(fits + fits, limits: limits).count == 2)
        for bytes in ["*2\r\n$15\r\naaaaaaaaaaaaaaa\r\n$15\r\n", "*3\r\n*2\r\n:1\r\n:1\r\n", "+aaaaaaaaaaa", "-aaaaaaaaaaa", "$41\r\n"] {
            #expect(throws: ReplyReader.Problem.self, "\(bytes)") { try read(text(bytes), limits: limits) }
        }
    }

    @Test("a large reply arrives whole")
    func large() throws {
        let content = [UInt8](repeating: 0x2A, count: 3_000_000)
        #expect(try read(text("$3000000\r\n") + content + text("\r\n:5\r\n"), pieces: 65536) == [.bulk(content), .integer(5)])
    }

    @Test("the code of an error reply is its first word, and never what a peer made up")
    func codes() {
        #expect(RedisReply.error(text("NOSCRIPT No matching script")).errorCode == "NOSCRIPT")
        #expect(RedisReply.error(text("LOADING")).errorCode == "LOADING")
        #expect(RedisReply.error(text("secret=4711 x")).errorCode == "ERR")
        #expect(RedisReply.error([]).errorCode == "ERR")
        #expect(RedisReply.error([0xFF, 0x20]).errorCode == "ERR")
        #expect(RedisReply.simple(text("OK")).errorCode == nil)
    }
}

@Suite("Writing commands")
struct RedisCommandTests {
    @Test("arguments are binary safe, and may be empty")
    func format() {
        let command = RedisCommand([Array("SET".utf8), [], [0, 0x0D, 0x0A, 0xFF]])
        #expect(
            Array(command.bytes.readableBytesView) == Array("*3\r\n$3\r\nSET\r\n$0\r\n\r\n$4\r\n".utf8) + [0, 0x0D, 0x0A, 0xFF] + Array("\r\n".utf8))
        #expect(Array(RedisCommand([[]]).bytes.readableBytesView) == Array("*1\r\n$0\r\n\r\n".utf8))
        #expect(RedisCommand("GET", "k") == RedisCommand([Array("GET".utf8), Array("k".utf8)]))
    }

    @Test("a script's name is the SHA-1 of its source")
    func sha1() {
        #expect(RedisScript("").sha1 == "da39a3ee5e6b4b0d3255bfef95601890afd80709")
        #expect(RedisScript("abc").sha1 == "a9993e364706816aba3e25717850c26c9cd0d89d")
        #expect(RedisScript("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq").sha1 == "84983e441c3bd26ebaae4aa1f95129e5e54670f1")
        #expect(RedisScript(String(repeating: "a", count: 1000)).sha1 == "291e9a6c66994949b57ba5e650361e98fc36b1ba")
    }
}
