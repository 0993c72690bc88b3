// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// For the control plane: any task, one hop to the loop and back. Bounded by the client's timeouts; cancellation ends nothing, as a command that
/// has left is carried out.
extension RedisClient {
    /// Sends one command.
    package nonisolated func call(_ command: RedisCommand) async throws(RedisFailure) -> RedisReply {
        try await callAll([command])[0]
    }

    /// Sends commands in order, in one write and so on one connection, and waits for all replies. Other clients' commands may come between them.
    ///
    /// - Throws: the first failure; its `wasSent` tells whether Redis may have carried out any of them.
    package nonisolated func callAll(_ commands: [RedisCommand]) async throws(RedisFailure) -> [RedisReply] {
        guard !commands.isEmpty else { return [] }
        return try await withCheckedContinuation { continuation in
            onLoop {
                let batch = RedisBatch(count: commands.count) { continuation.resume(returning: $0) }
                for (index, command) in commands.enumerated() { self.send(command, batch.request(index)) }
            }
        }.replies()
    }
}

/// Gathers the outcomes of commands that were sent together; confined to the loop that they are sent on.
final class RedisBatch {
    private var outcomes: [RedisOutcome?]
    private var missing: Int
    private let completion: ([RedisOutcome]) -> Void

    /// - Parameter completion: called on the loop when the last outcome has come.
    init(count: Int, completion: @escaping ([RedisOutcome]) -> Void) {
        outcomes = Array(repeating: nil, count: count)
        missing = count
        self.completion = completion
    }

    /// Each index once, to be sent once.
    func request(_ index: Int) -> RedisRequest { Member(self, index) }

    private func complete(_ index: Int, _ outcome: RedisOutcome) {
        outcomes[index] = outcome
        missing -= 1
        if missing == 0 { completion(outcomes.compactMap(\.self)) }
    }

    private final class Member: RedisRequest {
        private let batch: RedisBatch
        private let index: Int

        init(_ batch: RedisBatch, _ index: Int) {
            self.batch = batch
            self.index = index
            super.init()
        }

        override func redisCompleted(_ outcome: RedisOutcome) { batch.complete(index, outcome) }
    }
}

extension [RedisOutcome] {
    /// All replies, or the first failure; its `wasSent` tells whether Redis may have carried out any of them.
    func replies() throws(RedisFailure) -> [RedisReply] {
        var replies: [RedisReply] = []
        for outcome in self {
            switch outcome {
            case .reply(let reply): replies.append(reply)
            case .failure(let failure): throw failure.with(wasSent: contains { $0.wasSent })
            }
        }
        return replies
    }
}

extension RedisOutcome {
    fileprivate var wasSent: Bool {
        switch self {
        case .reply: true
        case .failure(let failure): failure.wasSent
        }
    }
}

extension RedisFailure {
    fileprivate func with(wasSent: Bool) -> RedisFailure {
        switch self {
        case .unavailable: .unavailable(wasSent: wasSent)
        case .timedOut: .timedOut(wasSent: wasSent)
        case .protocolViolation: .protocolViolation(wasSent: wasSent)
        }
    }
}
