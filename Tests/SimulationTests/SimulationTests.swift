// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import Testing

/// The machines of many gateways in a world that is made up from a seed.
///
/// `PORTCULLIS_SEEDS` says how many seeds (default 10,000), `PORTCULLIS_SEED` replays one. `PORTCULLIS_MUTANT_SEEDS` looks for so
/// many seeds also for what only a rare schedule shows; `Tests/Model` shows each.
@Suite("Simulation of a fleet")
struct SimulationTests {
    private static let environment = ProcessInfo.processInfo.environment
    private static let seeds = environment["PORTCULLIS_SEEDS"].flatMap(UInt64.init) ?? 10_000
    private static let only = environment["PORTCULLIS_SEED"].flatMap(UInt64.init)
    /// So many run at once.
    private static let strands: UInt64 = 2

    @Test("whatever goes wrong, no session acts after its logout was answered, and nobody is told a logout that was none")
    func promise() async {
        if let only = Self.only {
            let broken = Schedule(seed: only, isTold: true).run()
            #expect(broken == nil, "seed \(only)")
            return
        }
        let broken = await withTaskGroup(of: [String].self) { group in
            for strand in 0..<Self.strands {
                group.addTask {
                    var broken: [String] = []
                    for seed in stride(from: strand, to: Self.seeds, by: Int(Self.strands)) where broken.count < 3 {
                        if let what = Schedule(seed: seed).run() { broken.append("PORTCULLIS_SEED=\(seed): \(what)") }
                    }
                    return broken
                }
            }
            return await group.reduce(into: []) { $0 += $1 }
        }
        #expect(broken.isEmpty, "\(broken.joined(separator: "\n"))")
    }

    /// Seeds in which a rule that is broken on purpose has to show.
    private static let mutantSeeds = environment["PORTCULLIS_MUTANT_SEEDS"].flatMap(Int.init)

    @Test("a rule that is broken on purpose is found", arguments: mutantSeeds == nil ? Mutant.common : Mutant.allCases)
    func mutants(_ mutant: Mutant) {
        let found = (0..<(Self.mutantSeeds ?? 1000)).lazy.map { UInt64($0) }.first { Schedule(seed: $0, mutant: mutant).run() != nil }
        #expect(found != nil, "\(mutant)")
        if let found { print("Simulation: without \(mutant) seed \(found) breaks the promise") }
    }
}
