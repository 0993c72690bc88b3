// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Histogram

/// The values of a histogram in order. A curve needs a hundred percentiles, and for each the histogram itself looks at all of its buckets, which
/// are tens of thousands: a tenth of a second of CPU time, in the harness's own figures.
struct Ranking {
    private var steps: [(value: UInt64, upTo: UInt64)] = []
    private let count: UInt64
    private let least: UInt64

    init(_ histogram: Histogram<UInt64>) {
        count = histogram.totalCount
        least = histogram.min
        for step in histogram.recordedValues() {
            // The upper end of a bucket may be above all that was recorded.
            steps.append((min(step.value, histogram.maxRecorded), step.totalCountToThisValue))
        }
    }

    /// As the histogram's `valueAtPercentile`: the greatest value of the bucket that so many are not above; 0 where there are none.
    func value(at percentile: Double) -> UInt64 {
        guard percentile > 0 else { return least }
        // One unit in the last place less, so that a percentile that falls on a value does not become the next one.
        let place = max(1, UInt64((min(percentile.nextDown, 100) * Double(count) / 100).rounded(.up)))
        var low = 0, high = steps.count
        while low < high {
            let middle = (low + high) / 2
            if steps[middle].upTo < place { low = middle + 1 } else { high = middle }
        }
        return low < steps.count ? steps[low].value : steps.last?.value ?? 0
    }
}
