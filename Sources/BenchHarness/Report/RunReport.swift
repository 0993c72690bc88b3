// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc
import Histogram
import Tokens

/// What `run` reports (contract §10).
package struct RunReport: Sendable {
    package struct Second: Sendable, Equatable {
        package var number: Int
        package var requests: Int
        package var errors: Int
        /// Milliseconds; nil where no answer came.
        package var p50: Double?
        package var p99: Double?
    }

    package let url: String
    package let pace: LoadPlan.Pace
    package let durationSeconds: Double
    package let requests: Int
    package let ok: Int
    /// Of all requests, those that never left.
    package let unsent: Int
    /// Requests that found all connections there may be in use.
    package let blocked: Int
    package let requestsPerSecond: Double
    package let errors: [(name: String, count: Int)]
    package let latency: Summary?
    package let lateness: Summary?
    package let process: (id: pid_t, usage: ProcessTree.Usage)?
    package let timeline: [Second]
    /// For the plots: `1 / (1 - p)` and milliseconds.
    let latencyCurve: [(x: Double, y: Double)]
    let latenessCurve: [(x: Double, y: Double)]

    package init(_ result: LoadResult, plan: LoadPlan, process: ProcessTree?) {
        let recorder = result.recorder
        url = plan.dialer.target.shown
        pace = plan.pace
        durationSeconds = Double(result.duration) / 1e9
        requests = recorder.requests
        ok = recorder.ok
        unsent = recorder.unsent
        blocked = recorder.blocked
        requestsPerSecond = Double(recorder.answersInTime) / durationSeconds
        errors = recorder.errorCounts
        let latencies = Ranking(recorder.latency), latenesses = Ranking(recorder.lateness)
        latency = Summary(recorder.latency, latencies, sum: recorder.latencySum)
        lateness = Summary(recorder.lateness, latenesses, sum: recorder.latenessSum)
        self.process = process.flatMap { process in result.usage.map { (process.root, $0) } }
        timeline = recorder.seconds.enumerated().map { number, second in
            let isKnown = second.latency.totalCount > 0
            return Second(
                number: number, requests: second.requests, errors: second.errors,
                p50: isKnown ? Double(second.latency.valueAtPercentile(50)) / 1e3 : nil,
                p99: isKnown ? Double(second.latency.valueAtPercentile(99)) / 1e3 : nil)
        }
        latencyCurve = Self.curve(recorder.latency, latencies)
        latenessCurve = Self.curve(recorder.lateness, latenesses)
    }

    /// Sixteen points for each factor of ten, up to where a single value counts.
    private static func curve(_ histogram: Histogram<UInt64>, _ ranking: Ranking) -> [(x: Double, y: Double)] {
        guard histogram.totalCount > 0 else { return [] }
        var points: [(x: Double, y: Double)] = []
        var x = 1.0
        while x < Double(histogram.totalCount) {
            points.append((x, Double(ranking.value(at: 100 * (1 - 1 / x))) / 1e6))
            x *= 1.154_781_984_689_458
        }
        points.append((Double(histogram.totalCount), Double(histogram.maxRecorded) / 1e6))
        return points
    }

    /// One JSON object, in UTF-8, with a line end.
    package var json: [UInt8] {
        JSONWriter.object { writer in
            writer.member("url", url)
            switch pace {
            case .rate(let rate): writer.member("rate", rounded: rate)
            case .connections(let count): writer.member("connections", count)
            }
            writer.member("duration_s", rounded: durationSeconds)
            writer.member("requests", requests)
            writer.member("ok", ok)
            writer.member("requests_per_second", rounded: requestsPerSecond, digits: 2)
            // More than the contract has, and only where it occurred.
            if unsent > 0 { writer.member("unsent", unsent) }
            if blocked > 0 { writer.member("blocked", blocked) }
            writer.name("errors")
            writer.beginObject()
            for error in errors { writer.member(error.name, error.count) }
            writer.endObject()
            writer.member("latency_ms", latency)
            writer.member("lateness_ms", lateness)
            if let process {
                writer.name("process")
                writer.beginObject()
                writer.member("pid", process.id)
                writer.member("cpu_s", rounded: process.usage.cpuSeconds)
                writer.member("cpu_us_per_request", rounded: cpuMicroseconds)
                writer.member("rss_bytes", process.usage.residentBytes)
                writer.endObject()
            }
            writer.name("timeline")
            writer.beginArray()
            for second in timeline {
                writer.beginObject()
                writer.member("t_s", second.number)
                writer.member("requests", second.requests)
                writer.member("errors", second.errors)
                writer.member("p50_ms", rounded: second.p50)
                writer.member("p99_ms", rounded: second.p99)
                writer.endObject()
            }
            writer.endArray()
        } + [UInt8(ascii: "\n")]
    }

    /// Of the process that was watched, for each request that left; nil where there were none.
    var cpuMicroseconds: Double? {
        guard let process, requests > unsent else { return nil }
        return process.usage.cpuSeconds * 1e6 / Double(requests - unsent)
    }
}
