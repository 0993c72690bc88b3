// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import Synchronization

/// Requests without end on several kept connections, each on a thread of its own, and what came of them.
package final class RequestLoad: Sendable {
    /// How one request ended.
    package enum Outcome: Sendable, Hashable {
        /// `code` is the rejection's, empty for an answer of the upstream.
        case answer(status: Int, code: String)
        /// No answer, or one that broke off.
        case broken
    }

    /// Between two requests of a connection: constant load, not as much as the machine can do.
    private static let pause: UInt32 = 3000

    private let state = Mutex(State())

    private struct State {
        var counts: [Outcome: Int] = [:]
        var times: [Outcome: [Duration]] = [:]
        var running = 0
        var isStopped = false
    }

    /// - Parameter token: of every request.
    package init(port: Int, connections: Int, token: String, target: String = "/") {
        state.withLock { $0.running = connections }
        for _ in 0..<connections {
            Thread.detachNewThread { [self] in
                var connection: HTTPConnection?
                while !state.withLock({ $0.isStopped }) {
                    let outcome: Outcome
                    let begun = ContinuousClock.now
                    do {
                        let used = try connection ?? HTTPConnection(port: port)
                        connection = used
                        let answer = try used.get(target, token: token)
                        outcome = answer.isWhole ? .answer(status: answer.status, code: answer.code ?? "") : .broken
                        if answer["Connection"].contains("close") { connection = nil }
                    } catch {
                        outcome = .broken
                    }
                    if outcome == .broken { connection = nil }
                    let time = ContinuousClock.now - begun
                    state.withLock {
                        $0.counts[outcome, default: 0] += 1
                        $0.times[outcome, default: []].append(time)
                    }
                    usleep(Self.pause)
                }
                state.withLock { $0.running -= 1 }
            }
        }
    }

    /// How many requests ended how, so far.
    package var counts: [Outcome: Int] { state.withLock { $0.counts } }

    package func count(_ outcome: Outcome) -> Int { state.withLock { $0.counts[outcome] ?? 0 } }

    package func count(_ status: Int, _ code: String = "") -> Int { count(.answer(status: status, code: code)) }

    /// How long the given part of the requests that ended so took at most, since this was last asked about them; nil: there were none.
    package func quantile(_ part: Double, _ status: Int, _ code: String = "") -> Duration? {
        let times = state.withLock { $0.times.removeValue(forKey: .answer(status: status, code: code)) }?.sorted() ?? []
        return times.isEmpty ? nil : times[min(times.count - 1, Int(Double(times.count) * part))]
    }

    /// Waits for some more requests that end so.
    package func more(_ count: Int, _ status: Int, _ code: String = "", within: Duration = .seconds(20)) async throws {
        let before = self.count(status, code)
        do {
            try await eventually("\(count) more of \(status) \(code)", within: within) { self.count(status, code) >= before + count }
        } catch {
            throw NotInTime(description: "\(error): \(counts)")
        }
    }

    /// Returns when the last request has ended.
    package func stop() async throws {
        state.withLock { $0.isStopped = true }
        try await eventually("the load ends", within: .seconds(30)) { self.state.withLock { $0.running == 0 } }
    }
}
