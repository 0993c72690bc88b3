// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import RedisClient
import Sessions
import Synchronization
import WallTime

/// When sessions of a loop were last used, gathered and written in batches. Confined to the loop.
///
/// Time is cut into turns, which end with a timer that is there only while sessions are used: one timer a loop, whatever their number. A request
/// costs one comparison of integers; the first one of a session in a turn also looks at the clock, and is noted when the last note is a minute old.
/// Other tokens, loops and gateways have notes of the same session: Redis writes the first of a minute and leaves the rest (`SessionScripts.noteUse`).
///
/// The key is the record's, which nobody's cache depends on. What cannot be written is dropped, as nothing depends on it either.
final class UseNotes {
    /// Notes that wait on a loop, each of some hundred bytes. What is over it is noted in a later turn, if it is still used then.
    static let limit = 8192

    private let eventLoop: any EventLoop
    private let keys: SessionKeys
    private let tick: TimeAmount
    private let now: @Sendable () -> UnixMilliseconds
    private let write: @Sendable ([UseNote]) -> Bool
    private var turn: UInt64 = 1
    private var isTicking = false
    private var waiting: [UseNote] = []

    /// - Parameters:
    ///   - tick: how long a turn is.
    ///   - write: what is done with the notes of a turn; returns at once, false if they have to wait for another turn.
    init(
        eventLoop: any EventLoop, keys: SessionKeys, tick: TimeAmount, now: @escaping @Sendable () -> UnixMilliseconds = systemTime,
        write: @escaping @Sendable ([UseNote]) -> Bool
    ) {
        self.eventLoop = eventLoop
        self.keys = keys
        self.tick = tick
        self.now = now
        self.write = write
    }

    /// A request is made with the session. The hot path.
    func note(_ reference: SessionReference) {
        guard reference.notedTurn != turn else { return }
        beginTurn(reference)
    }

    private func beginTurn(_ reference: SessionReference) {
        eventLoop.assertInEventLoop()
        reference.notedTurn = turn
        // Sessions of revocable issuers have no record.
        guard reference.kind == .registered else { return }
        startTicking()
        let now = now()
        guard now - reference.notedAt >= UseOfSession.interval, waiting.count < Self.limit else { return }
        reference.notedAt = now
        waiting.append(UseNote(record: keys.record(reference.session, reference.user), at: now))
    }

    private func endTurn() {
        turn += 1
        isTicking = false
        guard !waiting.isEmpty else { return }
        if write(waiting) { waiting = [] } else { startTicking() }
    }

    private func startTicking() {
        guard !isTicking else { return }
        isTicking = true
        eventLoop.assumeIsolated().scheduleTask(in: tick) { [weak self] in self?.endTurn() }
    }
}

@available(*, unavailable)
extension UseNotes: Sendable {}

/// That the session of this record was used then.
struct UseNote: Sendable {
    let record: [UInt8]
    let at: UnixMilliseconds
}

/// Writes notes of one loop over the store's shared connection. Any thread.
final class UseWriter: Sendable {
    /// Notes in one go, so that what others send over the connection does not wait behind many.
    private static let batch = 100

    private let connections: RedisConnections
    private let isWriting = Atomic(false)

    init(_ connections: RedisConnections) { self.connections = connections }

    /// Returns at once: false while those before are still being written. Where Redis is away the notes are dropped.
    func write(_ notes: [UseNote]) -> Bool {
        guard connections.isConnected else { return true }
        guard !isWriting.exchange(true, ordering: .acquiring) else { return false }
        Task {
            for start in stride(from: 0, to: notes.count, by: Self.batch) {
                let calls = notes[start..<min(start + Self.batch, notes.count)].map { note in
                    (keys: [note.record], arguments: [Array(String(note.at).utf8), Array(String(UseOfSession.interval).utf8)])
                }
                guard (try? await connections.runEach(SessionScripts.noteUse, calls)) != nil else { break }
            }
            isWriting.store(false, ordering: .releasing)
        }
        return true
    }
}
