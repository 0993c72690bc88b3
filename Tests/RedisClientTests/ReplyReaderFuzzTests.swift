// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport
import Testing

@testable import RedisClient

/// Bytes that could come from anything that is no Redis. `PORTCULLIS_FUZZ_SECONDS` says for how long (default 1), `PORTCULLIS_FUZZ_SEED` from where.
///
/// What must hold for all bytes: the process lives; hiredis never sees what it does not understand (it reports no error of its own, and finds as many
/// replies as the guard has seen); and how the bytes are cut changes nothing.
@Suite("Fuzz: replies of Redis")
struct ReplyReaderFuzzTests {
    /// Inputs that once broke one of these rules, or that broke others' readers (CVE-2021-32765).
    static let replayed: [String] = [
        "*2147483647\r\n", "*4294967297\r\n", "*-2\r\n", "$-5\r\n", "*1073741824\r\n:1\r\n", "*0\r\n", "*1\r\n*0\r\n", "*2\r\n*-1\r\n$-1\r\n",
        ":-9223372036854775808\r\n", ":9223372036854775808\r\n", "*7\r\n*7\r\n*7\r\n*7\r\n*7\r\n*7\r\n*7\r\n*7\r\n", "+\r\n-\r\n$0\r\n\r\n",
    ]

    @Test("what was found once stays found", arguments: replayed)
    func replay(_ input: String) {
        check(Array(input.utf8), pieces: 1)
        check(Array(input.utf8), pieces: 3)
    }

    @Test("no bytes break the reader, or make it disagree with its guard")
    func fuzz() {
        let seconds = SeededGenerator.seconds ?? 1
        let seed = SeededGenerator.seed ?? UInt64.random(in: .min ... .max)
        let deadline = ContinuousClock.now + .seconds(seconds)
        var generator = SeededGenerator(seed: seed)
        var inputs = 0
        while ContinuousClock.now < deadline {
            let input = Self.input(&generator)
            guard check(input, pieces: Int.random(in: 1...9, using: &generator)) else {
                Issue.record("seed \(seed), input \(inputs): \(String(reflecting: String(decoding: input, as: UTF8.self)))")
                return
            }
            inputs += 1
        }
        print("ReplyReaderFuzz: \(inputs) inputs in \(seconds) s, seed \(seed)")
    }

    @discardableResult
    private func check(_ input: [UInt8], pieces: Int) -> Bool {
        var limits = RedisLimits()
        limits.replyBytes = 4096
        limits.replyElements = 256
        limits.lineBytes = 64
        let whole = outcome(input, pieces: .max, limits)
        let cut = outcome(input, pieces: pieces, limits)
        // Cut bytes give what stands before the violation; in one piece the violation is found before anything is read.
        let agree = whole.problem == nil ? cut == whole : cut.problem == whole.problem
        #expect(agree, "\(whole) \(cut)")
        #expect(whole.problem?.isOurs ?? true, "hiredis was given what it does not understand: \(whole)")
        #expect(whole.problem != nil || whole.replies.count == whole.admitted)
        return agree && (whole.problem?.isOurs ?? true) && (whole.problem != nil || whole.replies.count == whole.admitted)
    }

    private struct Outcome: Equatable {
        var replies: [RedisReply] = []
        var admitted = 0
        var problem: String?
    }

    private func outcome(_ input: [UInt8], pieces: Int, _ limits: RedisLimits) -> Outcome {
        var reader = ReplyReader(limits: limits)
        var outcome = Outcome()
        var rest = input[...]
        do throws(ReplyReader.Problem) {
            while !rest.isEmpty {
                let piece = Array(rest.prefix(pieces))
                rest = rest.dropFirst(pieces)
                try feed(&reader, piece)
                while let reply = try reader.next() { outcome.replies.append(reply) }
            }
        } catch {
            outcome.problem = error.reason
        }
        outcome.admitted = reader.admitted
        return outcome
    }

    // MARK: Inputs

    /// Mostly well-formed replies with some faults; sometimes noise.
    private static func input(_ generator: inout SeededGenerator) -> [UInt8] {
        var bytes: [UInt8] = []
        for _ in 0...Int.random(in: 0...4, using: &generator) { append(&bytes, depth: 0, &generator) }
        for _ in 0..<generator.pick([0, 0, 1, 1, 2, 5]) { mutate(&bytes, &generator) }
        return bytes
    }

    private static func append(_ bytes: inout [UInt8], depth: Int, _ generator: inout SeededGenerator) {
        switch Int.random(in: 0..<12, using: &generator) {
        case 0...2: bytes += Array(":\(number(&generator))\r\n".utf8)
        case 3...4:
            let content = noise(&generator, upTo: 40)
            bytes += Array("$\(content.count)\r\n".utf8) + content + [0x0D, 0x0A]
        case 5: bytes += Array("$-1\r\n".utf8)
        case 6:
            bytes += Array(generator.pick(["+OK\r\n", "+\r\n", "-ERR no\r\n", "-LOADING\r\n", "*-1\r\n", "*0\r\n"]).utf8)
        case 7: bytes += Array("*\(number(&generator))\r\n".utf8)
        case 8: bytes += Array("$\(number(&generator))\r\n".utf8)
        default:
            let count = depth > 8 ? 0 : Int.random(in: 0...3, using: &generator)
            bytes += Array("*\(count)\r\n".utf8)
            for _ in 0..<count { append(&bytes, depth: depth + 1, &generator) }
        }
    }

    private static func number(_ generator: inout SeededGenerator) -> String {
        let interesting = [
            "0", "1", "-1", "-2", "7", "8", "255", "256", "257", "4095", "4096", "2147483647", "2147483648", "4294967296", "-2147483648",
            "9223372036854775807", "-9223372036854775808", "9223372036854775808", "18446744073709551616", "1152921504606846976", "", "-", "+1", "00",
            "-0", "1 ", "0x1",
        ]
        if Bool.random(using: &generator) { return generator.pick(interesting) }
        return String(Int64.random(in: .min ... .max, using: &generator) >> Int64.random(in: 0..<64, using: &generator))
    }

    private static func noise(_ generator: inout SeededGenerator, upTo count: Int) -> [UInt8] {
        let alphabet: [UInt8] = Array("\r\n*$:+-0123456789ab\0".utf8) + [0xFF]
        return (0..<Int.random(in: 0...count, using: &generator)).map { _ in generator.pick(alphabet) }
    }

    private static func mutate(_ bytes: inout [UInt8], _ generator: inout SeededGenerator) {
        guard !bytes.isEmpty else { return }
        let index = Int.random(in: 0..<bytes.count, using: &generator)
        switch Int.random(in: 0..<6, using: &generator) {
        case 0: bytes[index] = UInt8.random(in: .min ... .max, using: &generator)
        case 1: bytes.remove(at: index)
        case 2: bytes.insert(contentsOf: noise(&generator, upTo: 6), at: index)
        case 3: bytes.removeSubrange(index...)
        case 4: bytes.insert(contentsOf: bytes[index...], at: Int.random(in: 0...bytes.count, using: &generator))
        default: bytes[index] = generator.pick(Array("\r\n*$:+-019".utf8))
        }
    }
}

extension String {
    /// Whether this reason is one of the guard's, and not hiredis'.
    fileprivate var isOurs: Bool { RESPGuard.Violation(rawValue: self) != nil }
}
