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
    private var trials: [ObjectIdentifier: Trial] = [:]
    private var tally: RevocationTally
    private var isCommandRunning = false
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
        if number == total / 2 { startCommand() }
        let trial = Trial(plan, eventLoop: eventLoop, threads: threads) { name in
            self.tally.logoutErrors[name, default: 0] += 1
        } completion: { outcome in
            self.ended(outcome)
        }
        trials[ObjectIdentifier(trial)] = trial
        switch plan.source {
        case .admin: trial.make(user: "\(prefix)-\(number)")
        case .list(let sessions): trial.use(sessions[number])
        }
    }

    private func ended(_ outcome: Trial.Outcome) {
        trials = trials.filter { $0.value.phase != .done }
        tally.add(outcome)
        if let obstacle = outcome.obstacle, tally.logouts == 0, !isOver {
            // What the first sessions meet, all others would.
            isOver = true
            return finished.fail(obstacle)
        }
        startNext()
    }

    private func startCommand() {
        guard let command = plan.during else { return }
        isCommandRunning = true
        let start = BenchClock.now()
        threads.runIfActive(eventLoop: eventLoop) { ShellCommand.run(command) }.assumeIsolated().whenSuccess { code in
            self.isCommandRunning = false
            self.tally.during = .init(startSeconds: Double(start - self.began) / 1e9, seconds: Double(BenchClock.now() - start) / 1e9, exitCode: code)
            self.endIfDone()
        }
    }

    private func sweep() {
        guard !isOver else { return }
        let now = BenchClock.now()
        for trial in Array(trials.values) { trial.sweep(now) }
        eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(RevocationPlan.sweepInterval)) { self.sweep() }
    }

    private func report() {
        guard !isOver else { return }
        progress(tally.logouts)
        eventLoop.assumeIsolated().scheduleTask(in: .seconds(1)) { self.report() }
    }

    private func endIfDone() {
        guard started == total, trials.isEmpty, !isCommandRunning, !isOver else { return }
        isOver = true
        finished.succeed(tally)
    }
}

@available(*, unavailable)
extension RevocationLoop: Sendable {}
