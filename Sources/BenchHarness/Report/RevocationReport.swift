// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Tokens

/// What `revocation` reports (contract §10, and more).
package struct RevocationReport: Sendable {
    private let tally: RevocationTally
    private let edges: [String]
    private let hasWebSockets: Bool

    init(_ tally: RevocationTally, edges: [String], hasWebSockets: Bool) {
        self.tally = tally
        self.edges = edges
        self.hasWebSockets = hasWebSockets
    }

    package var logouts: Int { tally.logouts }
    /// Requests that were sent after the logout's answer and got a 2xx all the same.
    package var late: Int { tally.edges.reduce(0) { $0 + $1.late } }
    /// WebSockets that outlived their session for as long as they were watched.
    package var openSockets: Int { tally.edges.reduce(0) { $0 + $1.openSockets } }
    /// What was asked for and could not be measured, each in a clause.
    package var gaps: [String] {
        var gaps: [String] = []
        for (url, edge) in zip(edges, tally.edges) {
            if edge.unconfirmed > 0 {
                gaps.append("after \(edge.unconfirmed) of \(logouts) logouts \(url) answered nothing, or 408, 429 or 5xx, for too long to be judged")
            }
            if edge.refusedSockets > 0 {
                gaps.append("\(edge.refusedSockets) of \(logouts) WebSockets were not open at \(url) when their session was logged out")
            }
        }
        if tally.abandoned > 0 { gaps.append("\(tally.abandoned) sessions were not let in or logged out in time") }
        if logoutsDuring == 0 { gaps.append("no logout was sent while the command of --during ran") }
        return gaps
    }
    /// Of some edge nothing at all is known of what was asked for.
    package var isBlind: Bool {
        logouts == 0 || tally.edges.contains { $0.unconfirmed == logouts && $0.late == 0 || $0.refusedSockets == logouts }
    }
    /// What the command that was started in the middle ended with; nil where there was none.
    package var commandExitCode: Int32? { tally.during?.exitCode }
    /// Logouts that were first tried while it ran; nil where there was none.
    private var logoutsDuring: Int? { tally.during?.logoutTimes.count }

    /// One JSON object, in UTF-8, with a line end.
    package var json: [UInt8] {
        JSONWriter.object { writer in
            writer.member("logouts", logouts)
            writer.member("late_2xx", late)
            writer.member("logout_ms", Summary(tally.logoutTimes))
            writer.member("logout_from_first_try_ms", Summary(tally.wholeLogoutTimes))
            writer.member("logout_errors", counts: tally.logoutErrors)
            writer.member("abandoned", tally.abandoned)
            if let during = tally.during {
                writer.name("during")
                writer.beginObject()
                writer.member("start_s", rounded: during.startSeconds)
                writer.member("duration_s", rounded: during.seconds)
                writer.member("exit_code", during.exitCode)
                writer.member("logouts", during.logoutTimes.count)
                writer.member("logout_ms", Summary(during.logoutTimes))
                writer.member("logout_from_first_try_ms", Summary(during.wholeLogoutTimes))
                writer.endObject()
            }
            writer.name("edges")
            writer.beginArray()
            for (url, edge) in zip(edges, tally.edges) { write(url, edge, to: &writer) }
            writer.endArray()
        } + [UInt8(ascii: "\n")]
    }

    private func write(_ url: String, _ edge: RevocationTally.Edge, to writer: inout JSONWriter) {
        writer.beginObject()
        writer.member("url", url)
        writer.member("requests", edge.requests)
        writer.member("late_2xx", edge.late)
        writer.member("last_2xx_ms", Summary(edge.lastGood))
        if hasWebSockets {
            writer.member("websocket_cut_ms", Summary(edge.cuts))
            writer.member("websockets_open", edge.openSockets)
            writer.member("websockets_refused", edge.refusedSockets)
        }
        writer.member("unconfirmed", edge.unconfirmed)
        writer.member("errors", counts: edge.errors)
        writer.member("refusals", counts: edge.refusals)
        writer.endObject()
    }

    // MARK: The page

    /// The report as a page with plots.
    ///
    /// - Parameter command: the arguments of the process.
    package func page(command: [String]) -> [UInt8] {
        var html = HTML()
        html.paragraph("\(logouts) logouts, \(edges.count) edges: \(late) requests that were sent after the logout's answer got a 2xx.")
        html.table(
            "milliseconds",
            of: [
                ("logout, the attempt that was answered 2xx", Summary(tally.logoutTimes)),
                ("from its first attempt", Summary(tally.wholeLogoutTimes)),
                ("first tried while the command ran", tally.during.flatMap { Summary($0.logoutTimes) }),
                ("from its first attempt", tally.during.flatMap { Summary($0.wholeLogoutTimes) }),
            ])
        html.heading("From the logout's answer to the sending of the last request that got a 2xx")
        html.table("milliseconds", of: zip(edges, tally.edges).map { ($0, Summary($1.lastGood)) })
        html.plot(distribution("Last 2xx of each logout, in order", zip(edges, tally.edges).map { ($0, $1.lastGood) }, "ms after the answer"))
        if hasWebSockets {
            html.heading("From the logout's answer to the end of the WebSocket")
            html.table("milliseconds", of: zip(edges, tally.edges).map { ($0, Summary($1.cuts)) })
            html.plot(distribution("End of each WebSocket, in order", zip(edges, tally.edges).map { ($0, $1.cuts) }, "ms after the answer"))
        }
        html.plot(distribution("Time of each logout from its first attempt, in order", [("logout", tally.wholeLogoutTimes)], "ms"))
        html.heading("Figures")
        html.table(
            ["edge", "requests", "late 2xx", "unconfirmed"] + (hasWebSockets ? ["WebSockets still open", "not open at the logout"] : []),
            zip(edges, tally.edges).map { url, edge in
                [url, "\(edge.requests)", "\(edge.late)", "\(edge.unconfirmed)"]
                    + (hasWebSockets ? ["\(edge.openSockets)", "\(edge.refusedSockets)"] : [])
            })
        html.table(["what else was answered", "", ""], otherAnswers)
        html.paragraph(
            "Negative times are before the logout's answer. Unconfirmed are logouts after which an edge answered nothing, or 408, 429 or 5xx, for so long "
                + "that a late 2xx would not have been seen; where none was seen they are in no row of the last 2xx.")
        return html.page(title: "Revocation on \(edges.count) edges", command: command)
    }

    private var otherAnswers: [[String]] {
        var rows = tally.logoutErrors.sorted { $0.key < $1.key }.map { ["logouts that were repeated", $0.key, "\($0.value)"] }
        for (url, edge) in zip(edges, tally.edges) {
            rows += edge.errors.sorted { $0.key < $1.key }.map { ["\(url), before the logout", $0.key, "\($0.value)"] }
            rows += edge.refusals.sorted { $0.key < $1.key }.map { ["\(url), after it", $0.key, "\($0.value)"] }
        }
        if tally.abandoned > 0 { rows.append(["sessions that were never let in or logged out", "", "\(tally.abandoned)"]) }
        if let during = tally.during {
            let start = decimalText(during.startSeconds, digits: 1), time = decimalText(during.seconds, digits: 1)
            rows.append(["the command in the middle, at \(start) s for \(time) s", "exit code", "\(during.exitCode)"])
        }
        return rows
    }

    /// The values of each line from the least to the greatest.
    private func distribution(_ title: String, _ lines: [(name: String, values: [Double])], _ unit: String) -> Plot {
        let greatest = lines.map(\.values.count).max() ?? 0
        return Plot(
            title: title, x: .linear("logouts", covering: [0, Double(max(1, greatest))], isTight: true),
            y: .linear(unit, covering: lines.flatMap(\.values)),
            series: lines.enumerated().map { place, line in
                Plot.Series(
                    name: line.name, points: line.values.sorted().enumerated().map { (Double($0.offset + 1), $0.element) },
                    colour: place % Plot.colours + 1)
            })
    }
}

extension JSONWriter {
    /// In the order of the names.
    fileprivate mutating func member(_ name: String, counts: [String: Int]) {
        self.name(name)
        beginObject()
        for count in counts.sorted(by: { $0.key < $1.key }) { member(count.key, count.value) }
        endObject()
    }
}
