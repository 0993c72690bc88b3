// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc
import NIOPosix

/// Hashes passwords on threads of its own, so that neither an event loop nor Swift's shared executor waits for them, and behind them in the
/// scheduler's order: a flood of logins must not slow requests that are forwarded.
final class HashingPool: Sendable {
    /// Added to the niceness of the process (setpriority(2)), which on Linux is each thread's own.
    private static let addedNiceness: Int32 = 10
    /// The nicest there is.
    private static let greatestNiceness: Int32 = 19

    private let threads: NIOThreadPool
    private let niceness: Int32

    /// `threads`: how many hashes are computed at once.
    init(threads: Int) {
        niceness = min(Self.greatestNiceness, getpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0) + Self.addedNiceness)
        self.threads = NIOThreadPool(numberOfThreads: threads)
        self.threads.start()
    }

    func shutDown() async {
        try? await threads.shutdownGracefully()
    }

    /// Runs the hashing itself on a thread of the pool. Nil when the pool has been shut down: then nobody knows.
    func hash<Result: Sendable>(_ work: @escaping @Sendable () -> Result) async -> Result? {
        try? await threads.runIfActive { [niceness] in
            // Each time, as it costs less than knowing which thread has it already: a system call of a thread that is about to work for milliseconds.
            setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, niceness)
            return work()
        }
    }
}
