// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Logging
import NIOCore
import ServiceLifecycle
import Synchronization
import Tokens

/// Keeps the key sets of other issuers that are published at a URL: asked at the start, every `refresh`, and when a token names a key that is not there.
///
/// One for the life of the process; a reload tells it the sources (`update`). The last good keys stay while fetching fails.
package final class KeySetFetcher: Service, Sendable {
    /// One issuer as it is looked after.
    private struct Entry {
        var source: KeySource
        var keys: KeySet?
        var schedule = KeyFetchSchedule()
        /// What the log says of it now; nil: nothing is wrong.
        var failure: String?
        /// Wakes the source's task before its time.
        let alarm: Alarm
        let task: Task<Void, Never>
        /// Whether the source has been tried since it is known.
        var tried = false
    }

    private struct State {
        var entries: [String: Entry] = [:]
        var isRunning = false
        var sources: [KeySource]
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state: Mutex<State>
    private let download: KeySetDownload
    private let logger: Logger
    private let changed: @Sendable (String) -> Void

    /// - Parameter changed: told the issuer's name when its keys are other ones than before; called from a task of the fetcher's, or from `update`.
    package init(
        sources: [KeySource], eventLoopGroup: any EventLoopGroup, logger: Logger, changed: @escaping @Sendable (_ issuer: String) -> Void
    ) {
        state = Mutex(State(sources: sources))
        download = KeySetDownload(group: eventLoopGroup)
        self.logger = logger
        self.changed = changed
    }

    /// The last good keys; nil where they have never been had: `keys_unavailable`.
    package func keys(of issuer: String) -> KeySet? {
        state.withLock { $0.entries[issuer]?.keys }
    }

    /// The last good keys of this source, also before an `update` makes it one that is looked after: nil where what was fetched is of another.
    package func keys(for source: KeySource) -> KeySet? {
        state.withLock { state in
            guard let entry = state.entries[source.issuer], source.hasKeys(of: entry.source) else { return nil }
            return entry.keys
        }
    }

    /// A reload. An issuer whose keys come from where they came from keeps them.
    package func update(sources: [KeySource]) {
        state.withLock { state in
            state.sources = sources
            if state.isRunning { follow(&state) }
        }
        Task { await download.keep(sources) }
    }

    /// A token named a key that the issuer's set does not have. From any thread; returns at once.
    package func keyUnknown(_ issuer: String) {
        state.withLock { state in
            guard state.entries[issuer]?.schedule.asksForUnknown(at: .now) == true else { return }
            state.entries[issuer]?.alarm.ring()
        }
    }

    /// Returns when each source has been tried once, or after `limit`: so that tokens of issuers that are there are accepted from the first request on.
    package func firstAttempts(within limit: Duration) async {
        await withTaskGroup(of: Void.self) { tasks in
            tasks.addTask { await self.allTried() }
            tasks.addTask {
                try? await Task.sleep(for: limit)
                self.state.withLock { Self.release(&$0) }
            }
            await tasks.next()
            tasks.cancelAll()
        }
    }

    /// Fetches until graceful shutdown or cancellation.
    package func run() async {
        state.withLock { state in
            state.isRunning = true
            follow(&state)
        }
        let (stopped, stop) = AsyncStream<Void>.makeStream()
        await withTaskCancellationOrGracefulShutdownHandler {
            for await _ in stopped {}
        } onCancelOrGracefulShutdown: {
            stop.finish()
        }
        state.withLock { state in
            for entry in state.entries.values { entry.task.cancel() }
            state.entries = [:]
            state.isRunning = false
            Self.release(&state)
        }
        await download.shutDown()
    }

    /// Brings the tasks in line with the sources.
    private func follow(_ state: inout State) {
        var entries: [String: Entry] = [:]
        for source in state.sources where entries[source.issuer] == nil {
            if let entry = state.entries.removeValue(forKey: source.issuer) {
                if entry.source == source {
                    entries[source.issuer] = entry
                    continue
                }
                entry.task.cancel()
                entries[source.issuer] = begin(source, keys: source.hasKeys(of: entry.source) ? entry.keys : nil)
            } else {
                entries[source.issuer] = begin(source, keys: nil)
            }
        }
        for gone in state.entries.values { gone.task.cancel() }
        state.entries = entries
        if entries.values.allSatisfy(\.tried) { Self.release(&state) }
    }

    private func begin(_ source: KeySource, keys: KeySet?) -> Entry {
        let alarm = Alarm()
        let task = Task { await look(after: source, alarm) }
        return Entry(source: source, keys: keys, alarm: alarm, task: task, tried: keys != nil)
    }

    private func look(after source: KeySource, _ alarm: Alarm) async {
        while !Task.isCancelled {
            let outcome = await download.keys(of: source)
            guard !Task.isCancelled else { return }
            await alarm.sleep(atMost: settle(outcome, source))
        }
    }

    /// Keeps what was fetched and says how long to wait.
    private func settle(_ outcome: Result<KeySet, KeySetDownload.Failure>, _ source: KeySource) -> Duration {
        let succeeded = (try? outcome.get()) != nil
        let (pause, isChanged, isNews) = state.withLock { state -> (Duration, Bool, Bool) in
            guard var entry = state.entries[source.issuer], entry.source == source else { return (.zero, false, false) }
            var isChanged = false
            let before = entry.failure
            switch outcome {
            case .success(let keys):
                isChanged = entry.keys != keys
                entry.keys = keys
                entry.failure = nil
            case .failure(let failure): entry.failure = "\(failure)"
            }
            entry.tried = true
            let pause = entry.schedule.pause(succeeded: succeeded, refresh: .milliseconds(source.refresh))
            state.entries[source.issuer] = entry
            return (pause, isChanged, entry.failure != before)
        }
        switch outcome {
        case .success(let keys):
            if isNews { logger.notice("An issuer's keys can be fetched again", metadata: ["issuer": "\(source.issuer)"]) }
            if isChanged {
                logger.info("An issuer's keys are new", metadata: ["issuer": "\(source.issuer)", "keys": "\(keys.keys.count)"])
                for warning in keys.warnings {
                    logger.warning("A key of an issuer is left out", metadata: ["issuer": "\(source.issuer)", "reason": "\(warning)"])
                }
                changed(source.issuer)
            }
        case .failure(let failure):
            // Each cause once: those that follow are no news.
            logger.log(
                level: isNews ? .warning : .debug, "An issuer's keys could not be fetched",
                metadata: ["issuer": "\(source.issuer)", "reason": "\(failure)"])
        }
        state.withLock { state in
            if state.entries.values.allSatisfy(\.tried) { Self.release(&state) }
        }
        return pause
    }

    private func allTried() async {
        await withCheckedContinuation { continuation in
            let done = state.withLock { state in
                let done = state.isRunning && state.entries.values.allSatisfy(\.tried) || state.sources.isEmpty
                if !done { state.waiting.append(continuation) }
                return done
            }
            if done { continuation.resume() }
        }
    }

    private static func release(_ state: inout State) {
        for waiting in state.waiting { waiting.resume() }
        state.waiting = []
    }
}
