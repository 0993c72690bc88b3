// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Synchronization

/// Opens when all sockets are bound, or tells those who wait that one cannot be. What it said first, it says for ever.
final class ListeningLatch: Sendable {
    private struct State {
        var missing: Int
        var outcome: Result<Void, ControlFailure>?
        var waiting: [CheckedContinuation<Result<Void, ControlFailure>, Never>] = []
    }

    private let state: Mutex<State>

    init(sockets: Int) {
        state = Mutex(State(missing: sockets))
    }

    func bound() {
        settle { state in
            state.missing -= 1
            return state.missing == 0 ? .success(()) : nil
        }
    }

    func failed(_ failure: ControlFailure) {
        settle { _ in .failure(failure) }
    }

    func wait() async throws(ControlFailure) {
        let outcome = await withCheckedContinuation { continuation in
            let known = state.withLock { state in
                if state.outcome == nil { state.waiting.append(continuation) }
                return state.outcome
            }
            if let known { continuation.resume(returning: known) }
        }
        try outcome.get()
    }

    private func settle(_ event: (inout State) -> Result<Void, ControlFailure>?) {
        let (outcome, waiting) = state.withLock { state in
            guard state.outcome == nil, let outcome = event(&state) else {
                return (Result<Void, ControlFailure>?.none, [] as [CheckedContinuation<Result<Void, ControlFailure>, Never>])
            }
            state.outcome = outcome
            defer { state.waiting = [] }
            return (outcome, state.waiting)
        }
        guard let outcome else { return }
        for continuation in waiting { continuation.resume(returning: outcome) }
    }
}
