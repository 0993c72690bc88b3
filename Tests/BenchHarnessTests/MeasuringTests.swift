// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import TestSupport
import Testing

@testable import BenchHarness

@Suite("What is made of measured times")
struct MeasuringTests {
    private let start: Int64 = 1_000_000_000_000

    private func recorder(seconds: Int64 = 3) -> Recorder { Recorder(start: start, end: start + seconds * 1_000_000_000) }

    @Test("percentiles of known times are those times, to three digits, and least, mean and greatest exactly")
    func percentiles() throws {
        var recorder = recorder()
        for time in 1...Int64(100_000) { recorder.answer(200, intended: start, at: start + time * 1000) }
        let summary = try #require(Summary(recorder.latency, Ranking(recorder.latency), sum: recorder.latencySum))
        #expect(summary.min == 0.001 && summary.max == 100 && abs(summary.mean - 50.0005) < 1e-9)
        for (value, expected) in zip(summary.values, [50, 90, 99, 99.9, 99.99]) { #expect(abs(value - expected) <= expected / 1000) }
    }

    @Test("percentiles are those of the histogram, for few values and for many", arguments: [1, 2, 3, 10, 1000, 20_000])
    func ranking(count: Int) {
        var generator = SeededGenerator(seed: UInt64(count))
        var recorder = recorder()
        for _ in 0..<count {
            let time = Int64.random(in: 0...(1 << Int64.random(in: 0...40, using: &generator)), using: &generator)
            recorder.answer(200, intended: start, at: start + time)
        }
        let ranking = Ranking(recorder.latency)
        for percentile in [0, 1e-9, 25, 50, 90, 99, 99.9, 99.99, 99.999_999, 100] + (1...300).map({ Double($0) / 3.01 }) {
            #expect(ranking.value(at: percentile) == recorder.latency.valueAtPercentile(percentile), "\(percentile)")
        }
        #expect(Ranking(self.recorder().latency).value(at: 50) == 0)
    }

    @Test("what was to be sent before the measuring began is not in it")
    func warmup() {
        var recorder = recorder()
        recorder.answer(200, intended: start - 1, at: start + 5_000_000)
        recorder.fail(.timeout, intended: start - 1, isSent: false)
        recorder.block(intended: start - 1)
        recorder.late(by: 5, intended: start - 1)
        #expect(
            recorder.requests == 0 && recorder.unsent == 0 && recorder.blocked == 0 && recorder.latency.totalCount == 0
                && recorder.lateness.totalCount == 0)
    }

    @Test("2xx and 3xx are good, all others are errors by their status, and what got no answer by its kind")
    func kinds() {
        var recorder = recorder()
        for status in [200, 204, 302, 404, 503, 503] { recorder.answer(status, intended: start, at: start + 1000) }
        for kind in [FailureKind.reset, .timeout, .timeout] { recorder.fail(kind, intended: start, isSent: kind == .reset) }
        #expect(recorder.requests == 9 && recorder.ok == 3 && recorder.latency.totalCount == 6 && recorder.unsent == 2)
        #expect(recorder.errorCounts.map(\.name) == ["reset", "status_404", "status_503", "timeout"])
        #expect(recorder.errorCounts.map(\.count) == [1, 1, 2, 2])
    }

    @Test("a request counts in the second in which it should have been sent, however late its answer came")
    func timeline() {
        var recorder = recorder()
        recorder.answer(200, intended: start + 100, at: start + 2_500_000_000)
        recorder.answer(500, intended: start + 1_999_999_999, at: start + 9_000_000_000)
        recorder.fail(.reset, intended: start + 2_000_000_000, isSent: true)
        #expect(recorder.seconds.map(\.requests) == [1, 1, 1] && recorder.seconds.map(\.errors) == [0, 1, 1])
        #expect(abs(Double(recorder.seconds[0].latency.valueAtPercentile(99)) / 2_500_000 - 1) < 0.01)
        // The second answer came when the time was over.
        #expect(recorder.answersInTime == 1)
    }

    @Test("what several loops have measured adds up")
    func sums() {
        var one = recorder(), other = recorder(), both = recorder()
        for time in 1...Int64(1000) {
            let intended = start + time * 2_000_000
            for index in [0, 1] where time % 2 == index {
                index == 0 ? one.answer(200, intended: intended, at: intended + time) : other.answer(404, intended: intended, at: intended + time)
            }
            both.answer(time % 2 == 0 ? 200 : 404, intended: intended, at: intended + time)
            both.late(by: time, intended: intended)
            one.late(by: time, intended: intended)
        }
        one.add(other)
        #expect(one.latency == both.latency && one.lateness == both.lateness && one.latencySum == both.latencySum)
        #expect(one.ok == both.ok && one.errorCounts.map(\.count) == both.errorCounts.map(\.count))
        #expect(one.seconds.map(\.requests) == both.seconds.map(\.requests))
    }

    @Test("a summary of few times has each percentile among them, negative ones too, in order")
    func fewTimes() throws {
        let summary = try #require(Summary([3, -2, 1]))
        #expect(summary == Summary([1, 3, -2]))
        #expect(summary.min == -2 && summary.max == 3 && summary.values == [1, 3, 3, 3, 3])
        #expect(Summary([]) == nil)
        #expect(Summary.rank(99, 1000) == 989 && Summary.rank(50, 2) == 0 && Summary.rank(99.99, 3) == 2)
    }

    @Test(
        "numbers are written with as many digits as were asked for, and no zeros behind them",
        arguments: [
            (0, "0"), (1, "1"), (0.05, "0.05"), (-1.23456, "-1.2346"), (12.5, "12.5"), (-0.00001, "0"), (99999.99995, "100000"), (1e20, "1e+20"),
        ])
    func numbers(number: Double, text: String) {
        #expect(decimalText(number, digits: 4) == text)
    }

    @Test("CPU time and memory of a process are those of all that descend from it, ended ones too")
    func processTree() async throws {
        let folder = try temporaryFolder("tree")
        defer { try? FileManager.default.removeItem(atPath: folder) }
        // The work is done by a grandchild that ends, and by one that lives.
        let work = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"
        let pause = "until test -e \(folder)/go; do sleep 0.01; done"
        let process = try ChildProcess(
            "/bin/sh", ["-c", "sh -c '\(work)'; echo half; \(pause); sh -c '\(work); echo done; exec tail --pid=$PPID -f /dev/null'; true"],
            output: "\(folder)/out")
        defer { process.kill() }
        let tree = ProcessTree(root: process.identifier)
        func said(_ word: String) throws -> Bool { try String(contentsOfFile: "\(folder)/out", encoding: .utf8).contains(word) }
        try await eventually("the first half", within: .seconds(60)) { try said("half") }
        let half = try #require(tree.usage())
        #expect(half.cpuSeconds > 0 && half.residentBytes > 100_000)
        try "".write(toFile: "\(folder)/go", atomically: true, encoding: .utf8)
        try await eventually("the work is done", within: .seconds(60)) { try said("done") }
        let all = try #require(tree.usage())
        #expect(all.cpuSeconds > half.cpuSeconds)
    }

    @Test("a process that is not there has no figures")
    func noProcess() throws {
        let process = try ChildProcess("/bin/true", [], output: "/dev/null")
        process.kill()
        #expect(ProcessTree(root: process.identifier).usage() == nil)
        #expect(ProcessTree(root: getpid()).usage() != nil)
    }
}
