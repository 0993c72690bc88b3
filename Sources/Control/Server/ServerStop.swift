// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Synchronization

/// Shuts a server down when that is asked for, but not before it runs: one that is shut down while it binds would be dropped half made.
final class ServerStop: Sendable {
    private struct State {
        var isRunning = false
        var isRequested = false
        var action: (@Sendable () -> Void)?
    }

    private let state = Mutex(State())

    /// What shuts the server down; done at most once.
    func set(_ action: @escaping @Sendable () -> Void) {
        act { $0.action = action }
    }

    func isRunning() {
        act { $0.isRunning = true }
    }

    func request() {
        act { $0.isRequested = true }
    }

    private func act(_ change: (inout State) -> Void) {
        let action = state.withLock { state -> (@Sendable () -> Void)? in
            change(&state)
            guard state.isRunning, state.isRequested else { return nil }
            defer { state.action = nil }
            return state.action
        }
        action?()
    }
}
