// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Synchronization

/// Bounds how many logins are judged at once and how many wait, each for how long, so that neither slow hashes nor a slow login endpoint pile
/// them up. Safe to use from any task.
final class LoginQueue: Sendable {
    /// Logins that wait for a turn before the next is refused; contract §5 promises at least 64.
    static let waitingLimit = 128
    /// What waits for longer is refused: below the time that the data plane waits for an answer of the session API, with what a turn takes after it.
    static let waitingTimeLimit = Duration.seconds(20)

    private struct Waiter {
        let number: UInt64
        /// Resumed with true when a turn is its, with false when its time is over.
        let continuation: CheckedContinuation<Bool, Never>
        let timer: Task<Void, Never>
    }

    private struct State {
        var free: Int
        /// In the order of their coming.
        var waiting: [Waiter] = []
        var lastNumber: UInt64 = 0
    }

    private let state: Mutex<State>
    private let timeLimit: Duration

    /// `turns`: how many logins are judged at once.
    init(turns: Int, timeLimit: Duration = waitingTimeLimit) {
        state = Mutex(State(free: turns))
        self.timeLimit = timeLimit
    }

    /// Runs `body` in a turn; nil where too many wait already, or it has waited too long.
    func withTurn<Result: Sendable>(_ body: () async throws -> Result) async rethrows -> Result? {
        guard await takeTurn() else { return nil }
        defer { passOn() }
        return try await body()
    }

    private func takeTurn() async -> Bool {
        await withCheckedContinuation { continuation in
            let answer = state.withLock { state -> Bool? in
                if state.free > 0 {
                    state.free -= 1
                    return true
                }
                guard state.waiting.count < Self.waitingLimit else { return false }
                state.lastNumber += 1
                let number = state.lastNumber
                let timer = Task { [timeLimit] in
                    guard (try? await Task.sleep(for: timeLimit)) != nil else { return }
                    self.giveUp(number)
                }
                state.waiting.append(Waiter(number: number, continuation: continuation, timer: timer))
                return nil
            }
            if let answer { continuation.resume(returning: answer) }
        }
    }

    private func giveUp(_ number: UInt64) {
        let given = state.withLock { state in
            state.waiting.firstIndex { $0.number == number }.map { state.waiting.remove(at: $0) }
        }
        given?.continuation.resume(returning: false)
    }

    private func passOn() {
        let next = state.withLock { state -> Waiter? in
            if state.waiting.isEmpty {
                state.free += 1
                return nil
            }
            return state.waiting.removeFirst()
        }
        next?.timer.cancel()
        next?.continuation.resume(returning: true)
    }
}
