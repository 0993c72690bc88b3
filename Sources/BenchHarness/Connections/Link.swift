// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// One request that is under way.
struct Flight {
    /// When it should have been sent, which is what its latency and its timeout count from; of `BenchClock`.
    var intended: Int64
}

/// A connection to the target. Confined to its event loop.
protocol Link: AnyObject {
    /// How many more requests it can take now; 0 while it opens, and when it is to be used no more.
    var freeSlots: Int { get }
    /// Whether its owner has it in a list of those with free slots; the owner's business.
    var isListed: Bool { get set }
    /// Sends a request of the table; there must be a free slot.
    func send(_ flight: Flight, _ choice: RequestChoice)
    /// The flights whose intended time is before that have taken too long: they fail, and what they block is closed.
    func expire(intendedBefore limit: Int64)
    /// Ends it at once; flights that are under way fail with this kind.
    func close(_ kind: FailureKind)
    /// The body of the last answer, if the connection was made to keep it.
    func takeBody() -> [UInt8]
}

/// Who uses a connection. Called on the connection's loop, for each link first `linkOpened` or `linkGone`, and nothing after `linkGone`.
protocol LinkOwner: AnyObject {
    /// It can take requests.
    func linkOpened(_ link: any Link)
    /// A whole answer has come; the link may have a free slot again.
    ///
    /// - Parameter now: when the answer was whole.
    func link(_ link: any Link, answered flight: Flight, status: Int, at now: Int64)
    func link(_ link: any Link, failed flight: Flight, _ kind: FailureKind)
    /// It is of no more use; all its flights have failed before.
    ///
    /// - Parameter kind: why it could not be opened; nil where it was open.
    func linkGone(_ link: any Link, _ kind: FailureKind?)
}

/// The clock of all measurements: CLOCK_MONOTONIC in nanoseconds, the one that event loops sleep by.
enum BenchClock {
    @inline(__always)
    static func now() -> Int64 { Int64(NIODeadline.now().uptimeNanoseconds) }

    static func deadline(_ time: Int64) -> NIODeadline { .uptimeNanoseconds(UInt64(max(0, time))) }
}
