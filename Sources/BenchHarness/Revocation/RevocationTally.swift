// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// All outcomes of a run. Times are milliseconds.
struct RevocationTally: Sendable {
    struct Edge: Sendable {
        var requests = 0
        var late = 0
        /// From the logout's answer to the sending of the last request that got a 2xx, of each logout after which the edge can be judged.
        var lastGood: [Double] = []
        /// From the logout's answer to the end of the WebSocket.
        var cuts: [Double] = []
        /// WebSockets that were still open when the edge was watched no longer.
        var openSockets = 0
        /// WebSockets that never opened, or had ended before their session was logged out.
        var refusedSockets = 0
        /// Logouts after which the edge judged nothing (said nothing, or 408, 429 or 5xx) for so long that a late 2xx would not have been seen.
        var unconfirmed = 0
        var errors: [String: Int] = [:]
        var refusals: [String: Int] = [:]
    }

    /// The command that was started in the middle.
    struct During: Sendable, Equatable {
        /// Since the run began.
        var startSeconds: Double
        var seconds: Double
        var exitCode: Int32
        /// From sending to answer, of the logouts that were first tried while it ran.
        var logoutTimes: [Double]
        /// Of the same, from the first attempt.
        var wholeLogoutTimes: [Double]
    }

    var edges: [Edge]
    /// From sending to answer, of each logout that was answered 2xx.
    var logoutTimes: [Double] = []
    /// From the first attempt to the answer 2xx: with all that were refused before.
    var wholeLogoutTimes: [Double] = []
    var logoutErrors: [String: Int] = [:]
    /// Sessions that were not logged out in time, or never let in.
    var abandoned = 0
    var during: During?

    init(edges: Int) { self.edges = Array(repeating: Edge(), count: edges) }

    var logouts: Int { logoutTimes.count }

    mutating func add(_ outcome: Trial.Outcome) {
        for (place, edge) in outcome.edges.enumerated() {
            edges[place].requests += edge.record.requests
            edges[place].late += edge.record.late
            edges[place].errors.merge(edge.record.errors, uniquingKeysWith: +)
            edges[place].refusals.merge(edge.record.refusals, uniquingKeysWith: +)
        }
        guard let logout = outcome.logout else {
            abandoned += 1
            return
        }
        logoutTimes.append(Double(logout.answered - logout.sent) / 1e6)
        wholeLogoutTimes.append(Double(logout.answered - logout.wanted) / 1e6)
        for (place, edge) in outcome.edges.enumerated() {
            if edge.isConfirmed || edge.record.late > 0, let last = edge.record.lastGood {
                edges[place].lastGood.append(Double(last - logout.answered) / 1e6)
            }
            if !edge.isConfirmed { edges[place].unconfirmed += 1 }
            switch edge.webSocket {
            case nil: break
            case .closed(let time) where time < logout.sent: edges[place].refusedSockets += 1
            case .closed(let time): edges[place].cuts.append(Double(time - logout.answered) / 1e6)
            case .open: edges[place].openSockets += 1
            case .opening, .refused: edges[place].refusedSockets += 1
            }
        }
    }
}
