// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Logging
import NIOCore
import RedisClient
import Synchronization
import WallTime

/// Copies the audit log into a Redis stream, `audit` under the prefix: an entry for each line, with the line's members as its fields.
///
/// Nobody waits for it. Entries queue up to a limit and leave in batches on a connection of their own; what finds no room, and what Redis did not
/// take or may not have taken, is dropped and counted, and never sent twice. The lines themselves are elsewhere (standard output), and whole.
package final class AuditStream: Sendable {
    /// `logging.audit_stream`.
    package struct Rules: Sendable, Equatable {
        /// About so many are kept, the newest; Redis drops whole nodes of its tree, so there may be some hundred more.
        package var maxEntries: Int
        /// Milliseconds that an entry is kept, and the stream after its last entry.
        package var retain: Int64

        package init(maxEntries: Int, retain: Int64) {
            self.maxEntries = maxEntries
            self.retain = retain
        }
    }

    /// Entries that wait while Redis is away; at 300 bytes each 3 MB.
    static let queueLimit = 10_000
    /// Entries of one write: few enough to leave Redis to others in between.
    static let batchLimit = 200
    /// Between two attempts while Redis is away.
    private static let retryPause = Duration.milliseconds(500)
    /// How long the end of the process waits for what is left, and then for what cannot be written to be counted; longer than `retryPause`.
    package static let closePatience = Duration.seconds(1)

    fileprivate struct State {
        var isOn = false
        /// Those of the last time that it was on.
        var rules: Rules?
        /// Names and values in turn.
        var queue: [[[UInt8]]] = []
        var dropped = 0
        /// Whether a task writes.
        var isWriting = false
        var isClosed = false
        /// Nothing is tried again.
        var isOver = false
        /// The log has been told that entries are dropped, and not yet that they no longer are.
        var isOutage = false
    }

    private let state = Mutex(State())
    private let connections: RedisConnections
    private let key: [UInt8]
    private let logger: Logger
    private let closePatience: Duration

    /// Connects when it is first switched on.
    package init(
        topology: RedisTopology, configuration: RedisConfiguration, keyPrefix: String, eventLoop: any EventLoop, logger: Logger,
        closePatience: Duration = closePatience
    ) {
        connections = RedisConnections(eventLoop: eventLoop, topology: topology, configuration: configuration, logger: logger)
        key = SessionKeys(prefix: keyPrefix).audit
        self.logger = logger
        self.closePatience = closePatience
    }

    /// Nil switches it off; what waits is still written.
    package func update(_ rules: Rules?) {
        state.withLock { state in
            state.isOn = rules != nil && !state.isClosed
            state.rules = rules ?? state.rules
        }
        if rules != nil { connections.start() }
    }

    /// Entries that the stream does not have, or perhaps not.
    package var dropped: Int { state.withLock { $0.dropped } }

    /// One entry. Returns at once, from any thread.
    package func append(_ fields: [(name: String, value: String)]) {
        let entry = fields.flatMap { [Array($0.name.utf8), Array($0.value.utf8)] }
        let (starts, isNews) = state.withLock { state -> (Bool, Bool) in
            guard state.isOn, !state.isClosed, !entry.isEmpty else { return (false, false) }
            guard state.queue.count < Self.queueLimit else { return (false, state.drop(1)) }
            state.queue.append(entry)
            defer { state.isWriting = true }
            return (!state.isWriting, false)
        }
        if isNews { tell("too many wait") }
        if starts { Task { await write() } }
    }

    /// Writes what is left if that is soon done, and ends the connection.
    package func close() async {
        state.withLock { $0.isClosed = true }
        await writingEnds()
        state.withLock { $0.isOver = true }
        try? await connections.close().get()
        await writingEnds()
    }

    private func writingEnds() async {
        let end = ContinuousClock.now + closePatience
        while state.withLock({ $0.isWriting }), .now < end { try? await Task.sleep(for: .milliseconds(5)) }
    }

    // MARK: Writing

    /// Until the queue is empty; one task at a time.
    private func write() async {
        while let (batch, commands) = next() {
            do throws(RedisFailure) {
                settle(try await connections.callAll(commands, slot: RedisSlot(key: key)).prefix(batch.count))
            } catch {
                if error.wasSent {
                    lose(batch.count, "Redis did not answer")
                } else if state.withLock({ $0.isOver }) {
                    lose(batch.count, "the process ends")
                } else {
                    giveBack(batch)
                    try? await Task.sleep(for: Self.retryPause)
                }
            }
        }
    }

    private func next() -> (batch: ArraySlice<[[UInt8]]>, commands: [RedisCommand])? {
        let (batch, rules) = state.withLock { state -> (ArraySlice<[[UInt8]]>, Rules?) in
            let batch = state.queue.prefix(Self.batchLimit)
            state.queue.removeFirst(batch.count)
            if batch.isEmpty { state.isWriting = false }
            return (batch, state.rules)
        }
        guard !batch.isEmpty, let rules else { return nil }
        return (batch, batch.map { add($0, rules) } + trim(rules))
    }

    private func add(_ entry: [[UInt8]], _ rules: Rules) -> RedisCommand {
        RedisCommand(words("XADD") + [key] + words("MAXLEN", "~", "\(rules.maxEntries)", "*") + entry)
    }

    /// What is too old goes, and at last the stream itself: every key has an end (contract §7).
    private func trim(_ rules: Rules) -> [RedisCommand] {
        [
            RedisCommand(words("XTRIM") + [key] + words("MINID", "~", "\(systemTime() - rules.retain)")),
            RedisCommand(words("PEXPIRE") + [key] + words("\(rules.retain)")),
        ]
    }

    private func words(_ words: String...) -> [[UInt8]] { words.map { Array($0.utf8) } }

    private func settle(_ replies: ArraySlice<RedisReply>) {
        let refused = replies.filter { $0.bytes == nil }
        if !refused.isEmpty { lose(refused.count, "Redis refused: \(refused[0].errorCode ?? "ERR")") }
        guard refused.isEmpty else { return }
        let dropped = state.withLock { state -> Int? in
            defer { state.isOutage = false }
            return state.isOutage ? state.dropped : nil
        }
        if let dropped { logger.notice("The audit stream is written again", metadata: ["dropped": "\(dropped)"]) }
    }

    /// As long as there is room for it; what came last goes first.
    private func giveBack(_ batch: ArraySlice<[[UInt8]]>) {
        let isNews = state.withLock { state in
            state.queue.insert(contentsOf: batch, at: 0)
            let surplus = max(0, state.queue.count - Self.queueLimit)
            state.queue.removeLast(surplus)
            return surplus > 0 && state.drop(surplus)
        }
        if isNews { tell("too many wait") }
    }

    private func lose(_ count: Int, _ reason: String) {
        if state.withLock({ $0.drop(count) }) { tell(reason) }
    }

    /// Once for each outage; how many there were is said at its end.
    private func tell(_ reason: String) {
        logger.warning("Entries of the audit stream are dropped", metadata: ["reason": "\(reason)"])
    }
}

extension AuditStream.State {
    /// Returns whether that is news.
    fileprivate mutating func drop(_ count: Int) -> Bool {
        dropped += count
        defer { isOutage = true }
        return !isOutage
    }
}
