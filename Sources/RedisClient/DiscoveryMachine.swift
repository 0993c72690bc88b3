// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// Decides what the answers of one round mean; pure. One for Sentinel, one for Cluster.
protocol DiscoveryJudge: Sendable {
    associatedtype Answer: Sendable

    /// What everybody is asked, in one write.
    var questions: [RedisCommand] { get }
    /// Whom to ask, the most promising first. Never empty.
    var targets: [RedisConfiguration.Address] { get }
    /// Whether after so many answers the others are waited for but briefly.
    func isEnough(_ answers: Int) -> Bool
    /// Nil: it says nothing that is of use.
    func answer(_ replies: [RedisReply], from source: RedisConfiguration.Address) -> Answer?
    /// - Parameter answers: at least one.
    mutating func judge(_ answers: [Answer]) -> DiscoveryVerdict
    /// What was judged last is believed.
    mutating func settle(_ layout: RedisLayout)
}

enum DiscoveryVerdict: Equatable {
    case settled(RedisLayout)
    /// It is so if that server says itself that it is a primary.
    case verify(RedisConfiguration.Address)
    /// For the log: nothing that a peer sent.
    case unsettled(String)
}

/// Decides when to ask whom for the primaries; `Discovery` performs. Knows no channel and no clock.
///
///             doubt, timer            answers are in            it says so itself
///     resting ────────────▶ asking ───────────────────▶ verifying ──────▶ resting
///        ▲                    │ nobody answers, unclear     │ it does not
///        │ settled (Cluster)  ▼                             ▼
///        └──────── asking ◀─────────────── pausing ◀────────┘
///                              timer
///
/// Enforced: one round at a time, at most `askedAtOnce` questions open in it, at least `pause` between two but for failures in a row, which `Backoff` spaces; what is answered to an
/// older round is ignored; a doubt that comes during a round is answered by the next one, as the present one may have been answered before it.
struct DiscoveryMachine<Judge: DiscoveryJudge> {
    enum Action: Equatable {
        /// Put the judge's questions.
        case ask(RedisConfiguration.Address)
        /// Connect as a client of the store does.
        case verify(RedisConfiguration.Address)
        case conclude(Conclusion)
    }

    /// What a round has come to.
    enum Conclusion: Equatable {
        case settled(RedisLayout)
        /// Nobody has answered: what was known goes on to be all that is known.
        case silence
        case unsettled(String)
    }

    private enum State {
        case initial
        case resting(until: NIODeadline)
        case asking(Survey)
        case verifying(RedisConfiguration.Address)
        case pausing(until: NIODeadline)
        case closed
    }

    private struct Survey {
        var waiting: ArraySlice<RedisConfiguration.Address>
        var open: Set<RedisConfiguration.Address> = []
        var answers: [Judge.Answer] = []
        /// Set when there are enough answers.
        var patience: NIODeadline?
    }

    /// Questions that are open at once.
    static var askedAtOnce: Int { 5 }
    /// From the answer that is enough until the others are no longer waited for.
    static var patience: TimeAmount { .milliseconds(50) }
    /// Between two rounds, however many are in doubt.
    static var pause: TimeAmount { .milliseconds(100) }
    /// Between two rounds while nobody is in doubt.
    static var interval: TimeAmount { .seconds(10) }

    private(set) var judge: Judge
    private var state = State.initial
    private var backoff: Backoff
    private var failures = 0
    private var endedAt: NIODeadline?
    private var isDoubted = false
    /// Numbers the rounds; the present one's, or the last one's.
    private(set) var round: UInt64 = 0

    init(_ judge: Judge, seed: UInt64) {
        self.judge = judge
        backoff = Backoff(seed: seed)
    }

    mutating func start(now: NIODeadline) -> [Action] {
        guard case .initial = state else { return [] }
        return begin()
    }

    mutating func close() { state = .closed }

    /// Something speaks against what is known.
    ///
    /// - Parameter isNews: somebody has said that it has changed, so that no pause is worth while.
    /// - Returns: the round that will tell.
    mutating func doubt(isNews: Bool, now: NIODeadline) -> (round: UInt64, actions: [Action]) {
        switch state {
        case .initial, .closed:
            return (round + 1, [])
        case .asking, .verifying:
            isDoubted = true
            return (round + 1, [])
        case .resting:
            if now >= earliest { return (round + 1, begin()) }
            state = .pausing(until: earliest)
            return (round + 1, [])
        case .pausing(let until):
            if isNews { state = .pausing(until: min(until, max(now, earliest))) }
            return (round + 1, [])
        }
    }

    /// - Parameter answer: nil: none came, or one of no use.
    mutating func answered(_ source: RedisConfiguration.Address, in round: UInt64, _ answer: Judge.Answer?, now: NIODeadline) -> [Action] {
        guard round == self.round, case .asking(var survey) = state, survey.open.remove(source) != nil else { return [] }
        if let answer {
            survey.answers.append(answer)
            if survey.patience == nil, judge.isEnough(survey.answers.count) { survey.patience = now + Self.patience }
        }
        return proceed(&survey, now: now)
    }

    mutating func verified(in round: UInt64, isPrimary: Bool, now: NIODeadline) -> [Action] {
        guard round == self.round, case .verifying(let address) = state else { return [] }
        guard isPrimary else { return [fail(.unsettled("who is named does not answer as a primary"), now: now)] }
        return [settle(RedisLayout(addresses: [address]), now: now)]
    }

    /// When `timerFired` is due at the latest; nil: there is nothing to wait for.
    var due: NIODeadline? {
        switch state {
        case .initial, .verifying, .closed: nil
        case .resting(let until), .pausing(let until): until
        case .asking(let survey): survey.patience
        }
    }

    mutating func timerFired(now: NIODeadline) -> [Action] {
        switch state {
        case .initial, .verifying, .closed:
            return []
        case .resting(let until), .pausing(let until):
            return until <= now ? begin() : []
        case .asking(let survey):
            guard let patience = survey.patience, patience <= now else { return [] }
            return decide(survey.answers, now: now)
        }
    }

    // MARK: Transitions

    private var earliest: NIODeadline { endedAt.map { $0 + Self.pause } ?? .uptimeNanoseconds(0) }

    private mutating func begin() -> [Action] {
        round += 1
        isDoubted = false
        var survey = Survey(waiting: judge.targets[...])
        let actions = ask(&survey)
        state = .asking(survey)
        return actions
    }

    private func ask(_ survey: inout Survey) -> [Action] {
        var actions: [Action] = []
        while survey.open.count < Self.askedAtOnce, let next = survey.waiting.popFirst() {
            if survey.open.insert(next).inserted { actions.append(.ask(next)) }
        }
        return actions
    }

    private mutating func proceed(_ survey: inout Survey, now: NIODeadline) -> [Action] {
        // Further ones are asked in the place of those that said nothing, not to hear the same once more.
        let actions = judge.isEnough(survey.answers.count) ? [] : ask(&survey)
        guard survey.open.isEmpty else {
            state = .asking(survey)
            return actions
        }
        return decide(survey.answers, now: now)
    }

    private mutating func decide(_ answers: [Judge.Answer], now: NIODeadline) -> [Action] {
        guard !answers.isEmpty else { return [fail(.silence, now: now)] }
        switch judge.judge(answers) {
        case .settled(let layout): return [settle(layout, now: now)]
        case .unsettled(let reason): return [fail(.unsettled(reason), now: now)]
        case .verify(let address):
            state = .verifying(address)
            return [.verify(address)]
        }
    }

    private mutating func settle(_ layout: RedisLayout, now: NIODeadline) -> Action {
        judge.settle(layout)
        failures = 0
        endedAt = now
        state = isDoubted ? .pausing(until: earliest) : .resting(until: now + Self.interval)
        return .conclude(.settled(layout))
    }

    private mutating func fail(_ conclusion: Conclusion, now: NIODeadline) -> Action {
        endedAt = now
        state = .pausing(until: now + backoff.delay(afterFailures: failures))
        failures += 1
        return .conclude(conclusion)
    }
}
