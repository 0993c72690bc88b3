// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// A command on its way: sent to the node that should have its slot, and to others as these redirect it, until it is carried out or its deadline
/// has come. Or several commands that go to one node together and are repeated together, as the first one's outcome says.
///
/// Confined to its connections' loop; used again and again, so that a command which succeeds at once costs no memory.
final class RoutedRequest: RedisRequest {
    private unowned let connections: RedisConnections
    private var command: RedisCommand?
    private var slot = RedisSlot(key: [])
    /// Who waits; nil once the outcome has been told.
    private var request: RedisRequest?
    /// What is sent behind the command, on the same connection, and who is told of all.
    private var rest: [RedisCommand] = []
    private var wholeCompletion: (([RedisOutcome]) -> Void)?

    /// Some client will call back: until then this cannot be used again.
    private var isUnderWay = false
    private var rule = RedirectionRule()
    private var source: RedisConfiguration.Address?
    /// It has gone on to somebody else than the owner of the slot, as far as one is known.
    private var isRedirected = false
    private var deadline = NIODeadline.distantFuture
    private var timer: Scheduled<Void>?
    private var pause: Scheduled<Void>?

    init(_ connections: RedisConnections) {
        self.connections = connections
        super.init()
    }

    func begin(_ command: RedisCommand, slot: RedisSlot, _ request: RedisRequest) {
        self.command = command
        self.slot = slot
        self.request = request
        rule = RedirectionRule()
        deadline = .now() + connections.commandTimeout
    }

    func begin(_ commands: [RedisCommand], slot: RedisSlot, _ completion: @escaping ([RedisOutcome]) -> Void) {
        rest = Array(commands.dropFirst())
        wholeCompletion = completion
        begin(commands[0], slot: slot, self)
    }

    /// Keeps its deadline while nobody is sent anything. Only what does not succeed at once has a timer.
    func limitTime() {
        guard timer == nil else { return }
        timer = connections.eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { [self, connections] in expire(connections) }
    }

    /// To the owner of the slot.
    func send() {
        isRedirected = false
        if let node = connections.owner(of: slot) { return send(to: node, asking: false) }
        connections.topology.doubt()
        finish(.failure(.unavailable(wasSent: false)))
    }

    private func send(to node: RedisConnections.Node, asking: Bool) {
        guard let command else { return }
        source = node.address
        isUnderWay = true
        // A refusal comes before `send` returns, after which this may be on its way with another command.
        guard !rest.isEmpty else { return node.send(command, asking: asking, self) }
        let commands = [command] + rest
        let batch = RedisBatch(count: commands.count) { [self] outcomes in completed(outcomes[0], all: outcomes) }
        for (index, command) in commands.enumerated() { node.send(command, asking: asking, batch.request(index)) }
    }

    override func redisCompleted(_ outcome: RedisOutcome) { completed(outcome, all: nil) }

    override func accepts(_ reply: RedisReply) -> Bool {
        // Several commands: whoever waits for all of them judges them.
        wholeCompletion == nil ? request?.accepts(reply) ?? true : true
    }

    private func completed(_ outcome: RedisOutcome, all: [RedisOutcome]?) {
        isUnderWay = false
        // It has expired meanwhile.
        guard request != nil else { return recycle() }
        switch outcome {
        case .reply(let reply):
            guard connections.topology.isCluster, let source, let redirection = Redirection(reply, from: source) else {
                return finish(outcome, all: all)
            }
            follow(redirection, outcome, all: all)
        case .failure:
            connections.topology.doubt()
            finish(outcome, all: all)
        }
    }

    private func follow(_ redirection: Redirection, _ outcome: RedisOutcome, all: [RedisOutcome]?) {
        limitTime()
        if case .moved = redirection { connections.topology.doubt() }
        switch rule.step(redirection) {
        case .stop:
            finish(outcome, all: all)
        case .again:
            pause = connections.eventLoop.assumeIsolated().scheduleTask(in: RedirectionRule.pause) { [self, connections] in
                pause = nil
                withExtendedLifetime(connections) { send() }
            }
        case .go(let address, let asking):
            guard let node = connections.node(at: address) else { return finish(outcome, all: all) }
            isRedirected = true
            send(to: node, asking: asking)
        }
    }

    /// - Parameter connections: kept until here, though whoever owns them may have closed them.
    private func expire(_ connections: RedisConnections) {
        timer = nil
        connections.release(self)
        finish(.failure(.timedOut(wasSent: isUnderWay)))
    }

    private func finish(_ outcome: RedisOutcome, all: [RedisOutcome]? = nil) {
        let (request, completion, count, isRedirected) = (request, wholeCompletion, rest.count + 1, isRedirected)
        self.request = nil
        wholeCompletion = nil
        if !isUnderWay { recycle() }
        if let completion {
            completion(all ?? Array(repeating: outcome, count: count))
        } else {
            if isRedirected { request?.wasAsked = true }
            request?.redisCompleted(outcome)
        }
    }

    private func recycle() {
        timer?.cancel()
        timer = nil
        pause?.cancel()
        pause = nil
        command = nil
        rest = []
        connections.recycle(self)
    }
}
