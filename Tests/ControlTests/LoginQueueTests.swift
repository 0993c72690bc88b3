// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc
import Testing

@testable import Control

@Suite("Login queue")
struct LoginQueueTests {
    @Test("lets 64 and more wait, refuses what is over its limit, and serves those that wait in the order of their coming")
    func bounded() async {
        let queue = LoginQueue(turns: 1)
        let (gate, open) = AsyncStream<Void>.makeStream()
        let started = AsyncStream<Void>.makeStream()
        let holder = Task {
            await queue.withTurn {
                started.continuation.yield()
                for await _ in gate {}
            }
        }
        for await _ in started.stream { break }
        #expect(LoginQueue.waitingLimit >= 64)
        let results = await withTaskGroup(of: Bool.self) { tasks in
            for _ in 0..<(LoginQueue.waitingLimit + 5) { tasks.addTask { await queue.withTurn { true } ?? false } }
            var results: [Bool] = []
            // The refused come back first: nobody else can, as long as the turn is held.
            for await result in tasks {
                results.append(result)
                if results.count == 5 { open.finish() }
            }
            return results
        }
        #expect(results.prefix(5).allSatisfy { !$0 } && results.filter { $0 }.count == LoginQueue.waitingLimit)
        _ = await holder.value
    }

    @Test("refuses what has waited for its time, and gives the turn to the next all the same")
    func patience() async {
        let queue = LoginQueue(turns: 1, timeLimit: .milliseconds(20))
        let (gate, open) = AsyncStream<Void>.makeStream()
        let started = AsyncStream<Void>.makeStream()
        let holder = Task {
            await queue.withTurn {
                started.continuation.yield()
                for await _ in gate {}
            }
        }
        for await _ in started.stream { break }
        for _ in 0..<3 { #expect(await queue.withTurn { true } == nil) }
        open.finish()
        _ = await holder.value
        for _ in 0..<3 { #expect(await queue.withTurn { true } == true) }
    }
}

@Suite("Hashing pool")
struct HashingPoolTests {
    @Test("hashes at a lower priority than that of whoever asks, which stays as it is")
    func priority() async {
        let own = niceness()
        let pool = HashingPool(threads: 2)
        let hashed = await pool.hash { niceness() }
        #expect(hashed == min(19, own + 10) && niceness() == own)
        await pool.shutDown()
        #expect(await pool.hash { true } == nil, "nobody knows")
    }
}

/// Of this thread.
private func niceness() -> Int32 { getpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0) }
