// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport
import Testing

@testable import Tokens

@Suite("Base64url and digests")
struct TextTests {
    @Test("Every byte sequence comes back, and its text is the only one that gives it")
    func roundTrip() {
        var random = SeededGenerator(seed: 1)
        for size in 0..<200 {
            let bytes = (0..<size).map { _ in UInt8.random(in: .min ... .max, using: &random) }
            let text = Base64URL.encode(bytes)
            #expect(Base64URL.decode(text) == bytes)
            #expect(Base64URL.encodeToBytes(bytes) == Array(text.utf8))
            #expect(Base64URL.decode(text + "=") == nil)
        }
        #expect(Base64URL.encode(Array("Many hands make light work.~?".utf8)) == "TWFueSBoYW5kcyBtYWtlIGxpZ2h0IHdvcmsufj8")
        #expect(Base64URL.encode([0xFB, 0xFF, 0xBF]) == "-_-_")
    }

    @Test(
        "Anything else is refused", arguments: ["A", "AAAAA", "AB", "AAB", "A=", "AA==", "AA+A", "AA/A", "AA A", "AA\n", "AAA\u{0}", "ÀAAA", "AA.A"])
    func refused(_ text: String) {
        #expect(Base64URL.decode(text) == nil)
    }

    @Test("Digests are those of the standards")
    func digests() {
        #expect(Digest.sha256(Array("abc".utf8)).prefix(4) == [0xBA, 0x78, 0x16, 0xBF])
        #expect(Digest.sha256([UInt8]()).prefix(4) == [0xE3, 0xB0, 0xC4, 0x42])
        // RFC 4231 §4.3
        #expect(Digest.hmacSHA256(key: Array("Jefe".utf8), Array("what do ya want for nothing?".utf8)).prefix(4) == [0x5B, 0xDC, 0xC1, 0x46])
        #expect(Digest.hmacSHA256(key: [], []).prefix(4) == [0xB6, 0x13, 0x67, 0x9A])
    }

    @Test("Random bytes have the length asked for and differ")
    func random() {
        for count in [0, 1, 7, 8, 9, 32] { #expect(Digest.randomBytes(count).count == count) }
        #expect(Digest.randomBytes(16) != Digest.randomBytes(16))
    }

    @Test("Equal bytes are equal in constant time, and others are not")
    func constantTime() {
        #expect(Digest.constantTimeEquals([], []) && Digest.constantTimeEquals([1, 2], [1, 2]))
        #expect(!Digest.constantTimeEquals([1, 2], [1, 3]) && !Digest.constantTimeEquals([1], [1, 1]) && !Digest.constantTimeEquals([], [0]))
    }
}
