// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import NIOPosix

/// Why nothing could be measured.
package enum RevocationObstacle: Error, Sendable, Equatable {
    /// The admin API made no session; with the status or kind.
    case noSession(String)
    /// An edge gave a fresh session no 2xx; with what it gave most.
    case edgeRefuses(url: String, String)
    /// An edge never answered the request for a WebSocket.
    case noWebSocket(url: String)
    /// No logout was ever answered 2xx.
    case noLogout
}

/// Measures how long after a logout requests of the session still pass, on all edges at once.
package struct RevocationRun: Sendable {
    private let plan: RevocationPlan

    package init(_ plan: RevocationPlan) { self.plan = plan }

    /// - Parameter progress: called once a second with the number of logouts that have been measured; from any thread.
    /// - Throws: `RevocationObstacle`, where not one logout could be measured.
    package func run(progress: @escaping @Sendable (Int) -> Void = { _ in }) async throws -> RevocationReport {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        // Commands block their threads: one for each session that is logged out, and one for the fault.
        let threads = NIOThreadPool(numberOfThreads: plan.sessions + 1)
        threads.start()
        let eventLoop = group.next()
        let finished = eventLoop.makePromise(of: RevocationTally.self)
        eventLoop.execute { [plan] in
            RevocationLoop(plan, eventLoop: eventLoop, threads: threads, finished: finished, progress: progress).begin()
        }
        let result: Result<RevocationTally, any Error>
        do {
            result = .success(try await finished.futureResult.get())
        } catch {
            result = .failure(error)
        }
        try await threads.shutdownGracefully()
        try await group.shutdownGracefully()
        return RevocationReport(try result.get(), edges: plan.edges.map(\.target.shown), hasWebSockets: plan.webSocketPath != nil)
    }
}

/// All trials, some at a time. Confined to its loop.
private final class RevocationLoop {
    /// Between the first sessions, so that they are not logged out all at once; nanoseconds.
    private static let stagger: Int64 = 17_000_000

    private let plan: RevocationPlan
    private let eventLoop: any EventLoop
    private let threads: NIOThreadPool
    private let finished: EventLoopPromise<RevocationTally>
    private let progress: @Sendable (Int) -> Void
    private let began = BenchClock.now()
    private let total: Int
    private let prefix: String
    private var started = 0
    private var trials: [Int: Trial] = [:]
    private var tally: RevocationTally
    /// The sessions that are logged out while the command runs: those that are not in use yet, and those that are.
    private var unready: Set<Int> = []
    private var held: [Trial] = []
    /// When the command was started, and its end; nil before.
    private var commandStart: Int64?
    private var commandEnd: (time: Int64, exitCode: Int32)?
    private var logouts: [Trial.Logout] = []
    /// Some session has been in use on every edge.
    private var hasBegun = false
    private var isOver = false

    init(
        _ plan: RevocationPlan, eventLoop: any EventLoop, threads: NIOThreadPool, finished: EventLoopPromise<RevocationTally>,
        progress: @escaping @Sendable (Int) -> Void
    ) {
        self.plan = plan
        self.eventLoop = eventLoop
        self.threads = threads
        self.finished = finished
        self.progress = progress
        if case .list(let sessions) = plan.source { total = min(plan.logouts, sessions.count) } else { total = plan.logouts }
        // Others may be measuring, too.
        prefix = "bench-" + String(UInt32.random(in: .min ... .max), radix: 16)
        tally = RevocationTally(edges: plan.edges.count)
        if plan.during != nil { unready = Set(total / 2..<min(total, total / 2 + plan.sessions)) }
    }

    func begin() {
        for place in 0..<min(plan.sessions, total) {
            eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(Int64(place) * Self.stagger)) { self.startNext() }
        }
        sweep()
        report()
    }

    private func startNext() {
        guard started < total, !isOver else { return endIfDone() }
        let number = started
        started += 1
        let isHeld = unready.contains(number)
        let trial = Trial(plan, eventLoop: eventLoop, threads: threads, hold: isHeld ? { self.ready(number) } : nil) { name in
            self.tally.logoutErrors[name, default: 0] += 1
        } completion: { outcome in
            self.ended(outcome, number)
        }
        trials[number] = trial
        switch plan.source {
        case .admin: trial.make(user: "\(prefix)-\(number)")
        case .list(let sessions): trial.use(sessions[number])
        }
    }

    private func ended(_ outcome: Trial.Outcome, _ number: Int) {
        trials[number] = nil
        tally.add(outcome)
        if let logout = outcome.logout { logouts.append(logout) }
        if let obstacle = outcome.obstacle, tally.logouts == 0, !isOver {
            // What the first sessions meet, all others would.
            isOver = true
            return finished.fail(obstacle)
        }
        // One that was never in use is not waited for.
        if unready.remove(number) != nil { breakIfReady() }
        startNext()
    }

    // MARK: What breaks meanwhile

    private func ready(_ number: Int) {
        unready.remove(number)
        if let trial = trials[number] { held.append(trial) }
        breakIfReady()
    }

    private func breakIfReady() {
        guard unready.isEmpty, commandStart == nil, let command = plan.during else { return }
        let start = BenchClock.now()
        commandStart = start
        threads.runIfActive(eventLoop: eventLoop) { ShellCommand.run(command) }.assumeIsolated().whenSuccess { code in
            self.commandEnd = (BenchClock.now(), code)
            self.endIfDone()
        }
        for (place, trial) in held.enumerated() {
            eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(Int64(place + 1) * RevocationPlan.spacing)) { trial.release() }
        }
        held = []
    }

    private var during: RevocationTally.During? {
        guard let start = commandStart, let end = commandEnd else { return nil }
        let inside = logouts.filter { start...end.time ~= $0.wanted }
        return .init(
            startSeconds: Double(start - began) / 1e9, seconds: Double(end.time - start) / 1e9, exitCode: end.exitCode,
            logoutTimes: inside.map { Double($0.answered - $0.sent) / 1e6 },
            wholeLogoutTimes: inside.map { Double($0.answered - $0.wanted) / 1e6 })
    }

    private func sweep() {
        guard !isOver else { return }
        let now = BenchClock.now()
        hasBegun = hasBegun || trials.values.contains { $0.isPastWarming }
        for trial in trials.values { trial.sweep(now, isFirst: !hasBegun) }
        eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(RevocationPlan.sweepInterval)) { self.sweep() }
    }

    private func report() {
        guard !isOver else { return }
        progress(tally.logouts)
        eventLoop.assumeIsolated().scheduleTask(in: .seconds(1)) { self.report() }
    }

    private func endIfDone() {
        guard started == total, trials.isEmpty, (commandStart == nil) == (commandEnd == nil), !isOver else { return }
        isOver = true
        tally.during = during
        finished.succeed(tally)
    }
}

@available(*, unavailable)
extension RevocationLoop: Sendable {}
