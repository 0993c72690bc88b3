// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport
import Testing

@testable import Settings

/// Feeds the reading of configurations with what never was one. What such a run has found is added to `SettingsFuzzTexts.replayed`.
///
/// What must hold for all bytes: the process lives; there are settings or mistakes; every mistake stands in the file, in the order of the lines,
/// in one line of its own, and shows nothing of a value.
@Suite("Fuzzing the configuration", .serialized)
struct SettingsFuzzTests {
    private let folder: ConfigurationFolder
    init() throws { folder = try ConfigurationFolder() }

    @Test("What was found once stays found")
    func replay() throws {
        for text in SettingsFuzzTexts.replayed { try check(text) }
        for text in SettingsFuzzTexts.good { try check(Array(text.utf8)) }
    }

    @Test("A bomb does not go off", .timeLimit(.minutes(1)), arguments: SettingsFuzzTexts.bombs.map(\.name))
    func bombs(_ name: String) throws {
        let text = try #require(SettingsFuzzTexts.bombs.first { $0.name == name }).text
        let clock = ContinuousClock()
        let start = clock.now
        try check(Array(text.utf8))
        // Generous: each takes well below a second on an idle machine without optimisation, a bomb that goes off takes for ever.
        #expect(clock.now - start < .seconds(20))
    }

    @Test("No change of a text breaks the reading, or makes it show what it has read")
    func mutations() throws {
        let texts = SettingsFuzzTexts.good.map { Array($0.utf8) } + SettingsFuzzTexts.replayed
        var problem: (any Error)?
        let understood = SeededGenerator.run(rounds: 4000) { random in
            // The good texts are the larger ones, and one in two.
            let from = Bool.random(using: &random) ? Array(texts.prefix(SettingsFuzzTexts.good.count)) : texts
            do {
                return try check(random.mutated(from, words: SettingsFuzzTexts.words)).problems.first?.key != "(file)"
            } catch {
                problem = error
                return false
            }
        }
        if let problem { throw problem }
        // The others are no YAML.
        #expect(understood > 0.1)
    }

    @Test("No tree of keys and values breaks the reading, or makes it show what it has read")
    func trees() throws {
        var problem: (any Error)?
        let understood = SeededGenerator.run(rounds: 2000) { random in
            do {
                let text = Self.tree(&random)
                return try check(Array(text.utf8)).problems.first?.key != "(file)"
            } catch {
                problem = error
                return false
            }
        }
        if let problem { throw problem }
        #expect(understood > 0.8)
    }

    // MARK: Making

    /// A configuration of known mappings whose members have values of all kinds, good or not.
    private static func tree(_ random: inout SeededGenerator) -> String {
        let section = random.pick(KeySection.all)
        let members = (0..<Int.random(in: 0...4, using: &random)).map { _ in
            let other = Int.random(in: 0..<6, using: &random) == 0 ? random.pick(KeySection.all) : section
            let key = random.pick(other.keys.map(\.name) + other.others)
            return "\(key): \(value(&random, depth: 0))"
        }
        let written = members.joined(separator: section.path.isEmpty ? "\n" : ", ")
        return section.template.replacing("▸", with: "").replacing("@", with: written)
    }

    private static func value(_ random: inout SeededGenerator, depth: Int) -> String {
        let scalars = [
            "c4n4ry", "\"c4n4ry\"", "5", "0", "-1", "5s", "0s", "99999999999999999999d", "1KiB", "true", "~", "", "\"\"", "\"127.0.0.1:1\"",
            "\"[::1]:80\"", "unix:c4n4ry",
            "https://c4n4ry/", "/c4n4ry", "X-C4n4ry", "\"${HOME}\"", "\"${\"", "none", "required", "HS256", "header", "a", "&a c4n4ry", "!!str 5",
            "\"\\u0007c4n4ry\"",
        ]
        switch Int.random(in: 0..<(depth > 3 ? 6 : 10), using: &random) {
        case 6, 7: return "[\((0..<Int.random(in: 0...3, using: &random)).map { _ in value(&random, depth: depth + 1) }.joined(separator: ", "))]"
        case 8, 9:
            let keys = KeySection.all.flatMap { $0.keys.map(\.name) + $0.others } + ["file", "env", "query", "\"\"", "a b", "é"]
            let members = (0..<Int.random(in: 0...3, using: &random)).map { _ in "\(random.pick(keys)): \(value(&random, depth: depth + 1))" }
            return "{\(members.joined(separator: ", "))}"
        default: return random.pick(scalars)
        }
    }

    // MARK: Checking

    @discardableResult
    private func check(_ bytes: [UInt8]) throws -> Reading {
        let reading = try folder.read(bytes)
        var faults: [String] = []
        if reading.problems.isEmpty, reading.loaded == nil { faults.append("neither settings nor a mistake") }
        if zip(reading.problems, reading.problems.dropFirst()).contains(where: { $1.place < $0.place }) {
            faults.append("not in the order of the lines")
        }
        let lengths = Self.lineLengths(bytes)
        for problem in reading.problems {
            if !(1...lengths.count).contains(problem.line) || !(1...(lengths[problem.line - 1] + 1)).contains(problem.column) {
                faults.append("outside of the file: \(problem.line):\(problem.column)")
            }
            // A mapping's key is shown, as it is the path; it cannot be taken for more than that.
            if problem.key.isEmpty || problem.key.contains(": ") || problem.message.isEmpty { faults.append("no path: \(problem.key)") }
            if problem.message.contains("c4n4ry") || problem.message.contains("C4n4ry") { faults.append("shows what was read: \(problem.message)") }
            if (problem.key + problem.message).unicodeScalars.contains(where: { $0.value < 0x20 || (0x7F...0x9F).contains($0.value) }) {
                faults.append("has control characters: \(problem.key) \(problem.message)")
            }
        }
        if !faults.isEmpty { Issue.record("\(faults.prefix(3)) of \(String(decoding: bytes.prefix(2000), as: UTF8.self).debugDescription)") }
        return reading
    }

    /// Characters of each line, as YAML 1.1 (§4.2) has lines. Bytes that are no UTF-8 count for one each, which is never too few.
    private static func lineLengths(_ bytes: [UInt8]) -> [Int] {
        var lengths = [0]
        var previous: Unicode.Scalar?
        for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
            switch scalar {
            case "\n" where previous == "\r": break
            case "\n", "\r", "\u{85}", "\u{2028}", "\u{2029}": lengths.append(0)
            default: lengths[lengths.count - 1] += 1
            }
            previous = scalar
        }
        return lengths
    }
}
