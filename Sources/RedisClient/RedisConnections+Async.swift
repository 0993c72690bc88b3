// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// For the control plane: any task, one hop to the loop and back. Bounded by the command timeout; cancellation ends nothing, as a command that has
/// left is carried out.
extension RedisConnections {
    /// Replies, and who has given them.
    package struct Answer: Sendable {
        package let replies: [RedisReply]
        /// Which server the slot's primary was when the last reply came (`RedisClientStatus.serverID`); nil: nobody was known to have the slot.
        package let serverID: UInt64?
    }

    /// Sends one command to the primary that has the slot.
    package nonisolated func call(_ command: RedisCommand, slot: RedisSlot) async throws(RedisFailure) -> RedisReply {
        try await callAll([command], slot: slot)[0]
    }

    /// Sends commands in order, in one write, and waits for all replies. Each is redirected for itself: use it for what may be answered by two nodes.
    ///
    /// - Throws: the first failure; its `wasSent` tells whether Redis may have carried out any of them.
    package nonisolated func callAll(_ commands: [RedisCommand], slot: RedisSlot) async throws(RedisFailure) -> [RedisReply] {
        try await answer(to: commands, slot: slot).replies
    }

    /// As `callAll`, with who has answered.
    package nonisolated func answer(to commands: [RedisCommand], slot: RedisSlot) async throws(RedisFailure) -> Answer {
        guard !commands.isEmpty else { return Answer(replies: [], serverID: nil) }
        let told: (outcomes: [RedisOutcome], serverID: UInt64?) = await withCheckedContinuation { continuation in
            onLoop { [self] in
                let batch = RedisBatch(count: commands.count) { [self] in continuation.resume(returning: ($0, serverID(of: slot))) }
                for (index, command) in commands.enumerated() { send(command, slot: slot, batch.request(index)) }
            }
        }
        return Answer(replies: try told.outcomes.replies(), serverID: told.serverID)
    }

    /// Sends commands to that one primary, as `RedisClient.callAll`; unavailable when it is none any more.
    package nonisolated func callAll(_ commands: [RedisCommand], node id: RedisPrimary.ID) async throws(RedisFailure) -> [RedisReply] {
        guard !commands.isEmpty else { return [] }
        return try await withCheckedContinuation { continuation in
            onLoop { [self] in
                let batch = RedisBatch(count: commands.count) { continuation.resume(returning: $0) }
                for (index, command) in commands.enumerated() {
                    let request = batch.request(index)
                    if let client = client(of: id) {
                        client.send(command, request)
                    } else {
                        request.redisCompleted(.failure(.unavailable(wasSent: false)))
                    }
                }
            }
        }.replies()
    }

    /// Runs a script as `RedisClient.run`, on the primary that has the slot of its keys. Where it is redirected, it goes there with its source, too,
    /// if that node does not know it, and with what follows it: `then` is answered by the node that has carried out the script.
    ///
    /// - Parameter keys: at least one, all of one slot.
    /// - Returns: the script's reply, then those of `then`.
    package nonisolated func run(
        _ script: RedisScript, keys: [[UInt8]], arguments: [[UInt8]] = [], then: [RedisCommand] = []
    ) async throws(RedisFailure) -> [RedisReply] {
        try await answer(to: script, keys: keys, arguments: arguments, then: then).replies
    }

    /// As `run`, with who has answered.
    package nonisolated func answer(
        to script: RedisScript, keys: [[UInt8]], arguments: [[UInt8]] = [], then: [RedisCommand] = []
    ) async throws(RedisFailure) -> Answer {
        precondition(!keys.isEmpty, "the keys of a script decide where it runs")
        let slot = RedisSlot(key: keys[0])
        let answer = try await together([script.byName(keys, arguments)] + then, slot)
        guard answer.replies[0].errorCode == "NOSCRIPT" else { return answer }
        return try await together([script.bySource(keys, arguments)] + then, slot)
    }

    /// Runs a script for each of the calls, each where its keys are, in one round trip, and in one more where a Redis did not know it. Each run is
    /// atomic, all of them are not.
    ///
    /// - Returns: the reply to each call.
    package nonisolated func runEach(
        _ script: RedisScript, _ calls: [(keys: [[UInt8]], arguments: [[UInt8]])]
    ) async throws(RedisFailure) -> [RedisReply] {
        var replies = try await sendEach(calls.map { (script.byName($0.keys, $0.arguments), RedisSlot(key: $0.keys[0])) })
        let unknown = replies.indices.filter { replies[$0].errorCode == "NOSCRIPT" }
        let again = try await sendEach(unknown.map { (script.bySource(calls[$0].keys, calls[$0].arguments), RedisSlot(key: calls[$0].keys[0])) })
        for (index, reply) in zip(unknown, again) { replies[index] = reply }
        return replies
    }

    private nonisolated func sendEach(_ commands: [(RedisCommand, RedisSlot)]) async throws(RedisFailure) -> [RedisReply] {
        guard !commands.isEmpty else { return [] }
        return try await withCheckedContinuation { continuation in
            onLoop { [self] in
                let batch = RedisBatch(count: commands.count) { continuation.resume(returning: $0) }
                for (index, (command, slot)) in commands.enumerated() { send(command, slot: slot, batch.request(index)) }
            }
        }.replies()
    }

    private nonisolated func together(_ commands: [RedisCommand], _ slot: RedisSlot) async throws(RedisFailure) -> Answer {
        let told: (outcomes: [RedisOutcome], serverID: UInt64?) = await withCheckedContinuation { continuation in
            onLoop { [self] in send(together: commands, slot: slot) { [self] in continuation.resume(returning: ($0, serverID(of: slot))) } }
        }
        return Answer(replies: try told.outcomes.replies(), serverID: told.serverID)
    }
}
