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
        let outcomes = await withCheckedContinuation { continuation in
            onLoop {
                let batch = Batch(count: commands.count, continuation)
                for (index, command) in commands.enumerated() { self.send(command, BatchedRequest(batch, index)) }
            }
        }
        var replies: [RedisReply] = []
        for outcome in outcomes {
            switch outcome {
            case .reply(let reply): replies.append(reply)
            case .failure(let failure): throw failure.with(wasSent: outcomes.contains { $0.wasSent })
            }
        }
        return replies
    }
}

/// Gathers the outcomes of commands that were sent together; confined to the client's loop.
private final class Batch {
    private var outcomes: [RedisOutcome?]
    private var missing: Int
    private let continuation: CheckedContinuation<[RedisOutcome], Never>

    init(count: Int, _ continuation: CheckedContinuation<[RedisOutcome], Never>) {
        outcomes = Array(repeating: nil, count: count)
        missing = count
        self.continuation = continuation
    }

    func complete(_ index: Int, _ outcome: RedisOutcome) {
        outcomes[index] = outcome
        missing -= 1
        if missing == 0 { continuation.resume(returning: outcomes.compactMap(\.self)) }
    }
}

private final class BatchedRequest: RedisRequest {
    private let batch: Batch
    private let index: Int

    init(_ batch: Batch, _ index: Int) {
        self.batch = batch
        self.index = index
        super.init()
    }

    override func redisCompleted(_ outcome: RedisOutcome) {
        batch.complete(index, outcome)
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
