// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Logging
import NIOCore

/// Whoever looks for the primaries; on one event loop.
protocol Discovering: AnyObject {
    /// Whom it asks at present.
    var targets: [RedisConfiguration.Address] { get }
    func start()
    /// See `DiscoveryMachine.doubt`.
    func doubt(isNews: Bool) -> UInt64
    func close()
}

/// Performs what a `DiscoveryMachine` decides. Every question has a connection of its own, which is closed with the answer: there are few, and
/// nothing that is left over from one can be taken for the answer to another.
final class Discovery<Judge: DiscoveryJudge>: Discovering {
    typealias Conclusion = DiscoveryMachine<Judge>.Conclusion

    private let eventLoop: any EventLoop
    /// Of the data's servers; the address is anybody's.
    private let configuration: RedisConfiguration
    private let peer: RedisConfiguration.Peer
    private let onConclusion: (_ round: UInt64, Conclusion) -> Void
    private var machine: DiscoveryMachine<Judge>
    private var timer: Scheduled<Void>?

    /// Attempts and their outcomes are told by who learns the conclusion.
    private let silent = Logger(label: "discovery") { _ in SwiftLogNoOpLogHandler() }

    /// - Parameter peer: what those are that are asked.
    init(
        _ judge: Judge, asking peer: RedisConfiguration.Peer, configuration: RedisConfiguration, eventLoop: any EventLoop,
        onConclusion: @escaping (_ round: UInt64, Conclusion) -> Void
    ) {
        machine = DiscoveryMachine(judge, seed: .random(in: .min ... .max))
        self.peer = peer
        self.configuration = configuration
        self.eventLoop = eventLoop
        self.onConclusion = onConclusion
    }

    var targets: [RedisConfiguration.Address] { machine.judge.targets }

    func start() { perform(machine.start(now: .now())) }

    func doubt(isNews: Bool) -> UInt64 {
        let (round, actions) = machine.doubt(isNews: isNews, now: .now())
        perform(actions)
        return round
    }

    func close() {
        machine.close()
        timer?.cancel()
        timer = nil
    }

    private func perform(_ actions: [DiscoveryMachine<Judge>.Action]) {
        let round = machine.round
        for action in actions {
            switch action {
            case .ask(let address):
                ask(address, peer, machine.judge.questions) { [self] replies in
                    let answer = replies.flatMap { machine.judge.answer($0, from: address) }
                    perform(machine.answered(address, in: round, answer, now: .now()))
                }
            case .verify(let address):
                // The handshake with a primary asks for its role; after it any command will do.
                ask(address, .primary, [RedisCommand("PING")]) { [self] replies in
                    perform(machine.verified(in: round, isPrimary: replies != nil, now: .now()))
                }
            case .conclude(let conclusion):
                onConclusion(round, conclusion)
            }
        }
        rearm()
    }

    private func ask(
        _ address: RedisConfiguration.Address, _ peer: RedisConfiguration.Peer, _ commands: [RedisCommand],
        completion: @escaping ([RedisReply]?) -> Void
    ) {
        var configuration = configuration
        configuration.address = address
        configuration.peer = peer
        // Who waits for the conclusion is himself about to connect within that time, and has to see two rounds go by at worst.
        configuration.commandTimeout = .nanoseconds(configuration.connectTimeout.nanoseconds / 4)
        let client = RedisClient(eventLoop: eventLoop, configuration: configuration, logger: silent)
        client.start()
        let batch = RedisBatch(count: commands.count) { outcomes in
            client.close()
            completion(try? outcomes.replies())
        }
        for (index, command) in commands.enumerated() { client.send(command, batch.request(index)) }
    }

    private func rearm() {
        timer?.cancel()
        timer = machine.due.map { due in
            eventLoop.assumeIsolated().scheduleTask(deadline: due) { [self] in perform(machine.timerFired(now: .now())) }
        }
    }
}

@available(*, unavailable)
extension Discovery: Sendable {}
