// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import Synchronization

/// Requests without end on several kept connections to one or more gateways, each on a thread of its own, and what came of them.
package final class RequestLoad: Sendable {
    /// How one request ended.
    package enum Outcome: Sendable, Hashable {
        /// `code` is the rejection's, empty for an answer of the upstream.
        case answer(status: Int, code: String)
        /// No answer, or one that broke off.
        case broken
    }

    /// What came of the requests with one token. Times are those at which a request was sent, read before its first byte was: what was sent
    /// later than a moment here was so in truth.
    package struct Story: Sendable {
        package fileprivate(set) var counts: [Outcome: Int] = [:]
        /// By the gateway's port: the last request that was answered 2xx.
        package fileprivate(set) var lastPass: [Int: ContinuousClock.Instant] = [:]
        /// By the gateway's port: the last request that was answered, whatever with.
        package fileprivate(set) var lastAnswer: [Int: ContinuousClock.Instant] = [:]

        /// Whether a request that was sent after this moment was answered 2xx by any gateway.
        package func passed(after moment: ContinuousClock.Instant) -> Bool { lastPass.values.contains { $0 > moment } }
    }

    /// Between two requests of a connection: constant load, not as much as the machine can do.
    private static let pause: UInt32 = 3000

    private let state: Mutex<State>
    private let ports: [Int]

    private struct State {
        var tokens: [String]
        var turns: [Int: Int] = [:]
        var stories: [String: Story] = [:]
        var times: [Outcome: [Duration]] = [:]
        var running: Int
        var isStopped = false

        /// Each gateway gets all tokens in turn, over all connections to it.
        mutating func next(_ port: Int) -> String? {
            guard !tokens.isEmpty else { return nil }
            turns[port, default: 0] += 1
            return tokens[turns[port, default: 0] % tokens.count]
        }

        mutating func ended(_ token: String, _ port: Int, _ sent: ContinuousClock.Instant, _ outcome: Outcome) {
            stories[token, default: Story()].counts[outcome, default: 0] += 1
            times[outcome, default: []].append(.now - sent)
            guard case .answer(let status, _) = outcome else { return }
            // Connections to one gateway may overtake each other.
            func later(_ moment: inout ContinuousClock.Instant?) { moment = max(moment ?? sent, sent) }
            later(&stories[token, default: Story()].lastAnswer[port])
            if 200..<300 ~= status { later(&stories[token, default: Story()].lastPass[port]) }
        }
    }

    /// - Parameter connections: to each of the ports.
    package init(ports: [Int], connections: Int, tokens: [String] = [], target: String = "/") {
        self.ports = ports
        state = Mutex(State(tokens: tokens, running: ports.count * connections))
        for port in ports {
            for _ in 0..<connections { Thread.detachNewThread { [self] in run(port, target) } }
        }
    }

    /// - Parameter token: of every request.
    package convenience init(port: Int, connections: Int, token: String, target: String = "/") {
        self.init(ports: [port], connections: connections, tokens: [token], target: target)
    }

    private func run(_ port: Int, _ target: String) {
        var connection: HTTPConnection?
        while !state.withLock({ $0.isStopped }) {
            defer { usleep(Self.pause) }
            guard let token = state.withLock({ $0.next(port) }) else { continue }
            var outcome = Outcome.broken
            var sent = ContinuousClock.now
            do {
                let used = try connection ?? HTTPConnection(port: port)
                connection = used
                sent = .now
                let answer = try used.get(target, token: token)
                if answer.isWhole { outcome = .answer(status: answer.status, code: answer.code ?? "") }
                if answer["Connection"].contains("close") { connection = nil }
            } catch {}
            if outcome == .broken { connection = nil }
            state.withLock { $0.ended(token, port, sent, outcome) }
        }
        state.withLock { $0.running -= 1 }
    }

    /// Takes these tokens into the rotation, too.
    package func begin(_ tokens: [String]) { state.withLock { $0.tokens += tokens } }

    /// Takes them out again; their stories stay.
    package func end(_ tokens: [String]) { state.withLock { $0.tokens.removeAll { tokens.contains($0) } } }

    /// How many requests ended how, so far.
    package var counts: [Outcome: Int] {
        state.withLock { $0.stories.values.reduce(into: [:]) { $0.merge($1.counts, uniquingKeysWith: +) } }
    }

    package func count(_ outcome: Outcome) -> Int { counts[outcome] ?? 0 }

    package func count(_ status: Int, _ code: String = "") -> Int { count(.answer(status: status, code: code)) }

    /// How long the given part of the requests that ended so took at most, since this was last asked about them; nil: there were none.
    package func quantile(_ part: Double, _ status: Int, _ code: String = "") -> Duration? {
        let times = state.withLock { $0.times.removeValue(forKey: .answer(status: status, code: code)) }?.sorted() ?? []
        return times.isEmpty ? nil : times[min(times.count - 1, Int(Double(times.count) * part))]
    }

    package func story(_ token: String) -> Story { state.withLock { $0.stories[token] ?? Story() } }

    /// Waits for some more requests that end so.
    package func more(_ count: Int, _ status: Int, _ code: String = "", within: Duration = .seconds(20)) async throws {
        let before = self.count(status, code)
        do {
            try await eventually("\(count) more of \(status) \(code)", within: within) { self.count(status, code) >= before + count }
        } catch {
            throw NotInTime(description: "\(error): \(counts)")
        }
    }

    /// Waits until every gateway (or those at these ports) has answered 2xx for each of the tokens to a request that was sent after the moment.
    package func pass(_ tokens: [String], at ports: [Int]? = nil, after moment: ContinuousClock.Instant, within: Duration = .seconds(30)) async throws
    {
        try await all(tokens, ports, after: moment, within, "pass", \.lastPass)
    }

    /// Waits until every gateway (or those at these ports) has answered for each of the tokens to a request that was sent after the moment.
    package func answers(_ tokens: [String], at ports: [Int]? = nil, after moment: ContinuousClock.Instant, within: Duration = .seconds(30))
        async throws
    {
        try await all(tokens, ports, after: moment, within, "are answered", \.lastAnswer)
    }

    private func all(
        _ tokens: [String], _ ports: [Int]?, after moment: ContinuousClock.Instant, _ within: Duration, _ what: String,
        _ times: KeyPath<Story, [Int: ContinuousClock.Instant]>
    ) async throws {
        do {
            try await eventually("requests with each token \(what) at each gateway", within: within) {
                tokens.allSatisfy { token in
                    let times = story(token)[keyPath: times]
                    return (ports ?? self.ports).allSatisfy { times[$0].map { $0 > moment } ?? false }
                }
            }
        } catch {
            throw NotInTime(description: "\(error): \(tokens.map { story($0).counts })")
        }
    }

    /// Returns when the last request has ended.
    package func stop() async throws {
        state.withLock { $0.isStopped = true }
        try await eventually("the load ends", within: .seconds(30)) { self.state.withLock { $0.running == 0 } }
    }
}

/// Runs `body` under that load, which ends afterwards, however `body` does.
package func withLoad<Result>(_ load: RequestLoad, isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Result) async throws
    -> Result
{
    let result: Result
    do { result = try await body() } catch {
        try? await load.stop()
        throw error
    }
    try await load.stop()
    return result
}

/// Runs something that blocks on a thread of its own, so that nobody else's progress hangs on it.
package func onThread<Result: Sendable>(_ work: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread { continuation.resume(with: Swift.Result(catching: work)) }
    }
}
