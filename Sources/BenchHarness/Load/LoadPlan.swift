// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// What `run` is to do.
package struct LoadPlan: Sendable {
    package enum Pace: Sendable, Equatable {
        /// Requests a second, at their times whatever becomes of them: an open loop.
        case rate(Double)
        /// As fast as so many connections answer: a closed loop.
        case connections(Int)
    }

    /// Connections at a time in an open loop, unless the plan says otherwise. Requests that find all of them busy wait in order.
    package static let maxConnections = 1024
    /// From the intended send time to the whole answer, unless the plan says otherwise; in nanoseconds.
    package static let timeout: Int64 = 10_000_000_000
    /// The longest run, in nanoseconds: its time line has 14,400 seconds.
    package static let longestDuration: Int64 = 4 * 3600 * 1_000_000_000
    /// Connections that a loop opens at a time: more would overflow what servers let wait (somaxconn), and cost a second each.
    static let openingsAtOnce = 64
    /// How often is looked for requests that have taken too long, in nanoseconds: timeouts are that much late at most.
    static let sweepInterval: Int64 = 50_000_000
    /// Requests of a loop that wait for a connection at most: 32 MiB of them.
    static let waitingLimit = 1_000_000
    /// Requests that a loop sends before it looks for answers, when it is late.
    static let burst = 64

    package var dialer: Dialer
    /// At least one.
    package var shapes: [RequestShape]
    package var tokens: [String]
    package var pace: Pace
    /// Nanoseconds.
    package var warmup: Int64
    package var duration: Int64
    package var timeout: Int64
    package var connectionLimit: Int
    /// Event loops, each with a thread.
    package var loops: Int
    /// As `LoadPlan.waitingLimit`.
    var waitingLimit = LoadPlan.waitingLimit

    package init(
        dialer: Dialer, shapes: [RequestShape], tokens: [String] = [], pace: Pace, warmup: Int64 = 0, duration: Int64,
        timeout: Int64 = LoadPlan.timeout, connectionLimit: Int = LoadPlan.maxConnections, loops: Int = 1
    ) {
        self.dialer = dialer
        self.shapes = shapes
        self.tokens = tokens
        self.pace = pace
        self.warmup = warmup
        self.duration = duration
        self.timeout = timeout
        self.connectionLimit = connectionLimit
        self.loops = loops
    }

    /// The share of one loop of something that is divided among all.
    func share(of total: Int, loop: Int) -> Int { total / loops + (loop < total % loops ? 1 : 0) }
}
