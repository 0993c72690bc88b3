// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import Synchronization

/// A TCP relay in front of a server on this machine that can be slow, silent, garbled, cut, or lead elsewhere.
package final class TCPRelay: Sendable {
    /// What becomes of the bytes that the server sends.
    package enum Replies: Sendable {
        case passed
        /// They wait, in order, until they are not held any more: a network that has stopped in one direction.
        case held
        /// One byte after the other, with this pause before each.
        case dribbled(pause: Duration)
        case altered(@Sendable ([UInt8]) -> [UInt8])
    }

    private let server: FakeServer
    private let settings: Settings

    private final class Settings: Sendable {
        let target: Mutex<Int>
        let delay = Mutex(Duration.zero)
        let replies = Mutex(Replies.passed)
        let silent = Atomic(false)
        let turns = Atomic(0)
        let isTargetsTurn = Atomic(false)

        init(target: Int) { self.target = Mutex(target) }
    }

    package init(to target: Int) throws {
        let settings = Settings(target: target)
        self.settings = settings
        server = try FakeServer { connection in
            guard let upstream = try? LoopbackSocket(port: settings.target.withLock { $0 }, timeout: nil) else { return }
            let back = connection.socket
            let (asked, answered) = (DelayLine(settings), DelayLine(settings))
            Thread.detachNewThread { asked.empty { upstream.write($0) } }
            Thread.detachNewThread {
                answered.empty { Self.answer($0, to: back, settings) }
                back.shutdown()
            }
            Thread.detachNewThread {
                answered.fill(from: upstream) { settings.isTargetsTurn.store(false, ordering: .relaxed) }
            }
            asked.fill(from: back) {
                if !settings.isTargetsTurn.exchange(true, ordering: .relaxed) { settings.turns.add(1, ordering: .relaxed) }
            }
            upstream.shutdown()
        }
    }

    package var port: Int { server.port }

    /// Where connections lead that are made from now on; those that are open stay.
    package var target: Int {
        get { settings.target.withLock { $0 } }
        set { settings.target.withLock { $0 = newValue } }
    }

    /// Added to every piece of data in both directions; pieces travel at the same time, as on a long wire.
    package var delay: Duration {
        get { settings.delay.withLock { $0 } }
        set { settings.delay.withLock { $0 = newValue } }
    }

    package var replies: Replies {
        get { settings.replies.withLock { $0 } }
        set { settings.replies.withLock { $0 = newValue } }
    }

    /// Whether data is swallowed while connections stay open: a network that loses everything.
    package var isSilent: Bool {
        get { settings.silent.load(ordering: .relaxed) }
        set { settings.silent.store(newValue, ordering: .relaxed) }
    }

    /// Round trips so far, over all connections: how often a client has said something after the server had.
    package var roundTrips: Int { settings.turns.load(ordering: .relaxed) }

    package var acceptedConnections: Int { server.acceptedConnections }

    /// Ends every open connection; new ones are accepted.
    package func cut() { server.cut() }

    package func stop() { server.stop() }

    private static func answer(_ bytes: [UInt8], to client: LoopbackSocket, _ settings: Settings) -> Bool {
        while case .held = settings.replies.withLock({ $0 }) { usleep(1000) }
        switch settings.replies.withLock({ $0 }) {
        case .dribbled(let pause):
            return bytes.allSatisfy { byte in
                usleep(pause.inMicroseconds)
                return client.write([byte])
            }
        case .altered(let alter): return client.write(alter(bytes))
        case .passed, .held: return client.write(bytes)
        }
    }

    /// What is under way in one direction, filled by one thread and emptied by another.
    private final class DelayLine: @unchecked Sendable {
        private let settings: Settings
        // Guards what follows.
        private let condition = NSCondition()
        private var pieces: [(due: ContinuousClock.Instant, bytes: [UInt8])] = []
        private var hasEnded = false

        init(_ settings: Settings) { self.settings = settings }

        func fill(from source: LoopbackSocket, passes: () -> Void) {
            while true {
                let bytes = source.read()
                if !bytes.isEmpty { passes() }
                let delay = settings.delay.withLock { $0 }
                condition.lock()
                defer { condition.unlock() }
                if bytes.isEmpty { hasEnded = true } else { pieces.append((.now + delay, bytes)) }
                condition.signal()
                if bytes.isEmpty { return }
            }
        }

        func empty(into write: ([UInt8]) -> Bool) {
            while let piece = next() {
                let rest = piece.due - .now
                if rest > .zero { usleep(rest.inMicroseconds) }
                if settings.silent.load(ordering: .relaxed) { continue }
                guard write(piece.bytes) else { return }
            }
        }

        private func next() -> (due: ContinuousClock.Instant, bytes: [UInt8])? {
            condition.lock()
            defer { condition.unlock() }
            while pieces.isEmpty, !hasEnded { condition.wait() }
            return pieces.isEmpty ? nil : pieces.removeFirst()
        }
    }
}

extension Duration {
    fileprivate var inMicroseconds: UInt32 { UInt32(components.seconds * 1_000_000 + components.attoseconds / 1_000_000_000_000) }
}
