// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import Testing

@testable import BenchHarness

@Suite("Reports")
struct ReportTests {
    private let start: Int64 = 1_000_000_000

    /// Two seconds of answers, one error, and one second without any.
    private func report(_ url: String = "http://127.0.0.1:1/a?access_token=secret", usage: ProcessTree.Usage? = nil, unsent: Int = 0) throws
        -> RunReport
    {
        let duration: Int64 = 3_000_000_000
        var recorder = Recorder(start: start, end: start + duration)
        for number in 0..<Int64(200) {
            let intended = start + number * 10_000_000
            recorder.late(by: 2000, intended: intended)
            recorder.answer(number == 7 ? 503 : 200, intended: intended, at: intended + 1_000_000 + number * 1000)
        }
        recorder.fail(.timeout, intended: start + 2_500_000_000, isSent: true)
        for _ in 0..<unsent { recorder.fail(.dropped, intended: start + 2_500_000_000, isSent: false) }
        let dialer = Dialer(
            target: try Target(url), address: try .init(ipAddress: "127.0.0.1", port: 1), tls: nil, streams: nil, connectTimeout: .seconds(1))
        let plan = LoadPlan(dialer: dialer, shapes: [RequestShape(target: "/")], pace: .rate(100), duration: duration)
        return RunReport(
            LoadResult(recorder: recorder, duration: duration, usage: usage), plan: plan, process: usage.map { _ in ProcessTree(root: 42) })
    }

    @Test("the JSON has the members of the contract, and figures in order")
    func json() throws {
        let bytes = try report(usage: .init(cpuSeconds: 0.402, residentBytes: 4096)).json
        let json = try #require(try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
        #expect(
            json.keys.sorted() == [
                "duration_s", "errors", "latency_ms", "lateness_ms", "ok", "process", "rate", "requests", "requests_per_second", "timeline", "url",
            ])
        #expect(json["rate"] as? Int == 100 && json["duration_s"] as? Int == 3 && json["requests"] as? Int == 201 && json["ok"] as? Int == 199)
        #expect(json["errors"] as? [String: Int] == ["status_503": 1, "timeout": 1])
        #expect((json["requests_per_second"] as? Double).map { abs($0 - 66.67) < 0.01 } == true)
        let latency = try #require(json["latency_ms"] as? [String: Double])
        let order = ["min", "p50", "p90", "p99", "p99.9", "p99.99", "max"].compactMap { latency[$0] }
        #expect(order.count == 7 && order == order.sorted() && latency["min"] == 1 && latency["max"] == 1.199 && latency["mean"] == 1.0995)
        let process = try #require(json["process"] as? [String: Double])
        #expect(process == ["pid": 42, "cpu_s": 0.402, "cpu_us_per_request": 2000, "rss_bytes": 4096])
        let timeline = try #require(json["timeline"] as? [[String: Any]])
        #expect(timeline.map { $0["requests"] as? Int } == [100, 100, 1] && timeline.map { $0["errors"] as? Int } == [1, 0, 1])
        #expect(timeline[2]["p50_ms"] is NSNull && timeline.map { $0["t_s"] as? Int } == [0, 1, 2])
        #expect(bytes.last == UInt8(ascii: "\n"))
    }

    @Test("what never left costs the process that is watched nothing, and is told")
    func unsent() throws {
        let report = try report(usage: .init(cpuSeconds: 0.402, residentBytes: 4096), unsent: 100)
        #expect(report.requests == 301 && report.unsent == 100 && report.cpuMicroseconds == 2000)
        #expect(String(decoding: report.json, as: UTF8.self).contains(#""unsent":100"#))
        #expect(String(decoding: report.page(command: ["bench"]), as: UTF8.self).contains("never sent"))
    }

    @Test("a report of a run without any answer has no latencies, and says so by null")
    func nothing() throws {
        var recorder = Recorder(start: start, end: start + 1)
        recorder.fail(.reset, intended: start, isSent: false)
        let dialer = try Dialer.to(1)
        let plan = LoadPlan(dialer: dialer, shapes: [RequestShape(target: "/")], pace: .connections(3), duration: 1)
        let report = RunReport(LoadResult(recorder: recorder, duration: 1, usage: nil), plan: plan, process: nil)
        let json = try #require(try JSONSerialization.jsonObject(with: Data(report.json)) as? [String: Any])
        #expect(json["latency_ms"] is NSNull && json["connections"] as? Int == 3 && json["process"] == nil && json["rate"] == nil)
        #expect(String(decoding: report.page(command: ["bench"]), as: UTF8.self).contains("</html>"))
    }

    @Test("the page is one file that loads nothing, with plots of all that was measured")
    func page() throws {
        let page = String(decoding: try report().page(command: ["portcullis-bench", "run"]), as: UTF8.self)
        #expect(page.components(separatedBy: "<svg").count == 4 && page.components(separatedBy: "</svg>").count == 4)
        for word in ["src=", "href=", "url(", "@import", "<script", "http-equiv", "NaN", "inf"] { #expect(!page.contains(word), "\(word)") }
        for word in ["99 %", "status_503", "prefers-color-scheme: dark", "1.199"] { #expect(page.contains(word), "\(word)") }
        #expect(page.components(separatedBy: "<path class=\"line").count == 7)
    }

    @Test("neither the report nor the page has what may be a secret: queries, and commands that were given")
    func secrets() throws {
        let report = try report()
        let command = [
            "/usr/local/bin/portcullis-bench", "run", "--url", "http://h/?ids=1,2&t=secret", "--edges", "http://a/?x=secret,http://b/?y=secret",
            "--during", "curl secret", "--logout-command=secret", "--path", "/?k=secret", "--websocket-path=/ws?a,b&k=secret", "--json", "a b'c",
            "--token-file", "tokens",
        ]
        let page = String(decoding: report.page(command: command), as: UTF8.self)
        #expect(!page.contains("secret") && !String(decoding: report.json, as: UTF8.self).contains("secret") && !page.contains("/usr/local"))
        let shown =
            "portcullis-bench run --url 'http://h/?…' --edges 'http://a/?…,http://b/?…' --during … --logout-command=… --path '/?…' "
            + "'--websocket-path=/ws?…' --json 'a b'\\''c' "
            + "--token-file tokens"
        #expect(HTML.shown(command).joined(separator: " ") == shown)
    }

    @Test("what is shown is text, whatever it looks like")
    func escaping() {
        var html = HTML()
        html.heading("<script>&\"")
        html.table(["<b>", "x"], [["</td>", "&amp;"]])
        let page = String(decoding: html.page(title: "<title>", command: ["<x>"]), as: UTF8.self)
        #expect(
            page.contains("&lt;script&gt;&amp;&quot;") && page.contains("&lt;/td&gt;") && page.contains("&amp;amp;") && !page.contains("<script>"))
        #expect(page.contains("<title>&lt;title&gt;</title>") && page.contains("<pre><span>&lt;x&gt;</span></pre>"))
    }

    @Test("axes end at round numbers that hold all values", arguments: [[0.0], [0.3, 7], [-3.2, 55], [1234.5], [0.00012]])
    func axes(values: [Double]) throws {
        let axis = Plot.Axis.linear("ms", covering: values)
        #expect(values.allSatisfy { axis.range.contains($0) } && 2...11 ~= axis.ticks.count)
        #expect(axis.ticks.first?.place == axis.range.lowerBound && axis.ticks.last?.place == axis.range.upperBound)
        #expect(Set(axis.ticks.map(\.label)).count == axis.ticks.count)
        let tight = Plot.Axis.linear("s", covering: values, isTight: true)
        #expect(tight.range.upperBound == max(0, values.max() ?? 0) || values == [0])
        #expect(tight.ticks.allSatisfy { tight.range.contains($0.place) } && !tight.ticks.isEmpty)
    }

    @Test("each further nine has as much room as the one before")
    func nines() {
        let axis = Plot.Axis.percentiles(upTo: 10_000)
        #expect(axis.ticks.map(\.label) == ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"])
        #expect(axis.ticks.map { axis.position($0.place) }.map { ($0 * 100).rounded() } == [0, 25, 50, 75, 100])
    }

    @Test("times are told in UTC", arguments: [(0, "1970-01-01 00:00:00 UTC"), (1_769_862_896_789, "2026-01-31 12:34:56 UTC")])
    func dates(time: Int64, text: String) {
        #expect(HTML.date(time) == text)
    }
}
