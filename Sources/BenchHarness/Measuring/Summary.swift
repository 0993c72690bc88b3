// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Histogram
import Tokens

/// The figures of a distribution, with the names of the reports (contract §10). In milliseconds.
package struct Summary: Sendable, Equatable {
    static let percentiles: [(name: String, value: Double)] = [("p50", 50), ("p90", 90), ("p99", 99), ("p99.9", 99.9), ("p99.99", 99.99)]

    package var min: Double
    package var mean: Double
    /// In the order of `percentiles`.
    package var values: [Double]
    package var max: Double

    /// Of nanoseconds; nil where there are none.
    ///
    /// - Parameters:
    ///   - ranking: of the histogram.
    ///   - sum: of what was recorded: the histogram's own mean is one of its buckets.
    init?(_ histogram: Histogram<UInt64>, _ ranking: Ranking, sum: UInt64) {
        guard histogram.totalCount > 0 else { return nil }
        min = Double(histogram.min) / 1e6
        max = Double(histogram.maxRecorded) / 1e6
        mean = Double(sum) / Double(histogram.totalCount) / 1e6
        values = Self.percentiles.map { Double(ranking.value(at: $0.value)) / 1e6 }
    }

    /// Of milliseconds, which may be negative: each percentile is the smallest that so many are not above. Nil where there are none.
    package init?(_ times: [Double]) {
        guard !times.isEmpty else { return nil }
        let sorted = times.sorted()
        min = sorted[0]
        max = sorted[sorted.count - 1]
        // The mean of equal values is their value, not something next to it.
        mean = Swift.min(max, Swift.max(min, sorted.reduce(0, +) / Double(sorted.count)))
        values = Self.percentiles.map { sorted[Self.rank($0.value, sorted.count)] }
    }

    /// The place of a percentile among so many values in order.
    static func rank(_ percentile: Double, _ count: Int) -> Int {
        Swift.max(0, Swift.min(count - 1, Int((percentile / 100 * Double(count)).rounded(.up)) - 1))
    }

    /// All figures in the order of the reports.
    var figures: [(name: String, value: Double)] {
        [("min", min), ("mean", mean)] + zip(Self.percentiles, values).map { ($0.name, $1) } + [("max", max)]
    }
}

extension JSONWriter {
    /// Nil is written as null, rounded to so many digits after the point.
    mutating func member(_ name: String, rounded number: Double?, digits: Int = 4) {
        self.name(name)
        if let number { raw(Array(decimalText(number, digits: digits).utf8)) } else { null() }
    }

    /// Null where nothing was measured.
    mutating func member(_ name: String, _ summary: Summary?) {
        self.name(name)
        guard let summary else { return null() }
        beginObject()
        for figure in summary.figures { member(figure.name, rounded: figure.value) }
        endObject()
    }
}

/// A number with at most so many digits after the point, and no zeros at the end of them.
func decimalText(_ number: Double, digits: Int) -> String {
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    let scaled = (number * scale).rounded()
    // Beyond what a Double holds exactly: its own spelling, which is JSON, too.
    guard scaled.magnitude < 9e15 else { return "\(number)" }
    let whole = Int64(scaled.magnitude)
    var text = String(whole / Int64(scale))
    var fraction = String(whole % Int64(scale))
    fraction = String(repeating: "0", count: digits - Swift.min(digits, fraction.count)) + fraction
    while fraction.hasSuffix("0") { fraction.removeLast() }
    if digits > 0, !fraction.isEmpty { text += "." + fraction }
    return scaled < 0 ? "-" + text : text
}
