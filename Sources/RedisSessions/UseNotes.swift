// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import RedisClient
import Sessions
import Synchronization

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
    private let writer: UseWriter
    private var turn: UInt64 = 1
    private var isTicking = false
    private var waiting: [UseWriter.Note] = []

    init(eventLoop: any EventLoop, keys: SessionKeys, tick: TimeAmount, writer: UseWriter) {
        self.eventLoop = eventLoop
        self.keys = keys
        self.tick = tick
        self.writer = writer
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
        if !isTicking {
            isTicking = true
            eventLoop.assumeIsolated().scheduleTask(in: tick) { [weak self] in self?.endTurn() }
        }
        let now = systemMilliseconds()
        guard now - reference.notedAt >= UseOfSession.interval, waiting.count < Self.limit else { return }
        reference.notedAt = now
        waiting.append(UseWriter.Note(record: keys.record(reference.session, reference.user), at: now))
    }

    private func endTurn() {
        turn += 1
        isTicking = false
        guard !waiting.isEmpty else { return }
        writer.write(waiting)
        waiting = []
    }
}

@available(*, unavailable)
extension UseNotes: Sendable {}

/// Writes notes of one loop over the store's shared connection. Any thread.
final class UseWriter: Sendable {
    struct Note: Sendable {
        let record: [UInt8]
        let at: UnixMilliseconds
    }

    /// Notes in one go, so that what others send over the connection does not wait behind many.
    private static let batch = 100

    private let client: RedisClient
    private let isWriting = Atomic(false)

    init(_ client: RedisClient) { self.client = client }

    /// Returns at once. Drops the notes where Redis is away, or has not finished with those before.
    func write(_ notes: [Note]) {
        guard client.isConnected, !isWriting.exchange(true, ordering: .acquiring) else { return }
        Task {
            for start in stride(from: 0, to: notes.count, by: Self.batch) {
                let calls = notes[start..<min(start + Self.batch, notes.count)].map { note in
                    (keys: [note.record], arguments: [Array(String(note.at).utf8), Array(String(UseOfSession.interval).utf8)])
                }
                guard (try? await client.runEach(SessionScripts.noteUse, calls)) != nil else { break }
            }
            isWriting.store(false, ordering: .releasing)
        }
    }
}
