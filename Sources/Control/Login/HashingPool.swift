// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOPosix
import Synchronization

/// Hashes passwords on threads of its own, so that neither an event loop nor Swift's shared executor waits for them, and bounds how many wait.
///
/// A login holds one of `threads` turns from the moment its failures are looked up until they are counted: so no more logins than that can
/// run ahead of the counters (`LoginThrottle`).
final class HashingPool: Sendable {
    /// Logins that wait for a turn before the next is refused; contract §5 promises at least 64.
    static let waitingLimit = 128

    private struct State {
        var free: Int
        /// In the order of their coming; resumed with true when a turn is theirs.
        var waiting: [CheckedContinuation<Bool, Never>] = []
    }

    private let threads: NIOThreadPool
    private let state: Mutex<State>

    /// `threads`: how many hashes are computed at once.
    init(threads: Int) {
        self.threads = NIOThreadPool(numberOfThreads: threads)
        self.threads.start()
        state = Mutex(State(free: threads))
    }

    func shutDown() async {
        try? await threads.shutdownGracefully()
    }

    /// Runs `body` in a turn; nil where too many wait already.
    func withTurn<Result: Sendable>(_ body: () async -> Result) async -> Result? {
        guard await takeTurn() else { return nil }
        let result = await body()
        passOn()
        return result
    }

    /// Runs the hashing itself on a thread of the pool, inside a turn. Nil when the pool has been shut down: then nobody knows.
    func hash(_ work: @escaping @Sendable () -> Bool) async -> Bool? {
        try? await threads.runIfActive(work)
    }

    private func takeTurn() async -> Bool {
        await withCheckedContinuation { continuation in
            let answer = state.withLock { state -> Bool? in
                if state.free > 0 {
                    state.free -= 1
                    return true
                }
                guard state.waiting.count < Self.waitingLimit else { return false }
                state.waiting.append(continuation)
                return nil
            }
            if let answer { continuation.resume(returning: answer) }
        }
    }

    private func passOn() {
        let next = state.withLock { state -> CheckedContinuation<Bool, Never>? in
            if state.waiting.isEmpty {
                state.free += 1
                return nil
            }
            return state.waiting.removeFirst()
        }
        next?.resume(returning: true)
    }
}
