// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// What `revocation` is to do. Times are nanoseconds.
package struct RevocationPlan: Sendable {
    /// Logouts that are measured, unless the plan says otherwise.
    package static let logouts = 100
    /// Sessions at a time, unless the plan says otherwise.
    package static let sessions = 10
    /// Between two requests of a session on an edge, if the first was answered by then.
    package static let interval: Int64 = 5_000_000
    /// How long every edge must have refused a session that is logged out until it is believed.
    package static let settling: Int64 = 1_000_000_000
    /// How long at most the edges are watched after a logout.
    package static let observation: Int64 = 30_000_000_000

    /// 2xx of a session on each edge before it is logged out.
    static let goodAnswers = 20
    /// How long a session may take to be made, to get these, and to be logged out.
    static let patience: Int64 = 60_000_000_000
    /// The same until the first of all has got these: what is wrong with a token or an address then is told soon.
    static let firstPatience: Int64 = 10_000_000_000
    /// For a whole answer of an edge. A paused one is waited for.
    static let timeout: Int64 = 10_000_000_000
    /// Before a connection or a logout is tried again.
    static let pause: Int64 = 50_000_000
    /// Between the logouts that are sent while the command of `during` runs.
    static let spacing: Int64 = 100_000_000
    /// How often is looked at what has taken too long.
    static let sweepInterval: Int64 = 20_000_000

    /// Where sessions come from.
    package enum Source: Sendable {
        /// Made by the admin API (contract §6), with its token.
        case admin(Dialer, token: String)
        /// They are there already.
        case list([BenchSession])
    }

    /// How a session is logged out.
    package enum Logout: Sendable {
        /// By the admin API: `DELETE` of the session.
        case admin(Dialer, token: String)
        /// By a command of the shell, which finds the session in its environment and exits with 0 when it is done.
        case command(String)
    }

    /// What the gateways are asked for, through each edge.
    package var edges: [Dialer]
    package var source: Source
    package var logout: Logout
    /// Path and query of the WebSockets that each session opens through each edge; nil: none.
    package var webSocketPath: String?
    package var logouts: Int
    package var sessions: Int
    package var interval: Int64
    package var settling: Int64
    package var observation: Int64
    /// A command of the shell that breaks something for a while. It is started after half of the logouts, when as many sessions as there are at a
    /// time are in use on every edge and to be logged out next: these are logged out while it runs, `RevocationPlan.spacing` apart.
    package var during: String?
    /// As `RevocationPlan.patience`.
    var patience = RevocationPlan.patience

    package init(
        edges: [Dialer], source: Source, logout: Logout, webSocketPath: String? = nil, logouts: Int = RevocationPlan.logouts,
        sessions: Int = RevocationPlan.sessions, interval: Int64 = RevocationPlan.interval, settling: Int64 = RevocationPlan.settling,
        observation: Int64 = RevocationPlan.observation, during: String? = nil
    ) {
        self.edges = edges
        self.source = source
        self.logout = logout
        self.webSocketPath = webSocketPath
        self.logouts = logouts
        self.sessions = sessions
        self.interval = interval
        self.settling = settling
        self.observation = observation
        self.during = during
    }
}

/// A session that somebody has made.
package struct BenchSession: Sendable, Equatable {
    package var user: String
    package var id: String
    package var token: String

    /// Reads a file of sessions: user, session id and token of each in a line, with blanks between them.
    package static func read(_ path: String) throws(TokenFile.Problem) -> [BenchSession] {
        var sessions: [BenchSession] = []
        for (number, line) in try TokenFile.lines(path).enumerated() {
            let words = line.split { $0 == " " || $0 == "\t" }
            guard words.count == 3, words[2].utf8.count <= TokenFile.tokenBytes, words[2].utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
                throw TokenFile.Problem(description: "\(path): line \(number + 1) is no session: a user, a session id and a token are needed")
            }
            sessions.append(BenchSession(user: String(words[0]), id: String(words[1]), token: String(words[2])))
        }
        guard !sessions.isEmpty else { throw TokenFile.Problem(description: "\(path) has no session: one a line is needed") }
        return sessions
    }
}
