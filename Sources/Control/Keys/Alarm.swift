// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Synchronization

/// Lets one task sleep until its time is over or somebody rings. A ring while nobody sleeps is kept for the next sleep; further ones are the same ring.
final class Alarm: Sendable {
    private struct State {
        var hasRung = false
        var sleeper: CheckedContinuation<Void, Never>?
        /// Counts sleeps: a timer that fires late ends no later one.
        var sleep = 0
        /// The last sleep whose time is over, also before it had begun in earnest.
        var over = 0
    }

    private let state = Mutex(State())

    func ring() {
        let sleeper = state.withLock { state in
            state.hasRung = state.sleeper == nil
            defer { state.sleeper = nil }
            return state.sleeper
        }
        sleeper?.resume()
    }

    /// Returns after `limit`, when it has rung, or when the task is cancelled.
    func sleep(atMost limit: Duration) async {
        let number = state.withLock { state in
            state.sleep += 1
            return state.sleep
        }
        let timer = Task {
            guard (try? await Task.sleep(for: limit)) != nil else { return }
            self.end(number)
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    guard !state.hasRung, !Task.isCancelled, state.over < number else {
                        state.hasRung = false
                        return true
                    }
                    state.sleeper = continuation
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            ring()
        }
        timer.cancel()
    }

    private func end(_ number: Int) {
        let sleeper = state.withLock { state -> CheckedContinuation<Void, Never>? in
            state.over = number
            guard state.sleep == number else { return nil }
            defer { state.sleeper = nil }
            return state.sleeper
        }
        sleeper?.resume()
    }
}
