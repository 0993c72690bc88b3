// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation

/// SplitMix64: small, fast, and the same everywhere. What fuzz tests are driven by.
///
/// `PORTCULLIS_FUZZ_SECONDS` makes each fuzz test run so long, from another seed (`PORTCULLIS_FUZZ_SEED`) if that is wanted.
package struct SeededGenerator: RandomNumberGenerator {
    private static let environment = ProcessInfo.processInfo.environment
    /// How long each fuzz test is to run; nil: as many rounds as it thinks right.
    package static let seconds = environment["PORTCULLIS_FUZZ_SECONDS"].flatMap(Double.init)
    /// Nil: not given.
    package static let seed = environment["PORTCULLIS_FUZZ_SEED"].flatMap(UInt64.init)

    private var state: UInt64

    package init(seed: UInt64) {
        state = seed
    }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// Calls `body` `rounds` times with one generator, or as long as the environment says; the same values in every run, but for a seed
    /// that is given. Returns the share of calls that answered true: that what was made was good enough to be taken. If hardly anything
    /// is, the test tests nothing.
    @discardableResult
    package static func run(rounds: Int, _ body: (inout SeededGenerator) -> Bool) -> Double {
        var random = SeededGenerator(seed: seed ?? 1)
        var taken = 0
        guard let seconds else {
            for _ in 0..<rounds where body(&random) { taken += 1 }
            return Double(taken) / Double(rounds)
        }
        let clock = ContinuousClock()
        let end = clock.now + .seconds(seconds)
        var made = 0
        while clock.now < end {
            for _ in 0..<100 where body(&random) { taken += 1 }
            made += 100
        }
        return Double(taken) / Double(max(made, 1))
    }

    /// One of the texts, changed in a few places: bytes, words, and stretches of the other texts.
    package mutating func mutated(_ texts: [[UInt8]], words: [[UInt8]]) -> [UInt8] {
        var bytes = texts.randomElement(using: &self) ?? []
        for _ in 0..<Int.random(in: 0...4, using: &self) {
            let place = Int.random(in: 0...bytes.count, using: &self)
            let end = min(bytes.count, place + Int.random(in: 0...12, using: &self))
            switch Int.random(in: 0..<8, using: &self) {
            case 0 where place < bytes.count: bytes[place] = UInt8.random(in: 0...255, using: &self)
            case 1 where place < bytes.count: bytes[place] ^= 1 << UInt8.random(in: 0...7, using: &self)
            case 2: bytes.removeSubrange(place..<end)
            case 3: bytes.insert(contentsOf: bytes[place..<end], at: place)
            case 4:
                let other = texts.randomElement(using: &self) ?? []
                let from = Int.random(in: 0...other.count, using: &self)
                bytes.insert(contentsOf: other[from..<min(other.count, from + Int.random(in: 0...40, using: &self))], at: place)
            case 5: bytes.replaceSubrange(place..<end, with: words.randomElement(using: &self) ?? [])
            default: bytes.insert(contentsOf: words.randomElement(using: &self) ?? [], at: place)
            }
        }
        return bytes
    }

    /// `choices` must not be empty.
    package mutating func pick<Choice>(_ choices: [Choice]) -> Choice { choices[Int.random(in: 0..<choices.count, using: &self)] }
}
