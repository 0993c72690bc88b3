// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Histogram

/// What one loop has measured; those of several are added up at the end. A value, confined to its loop while it grows.
package struct Recorder: Sendable {
    /// Longer times count as this, in nanoseconds: an hour, which no timeout reaches.
    static let greatestTime: UInt64 = 3_600_000_000_000

    /// A second of the time line, by the intended send time.
    package struct Second: Sendable {
        var requests = 0
        var errors = 0
        /// In microseconds, of two digits: a small one, as there are many.
        var latency = Histogram<UInt32>(numberOfSignificantValueDigits: .two)
    }

    /// Nanoseconds, three digits.
    private(set) var latency = Histogram<UInt64>(highestTrackableValue: greatestTime, numberOfSignificantValueDigits: .three)
    private(set) var lateness = Histogram<UInt64>(highestTrackableValue: greatestTime, numberOfSignificantValueDigits: .three)
    /// Their exact sums in nanoseconds, for the means.
    private(set) var latencySum: UInt64 = 0
    private(set) var latenessSum: UInt64 = 0
    private(set) var ok = 0
    /// Answers that came before the time was over.
    private(set) var answersInTime = 0
    /// By status.
    private(set) var refusals = [Int](repeating: 0, count: 600)
    /// Failures of requests that never left.
    private(set) var unsent = 0
    /// Requests that found all connections there may be in use, and none of them free.
    private(set) var blocked = 0
    /// By `FailureKind`.
    private(set) var failures = [Int](repeating: 0, count: FailureKind.allCases.count)
    private(set) var seconds: [Second] = []
    private let start: Int64
    private(set) var end: Int64

    /// - Parameters:
    ///   - start: requests that were intended before it are warm-up, and not recorded.
    ///   - end: of the schedule.
    init(start: Int64, end: Int64) {
        self.start = start
        self.end = end
        seconds = Array(repeating: Second(), count: Self.count(from: start, to: end))
    }

    private static func count(from start: Int64, to end: Int64) -> Int { max(1, Int((end - start + 999_999_999) / 1_000_000_000)) }

    /// The schedule ends earlier: no request is intended at that time or later.
    mutating func end(at time: Int64) {
        end = time
        seconds.removeLast(max(0, seconds.count - Self.count(from: start, to: time)))
    }

    var errors: Int { refusals.reduce(0, +) + failures.reduce(0, +) }
    var requests: Int { ok + errors }

    mutating func answer(_ status: Int, intended: Int64, at now: Int64) {
        guard intended >= start else { return }
        let time = min(UInt64(max(0, now - intended)), Self.greatestTime)
        latency.record(time)
        latencySum &+= time
        if now <= end { answersInTime += 1 }
        let isGood = status < 400
        if isGood { ok += 1 } else { refusals[status] += 1 }
        let second = second(intended)
        seconds[second].requests += 1
        if !isGood { seconds[second].errors += 1 }
        seconds[second].latency.record(time / 1000)
    }

    /// - Parameter isSent: whether the request had left.
    mutating func fail(_ kind: FailureKind, intended: Int64, isSent: Bool) {
        guard intended >= start else { return }
        if !isSent { unsent += 1 }
        failures[kind.rawValue] += 1
        let second = second(intended)
        seconds[second].requests += 1
        seconds[second].errors += 1
    }

    mutating func block(intended: Int64) {
        if intended >= start { blocked += 1 }
    }

    mutating func late(by time: Int64, intended: Int64) {
        guard intended >= start else { return }
        let time = min(UInt64(max(0, time)), Self.greatestTime)
        lateness.record(time)
        latenessSum &+= time
    }

    private func second(_ intended: Int64) -> Int { min(Int((intended - start) / 1_000_000_000), seconds.count - 1) }

    /// - Parameter other: of the same times.
    mutating func add(_ other: Recorder) {
        latency.add(other.latency)
        lateness.add(other.lateness)
        latencySum += other.latencySum
        latenessSum += other.latenessSum
        ok += other.ok
        answersInTime += other.answersInTime
        unsent += other.unsent
        blocked += other.blocked
        for index in refusals.indices { refusals[index] += other.refusals[index] }
        for index in failures.indices { failures[index] += other.failures[index] }
        for index in seconds.indices {
            seconds[index].requests += other.seconds[index].requests
            seconds[index].errors += other.seconds[index].errors
            seconds[index].latency.add(other.seconds[index].latency)
        }
    }

    /// By kind, only those that occurred, in the order of their names.
    var errorCounts: [(name: String, count: Int)] {
        let statuses = refusals.enumerated().filter { $0.element > 0 }.map { (name: "status_\($0.offset)", count: $0.element) }
        let kinds = FailureKind.allCases.map { (name: $0.name, count: failures[$0.rawValue]) }.filter { $0.count > 0 }
        return (statuses + kinds).sorted { $0.name < $1.name }
    }
}
