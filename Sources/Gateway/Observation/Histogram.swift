// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// Durations in fixed buckets: from what a memory look-up takes to what nobody waits for.
struct Histogram: Sendable {
    /// Upper bounds in nanoseconds, and as they are labelled, in seconds.
    private static let bounds: InlineArray<16, Int64> = [
        100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 25_000_000, 50_000_000, 100_000_000, 250_000_000, 500_000_000,
        1_000_000_000, 2_500_000_000, 5_000_000_000, 10_000_000_000,
    ]
    static let labels = [
        "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10",
    ]

    /// Not added up.
    private var buckets: InlineArray<16, UInt64> = .init(repeating: 0)
    private(set) var count: UInt64 = 0
    /// In nanoseconds.
    private(set) var sum: UInt64 = 0

    mutating func add(_ duration: TimeAmount) {
        let nanoseconds = max(0, duration.nanoseconds)
        count &+= 1
        sum &+= UInt64(nanoseconds)
        var index = 0
        while index < 16, nanoseconds > Self.bounds[index] { index &+= 1 }
        if index < 16 { buckets[index] &+= 1 }
    }

    mutating func add(_ other: Histogram) {
        count += other.count
        sum += other.sum
        for index in 0..<16 { buckets[index] += other.buckets[index] }
    }

    /// How many took at most the bound with this index.
    func count(upTo bound: Int) -> UInt64 {
        var sum: UInt64 = 0
        for index in 0...bound { sum += buckets[index] }
        return sum
    }

    /// The sum in seconds, as Prometheus reads it.
    var sumText: String {
        let fraction = String(sum % 1_000_000_000)
        return "\(sum / 1_000_000_000)." + String(repeating: "0", count: 9 - fraction.count) + fraction
    }
}
