// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport
import Testing

@testable import BenchHarness
@testable import Gateway

@Suite("Fuzz: answers as the harness reads them")
struct ResponseParserFuzzTests {
    private static let texts = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", "HTTP/1.0 304 Not Modified\r\nA: b\r\n\r\n",
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    ].map { Array($0.utf8) }
    private static let words = [
        "\r\n", "\n", "\r", "0\r\n\r\n", "Content-Length: 1\r\n", "Transfer-Encoding: chunked\r\n", "Connection: close\r\n", "HTTP/1.1 103 X\r\n\r\n",
        ":", " ",
        "\0", "ffff", "a;b=c", "18446744073709551616",
    ].map { Array($0.utf8) }

    @Test("however the bytes are cut into pieces, the same is read")
    func cuts() {
        let share = SeededGenerator.run(rounds: 3000) { random in
            let bytes = random.mutated(Self.texts, words: Self.words)
            var whole = ResponseParser()
            whole.begin(isOfHead: false)
            let expected = feed(&whole, bytes, in: bytes.count)
            var cut = ResponseParser()
            cut.begin(isOfHead: false)
            let got = feed(&cut, bytes, in: Int.random(in: 1...9, using: &random))
            if case .complete = expected {
                #expect(got == expected && cut.status == whole.status && cut.keepsConnection == whole.keepsConnection, "\(bytes)")
                return true
            }
            // What follows an answer, or a mistake that has not come yet, may be in one piece with it.
            #expect(got == expected, "\(bytes)")
            return false
        }
        #expect(share > 0.05)
    }

    @Test("a head that the gateway's own scanner takes or refuses is taken or refused here, too, with the same length")
    func secondOpinion() {
        let scanner = ResponseScanner(limits: HeadLimits())
        let share = SeededGenerator.run(rounds: 3000) { random in
            let bytes = random.mutated(Self.texts.map(Self.head), words: Self.words)
            // Both stop after the first head, which the gateway reads alone.
            guard let end = Self.end(of: bytes) else { return false }
            let head = Array(bytes[..<end])
            let outcome = head.withUnsafeBytes { scanner.scan($0, requestMethod: .other) }
            var parser = ResponseParser()
            parser.begin(isOfHead: false)
            let step = feed(&parser, head, in: head.count)
            switch outcome {
            case .incomplete: return false
            case .refused: #expect(step == .malformed, "\(String(decoding: head, as: UTF8.self).debugDescription)")
            case .head:
                let given = scanner.head
                guard given.status >= 200 || given.status == 101 else { return step == .needMore(consumed: head.count) }
                let expected: ResponseParser.Step =
                    given.status == 101
                    ? .malformed
                    : given.framing == .none || given.framing == .counted(0) ? .complete(consumed: head.count) : .needMore(consumed: head.count)
                #expect(step == expected, "\(String(decoding: head, as: UTF8.self).debugDescription)")
                if given.status != 101 { #expect(parser.status == given.status && parser.keepsConnection == given.keepAlive) }
                return true
            }
            return false
        }
        #expect(share > 0.2)
    }

    private static func head(_ text: [UInt8]) -> [UInt8] { end(of: text).map { Array(text[..<$0]) } ?? text }

    private static func end(of bytes: [UInt8]) -> Int? {
        guard bytes.count >= 4 else { return nil }
        return (0...(bytes.count - 4)).first { Array(bytes[$0..<($0 + 4)]) == [13, 10, 13, 10] }.map { $0 + 4 }
    }
}
