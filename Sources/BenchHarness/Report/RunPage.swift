// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

extension RunReport {
    /// The report as a page with plots.
    ///
    /// - Parameter command: the arguments of the process.
    package func page(command: [String]) -> [UInt8] {
        var html = HTML()
        let load =
            switch pace {
            case .rate(let rate): "\(decimalText(rate, digits: 3)) requests a second (open loop)"
            case .connections(let count): "\(count) connections as fast as they were answered (closed loop)"
            }
        html.paragraph("\(load) for \(decimalText(durationSeconds, digits: 3)) s: \(requests) requests, \(ok) answered 2xx or 3xx.")
        html.table("milliseconds", of: [("latency", latency), ("lateness", lateness)])
        if !latencyCurve.isEmpty { html.plot(percentilePlot) }
        html.plot(timePlot)
        html.plot(ratePlot)
        html.heading("Figures")
        var rows = [
            ["requests", "\(requests)"], ["answered 2xx or 3xx", "\(ok)"], ["answers a second", decimalText(requestsPerSecond, digits: 1)],
        ]
        if unsent > 0 { rows.append(["of the requests, never sent", "\(unsent)"]) }
        if blocked > 0 { rows.append(["requests that found all connections in use (--max-connections)", "\(blocked)"]) }
        rows += errors.map { ["error: \($0.name)", "\($0.count)"] }
        if let process {
            rows.append(["process \(process.id): CPU time", "\(decimalText(process.usage.cpuSeconds, digits: 2)) s"])
            if let each = cpuMicroseconds { rows.append(["process \(process.id): CPU time a request", "\(decimalText(each, digits: 2)) µs"]) }
            rows.append(["process \(process.id): most memory", "\(decimalText(Double(process.usage.residentBytes) / 1_048_576, digits: 1)) MiB"])
        }
        html.table(["", ""], rows)
        html.paragraph(
            "Latency counts from the time at which a request should have been sent to its whole answer, whatever its status. "
                + "Lateness is how long after that time the harness turned to it: its own fault. In a closed loop an answer that waits to be read "
                + "is in the latency alone, and opening a connection is in neither.")
        return html.page(title: "Latency of \(url)", command: command)
    }

    private var percentilePlot: Plot {
        let values = (latencyCurve + latenessCurve).map(\.y)
        return Plot(
            title: "Latency by percentile", x: .percentiles(upTo: latencyCurve.last?.x ?? 1), y: .linear("ms", covering: values),
            series: [
                .init(name: "latency", points: latencyCurve, colour: 1), .init(name: "lateness of the harness", points: latenessCurve, colour: 6),
            ])
    }

    private var timePlot: Plot {
        let lines = [("p99", timeline.map(\.p99), 2), ("p50", timeline.map(\.p50), 1)]
        return Plot(
            title: "Latency over time, by the second in which requests should have been sent", x: seconds,
            y: .linear("ms", covering: lines.flatMap { $0.1.compactMap { $0 } }),
            series: lines.map { name, values, colour in
                Plot.Series(
                    name: name, points: zip(timeline, values).map { second, value in value.map { (Double(second.number), $0) } }, colour: colour)
            })
    }

    private var ratePlot: Plot {
        Plot(
            title: "Requests and errors a second", x: seconds, y: .linear("a second", covering: timeline.map { Double($0.requests) }),
            series: [
                .init(name: "requests", points: timeline.map { (Double($0.number), Double($0.requests)) }, colour: 1),
                .init(name: "errors", points: timeline.map { (Double($0.number), Double($0.errors)) }, colour: 5),
            ])
    }

    private var seconds: Plot.Axis { .linear("seconds", covering: [0, Double(max(1, timeline.count - 1))], isTight: true) }
}
