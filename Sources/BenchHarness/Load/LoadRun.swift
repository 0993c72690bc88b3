// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import NIOPosix

/// How far a run has come, for the person who waits.
package struct LoadProgress: Sendable {
    /// Since the measuring began; below 0 in the warm-up.
    package var seconds: Int
    package var requests: Int
    package var errors: Int
}

/// What a run has measured.
package struct LoadResult: Sendable {
    package var recorder: Recorder
    /// That of the plan, or shorter where the run was interrupted; nanoseconds.
    package var duration: Int64
    /// Of the process that was watched; nil where none was, or it had ended.
    package var usage: ProcessTree.Usage?
}

/// Not one request could be sent.
package struct NothingSent: Error {
    package var reason: FailureKind
}

/// The run was interrupted before anything was measured.
package struct InterruptedInWarmup: Error {}

/// One run: the loops, and what is looked at once a second.
package struct LoadRun: Sendable {
    /// Before the first request is due, so that every loop is there in time; nanoseconds.
    private static let preparation: Int64 = 20_000_000
    /// Before the end of a run that is interrupted, so that every loop hears of it in time; nanoseconds.
    private static let notice: Int64 = 50_000_000

    private enum Event { case second, interrupted, finished }

    private let plan: LoadPlan
    private let process: ProcessTree?

    package init(_ plan: LoadPlan, process: ProcessTree? = nil) {
        self.plan = plan
        self.process = process
    }

    /// Returns when every request has been answered or given up.
    ///
    /// - Parameter interruptions: with the first the schedule ends, and what has been measured until then is the result.
    /// - Throws: `NothingSent`, `InterruptedInWarmup`.
    package func run(
        interruptions: AsyncStream<Void> = AsyncStream { $0.finish() }, progress: ((LoadProgress) -> Void)? = nil
    ) async throws -> LoadResult {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: plan.loops)
        let result: Result<LoadResult, any Error>
        do {
            result = .success(try await run(on: group, interruptions, progress))
        } catch {
            result = .failure(error)
        }
        try await group.shutdownGracefully()
        return try result.get()
    }

    private func run(
        on group: MultiThreadedEventLoopGroup, _ interruptions: AsyncStream<Void>, _ progress: ((LoadProgress) -> Void)?
    ) async throws -> LoadResult {
        let start = BenchClock.now() + Self.preparation
        let measuredFrom = start + plan.warmup
        var loops: [NIOLoopBound<LoadLoop>] = []
        var endings: [EventLoopFuture<Void>] = []
        for (index, eventLoop) in group.makeIterator().enumerated() {
            let finished = eventLoop.makePromise(of: Void.self)
            endings.append(finished.futureResult)
            let plan = plan
            loops.append(
                try await eventLoop.submit {
                    NIOLoopBound(LoadLoop(plan, index: index, start: start, eventLoop: eventLoop, finished: finished), eventLoop: eventLoop)
                }.get())
        }
        for loop in loops {
            loop.eventLoop.scheduleTask(deadline: BenchClock.deadline(start)) { loop.value.begin() }
        }

        let (events, continuation) = AsyncStream.makeStream(of: Event.self)
        EventLoopFuture.andAllComplete(endings, on: group.next()).whenComplete { _ in continuation.yield(.finished) }
        // Counted from where the measuring begins, so that this beat is one of its seconds.
        let first = -(plan.warmup / 1_000_000_000)
        let beat = Task {
            for second in first... {
                try await Task.sleep(for: .nanoseconds(measuredFrom + second * 1_000_000_000 - BenchClock.now()))
                continuation.yield(.second)
            }
        }
        let listening = Task {
            for await _ in interruptions { continuation.yield(.interrupted) }
        }
        defer {
            beat.cancel()
            listening.cancel()
        }

        var before: ProcessTree.Usage?
        var greatestMemory = 0
        var second = Int(first)
        var end = measuredFrom + plan.duration
        for await event in events {
            if event == .finished { break }
            if event == .interrupted {
                end = min(end, BenchClock.now() + Self.notice)
                let told = loops.map { loop in loop.eventLoop.submit { [end] in loop.value.end(at: end) } }
                for loop in told { try await loop.get() }
                continue
            }
            if second == 0 { before = process?.usage() }
            if second >= 0 { greatestMemory = max(greatestMemory, process?.usage()?.residentBytes ?? 0) }
            try await look(at: loops, second, progress)
            second += 1
        }

        guard end > measuredFrom else { throw InterruptedInWarmup() }
        var recorder = Recorder(start: measuredFrom, end: end)
        for loop in loops { recorder.add(try await loop.eventLoop.submit { loop.value.recorder }.get()) }
        try await throwIfNothingSent(loops, isOver: true)
        return LoadResult(recorder: recorder, duration: end - measuredFrom, usage: usage(since: before, greatestMemory))
    }

    private func look(at loops: [NIOLoopBound<LoadLoop>], _ second: Int, _ progress: ((LoadProgress) -> Void)?) async throws {
        var seen = LoadProgress(seconds: second, requests: 0, errors: 0)
        for loop in loops {
            let counts = try await loop.eventLoop.submit { (loop.value.recorder.requests, loop.value.recorder.errors) }.get()
            seen.requests += counts.0
            seen.errors += counts.1
        }
        progress?(seen)
        do {
            try await throwIfNothingSent(loops, isOver: false)
        } catch {
            // Nobody is there: nobody waits for the end of the schedule.
            for loop in loops { try await loop.eventLoop.submit { loop.value.stop() }.get() }
            throw error
        }
    }

    /// - Parameter isOver: nothing more is to be sent; before, one that is silent for longer than the run may still answer.
    private func throwIfNothingSent(_ loops: [NIOLoopBound<LoadLoop>], isOver: Bool) async throws {
        var reason: FailureKind?
        for loop in loops {
            let (sent, failure) = try await loop.eventLoop.submit { (loop.value.sent, loop.value.openingFailure) }.get()
            guard sent == 0 else { return }
            reason = reason ?? failure
        }
        if let reason = reason ?? (isOver ? .timeout : nil) { throw NothingSent(reason: reason) }
    }

    private func usage(since before: ProcessTree.Usage?, _ greatestMemory: Int) -> ProcessTree.Usage? {
        guard let before, var usage = process?.usage() else { return nil }
        usage.cpuSeconds -= before.cpuSeconds
        usage.residentBytes = max(usage.residentBytes, greatestMemory)
        return usage
    }
}
