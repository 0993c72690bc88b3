// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// Sends requests of one session through one edge, one after the other, and notes when those were sent that got a 2xx. When the logout has been
/// answered, one more leaves at once on a connection of its own: where the edge is paused, it is among the first that are read afterwards, while
/// the others wait for the answer of one that was sent before. Confined to its loop.
final class EdgeWatch: LinkOwner {
    /// What was seen until now. Times are nanoseconds of `BenchClock`.
    struct Record {
        var requests = 0
        /// 2xx before the session was logged out.
        var good = 0
        /// When the last request was sent that got a 2xx.
        var lastGood: Int64?
        /// When the last request was sent whose answer tells what the edge thinks of the session.
        var lastJudged: Int64 = .min
        /// 2xx to requests that were sent after the logout's answer.
        var late = 0
        /// By status or kind: what did not get a 2xx before the logout was sent.
        var errors: [String: Int] = [:]
        /// The same of what was sent after the logout's answer.
        var refusals: [String: Int] = [:]
    }

    private let dialer: Dialer
    private let table: RequestTable
    private let interval: Int64
    private let eventLoop: any EventLoop
    private let changed: () -> Void
    private var link: (any Link)?
    /// For the request that leaves when the logout has been answered.
    private var probe: (any Link)?
    private var isStopped = false
    private(set) var record = Record()
    private var loggedOutAt: Int64?
    /// The logout has been sent: from then on what is under way may be refused. Set by the trial.
    var isEnding = false

    /// - Parameter changed: called on the loop after each answer.
    init(_ dialer: Dialer, token: String, interval: Int64, eventLoop: any EventLoop, changed: @escaping () -> Void) {
        self.dialer = dialer
        table = RequestTable(dialer.target, shapes: [RequestShape(target: dialer.target.path)], tokens: [token])
        self.interval = interval
        self.eventLoop = eventLoop
        self.changed = changed
    }

    func begin() {
        guard !isStopped, link == nil else { return }
        link = dialer.dial(self, table: table, on: eventLoop)
    }

    func stop() {
        isStopped = true
        link?.close(.reset)
        probe?.close(.reset)
    }

    /// - Parameter time: when the logout's answer had come.
    func loggedOut(at time: Int64) {
        loggedOutAt = time
        if !isStopped { probe = dialer.dial(self, table: table, on: eventLoop) }
    }

    /// Closes a connection on which an answer has been waited for since before that time.
    func expire(sentBefore limit: Int64) {
        link?.expire(intendedBefore: limit)
        probe?.expire(intendedBefore: limit)
    }

    private func send(_ link: (any Link)?) {
        guard !isStopped, let link, link.freeSlots > 0 else { return }
        record.requests += 1
        link.send(Flight(intended: BenchClock.now()), RequestChoice(shape: 0, token: 0))
    }

    private func wake(at time: Int64, _ task: @escaping () -> Void) {
        eventLoop.assumeIsolated().scheduleTask(deadline: BenchClock.deadline(time), task)
    }

    // MARK: What the connection tells

    func linkOpened(_ link: any Link) { send(link) }

    func link(_ link: any Link, answered flight: Flight, status: Int, at now: Int64) {
        guard !isStopped else { return }
        // An edge that is in trouble, or too busy, refuses everybody: that does not tell what it will do afterwards.
        if status < 500, status != 408, status != 429 { record.lastJudged = max(record.lastJudged, flight.intended) }
        if 200..<300 ~= status {
            record.lastGood = max(record.lastGood ?? .min, flight.intended)
            if let loggedOutAt, flight.intended > loggedOutAt { record.late += 1 } else { record.good += 1 }
        } else {
            note("status_\(status)", sentAt: flight.intended)
        }
        changed()
        sendNext(link, after: flight, at: now)
    }

    private func sendNext(_ link: any Link, after flight: Flight, at now: Int64) {
        guard link !== probe else { return link.close(.reset) }
        let next = flight.intended + interval
        if next > now { wake(at: next) { self.send(self.link) } } else { send(link) }
    }

    func link(_ link: any Link, failed flight: Flight, _ kind: FailureKind) {
        guard !isStopped else { return }
        note(kind.name, sentAt: flight.intended)
        // A stream may end alone: its connection goes on.
        if link.freeSlots > 0 { sendNext(link, after: flight, at: BenchClock.now()) }
    }

    /// Between the logout and its answer either is right.
    private func note(_ name: String, sentAt: Int64) {
        if let loggedOutAt, sentAt > loggedOutAt {
            record.refusals[name, default: 0] += 1
        } else if !isEnding {
            record.errors[name, default: 0] += 1
        }
    }

    func linkGone(_ link: any Link, _ kind: FailureKind?) {
        let isProbe = link === probe
        if isProbe { probe = nil } else { self.link = nil }
        guard !isStopped else { return }
        if let kind { note(kind.name, sentAt: BenchClock.now()) }
        guard !isProbe else { return }
        // An edge that closes after each answer is asked again at once, one that does not take connections is not.
        wake(at: BenchClock.now() + (kind == nil ? interval : RevocationPlan.pause)) { self.begin() }
    }
}

@available(*, unavailable)
extension EdgeWatch: Sendable {}
