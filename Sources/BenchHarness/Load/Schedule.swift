// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// When the requests of an open loop are due: one after the other at even distances, whatever has become of those before. What should have been
/// sent while the target was silent is sent as late as that made it, and its latency says so; nothing is left out.
///
/// Several loops share one schedule: each has every n-th request.
struct Schedule {
    let start: Int64
    private let interval: Double
    private let first: Int
    private let stride: Int

    /// - Parameters:
    ///   - start: when the first request of all is due, in nanoseconds of `BenchClock`.
    ///   - rate: requests a second, of all loops.
    ///   - loop: the number of this one, from 0.
    init(start: Int64, rate: Double, loop: Int = 0, of loops: Int = 1) {
        self.start = start
        interval = 1e9 / rate
        first = loop
        stride = loops
    }

    /// When this loop's n-th request is due, counted from 0. Calculated from the start each time, so that no error adds up.
    func time(_ number: Int) -> Int64 { start + Int64((Double(position(number)) * interval).rounded()) }

    /// Its place among the requests of all loops.
    func position(_ number: Int) -> Int { first + number * stride }
}

/// Which request of the mix is next: drawn by weight from a sequence that is the same in every run. It has no period that could fall in with the
/// rotation of the tokens, and always send the same request with the same token.
struct Mix {
    private let table: [Int]
    private var state: UInt64

    /// - Parameters:
    ///   - weights: of each request; at least one, all above 0.
    ///   - seed: another one for each loop.
    init(weights: [Int], seed: Int) {
        table = weights.enumerated().flatMap { Array(repeating: $0.offset, count: $0.element) }
        state = UInt64(bitPattern: Int64(seed))
    }

    mutating func next() -> Int {
        guard table.count > 1 else { return table[0] }
        // SplitMix64.
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        mixed ^= mixed >> 31
        return table[Int(mixed.multipliedFullWidth(by: UInt64(table.count)).high)]
    }
}
