// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import NIOEmbedded

@testable import RedisSessions
@testable import Sessions

/// One event loop of a gateway: `SessionLookup` and `UserSessions` as they are, with `AnswerRule`; the questions go over a simulated connection.
final class SimulatedLookup: SessionLookup {
    fileprivate unowned let gateway: SimulatedGateway
    let client: SimulatedClient
    private var epoch: UInt64 = 0
    private var turn: SimulatedTime = 0
    /// What is open: kept alive by it alone.
    private(set) var open: [ObjectIdentifier: SimulatedExchange] = [:]
    private var references: [SimulatedSession: SimulatedReference] = [:]

    init(_ gateway: SimulatedGateway, number: Int) {
        self.gateway = gateway
        client = SimulatedClient(gateway)
        super.init(eventLoop: gateway.world.eventLoop)
    }

    static func name(_ session: SimulatedSession) -> String { "s\(session.number)" }

    /// Tasks of the loop, one after the other.
    func inTurn(_ body: @escaping () -> Void) {
        let simulation = gateway.simulation
        turn = max(
            turn,
            simulation.now + simulation.between(0, simulation.chance(2) ? 100 * gateway.settings.hop * gateway.world.slowness : gateway.settings.hop))
        simulation.at(turn) { [gateway] in gateway.enter(body) }
    }

    override func isFresh(_ reference: SessionReference) -> Bool { gateway.isFresh }

    // MARK: Requests

    /// A request for the session; `stays`: what it opens stays open, as a WebSocket does.
    func request(_ session: SimulatedSession, stays: Bool) {
        let reference =
            references[session]
            ?? SimulatedReference(
                sessions: sessions(of: SimulatedRedis.user(session.user)), session: Self.name(session), kind: .registered, issuedAt: nil)
        reference.named = session
        references[session] = reference
        let exchange = SimulatedExchange(self, gateway, session, stays: stays)
        open[ObjectIdentifier(exchange)] = exchange
        hold(reference, exchange)
        ask(reference, exchange)
    }

    func ended(_ exchange: SimulatedExchange) {
        release(exchange)
        open[ObjectIdentifier(exchange)] = nil
    }

    func dropEverything() {
        for exchange in open.values { ended(exchange) }
    }

    /// Every open exchange, as it tries to pass another byte.
    func beat() {
        for exchange in open.values where exchange.isForwarded { exchange.passByte() }
    }

    override func ask(_ reference: SessionReference, _ waiter: SessionWaiter) {
        guard let reference = reference as? SimulatedReference else { return }
        if let answer = reference.answer, reference.heard == heard(reference) || gateway.settings.mutant == .memorySurvivesLoss,
            gateway.now < gateway.memoryEnd
        {
            return waiter.sessionAnswered(answer, from: .cache)
        }
        send(reference, tries: 1, needsLease: true) { waiter.sessionAnswered($0, from: .store) }
    }

    private func heard(_ reference: SimulatedReference) -> AnswerRule.Heard {
        AnswerRule.Heard(version: reference.sessions.version, epoch: epoch)
    }

    private func send(_ reference: SimulatedReference, tries: Int, needsLease: Bool, _ body: @escaping (SessionAnswer) -> Void) {
        let asked = heard(reference)
        client.send(.isMember(reference.named)) { [self] reply in
            var answer = SessionAnswer.unavailable
            if case .integer(let isMember) = reply { answer = isMember == 1 ? .active : .revoked }
            if gateway.settings.mutant == .faultIsLogout, answer == .unavailable { answer = .revoked }
            let now = gateway.settings.mutant == .answersNotCompared ? asked : heard(reference)
            switch AnswerRule.judge(answer, asked: asked, now: now, tries: tries, isFresh: !needsLease || gateway.isFresh) {
            case .askAgain: send(reference, tries: tries + 1, needsLease: needsLease, body)
            case .use(let answer, let isCurrent):
                if isCurrent, gateway.settings.remembers {
                    reference.answer = answer
                    reference.heard = gateway.settings.mutant == .answersNotCompared ? heard(reference) : asked
                }
                body(answer)
            }
        }
    }

    override func lookAfter(_ sessions: UserSessions) {}

    // MARK: What the link tells, as `RedisSessionLookup` does it

    func forgetRemembered() { epoch += 1 }

    func forgetEverything() {
        epoch += 1
        for sessions in knownUsers where sessions.isHeld { recheck(sessions) {} }
    }

    func verify(_ body: @escaping () -> Void) {
        epoch += 1
        var left = 1
        func one() {
            left -= 1
            if left == 0 { body() }
        }
        for sessions in knownUsers where sessions.isHeld {
            for reference in sessions.heldReferences() {
                left += 1
                recheck(reference, one)
            }
        }
        one()
    }

    func changed(_ user: UserID) {
        guard let sessions = knownSessions(of: user) else { return }
        sessions.change()
        if sessions.isHeld { recheck(sessions) {} }
    }

    /// A logout of this gateway has been written.
    func endAsked(_ session: String?, of user: UserID, _ body: @escaping () -> Void) {
        inTurn { [self] in
            guard let session else { return allEnded(of: user, body) }
            end(session, of: user, .revoked)
            body()
        }
    }

    func allEnded(of user: UserID, _ body: @escaping () -> Void) {
        guard let sessions = knownSessions(of: user) else { return body() }
        sessions.change()
        var left = 1
        func one() {
            left -= 1
            if left == 0 { body() }
        }
        for reference in sessions.heldReferences() {
            left += 1
            recheck(reference, isPatient: false, one)
        }
        one()
    }

    func storeFellSilent() {
        epoch += 1
        for sessions in knownUsers where sessions.isHeld { sessions.tellHolders(of: nil, .storeSilent) }
    }

    private func recheck(_ sessions: UserSessions, _ body: @escaping () -> Void) {
        for reference in sessions.heldReferences() { recheck(reference, body) }
    }

    private func recheck(_ reference: SessionReference, isPatient: Bool = true, _ body: @escaping () -> Void) {
        guard let reference = reference as? SimulatedReference else { return }
        send(reference, tries: 1, needsLease: false) { [self] answer in
            switch answer {
            case .unavailable where !isPatient: end(reference, .unconfirmed)
            case .unavailable where reference.sessions.isHeld:
                gateway.simulation.after(.milliseconds(20)) { [self] in gateway.enter { [self] in recheck(reference, body) } }
                return
            case .revoked: end(reference, .revoked)
            case .active, .unavailable: break
            }
            body()
        }
    }
}

final class SimulatedReference: SessionReference {
    var named = SimulatedSession(user: 0, number: 0)
    var answer: SessionAnswer?
    var heard = AnswerRule.Heard(version: 0, epoch: 0)
}

/// A request and what it opens, as `Exchange` has it.
final class SimulatedExchange: SessionWaiter {
    private unowned let lookup: SimulatedLookup
    private unowned let gateway: SimulatedGateway
    let session: SimulatedSession
    private let stays: Bool
    private(set) var isForwarded = false
    private var endedMeanwhile = false
    private var isOver = false

    init(_ lookup: SimulatedLookup, _ gateway: SimulatedGateway, _ session: SimulatedSession, stays: Bool) {
        self.lookup = lookup
        self.gateway = gateway
        self.session = session
        self.stays = stays
    }

    override func sessionAnswered(_ answer: SessionAnswer, from source: SessionAnswerSource) {
        guard !isOver else { return }
        switch endedMeanwhile ? .revoked : answer {
        case .active:
            isForwarded = true
            gateway.world.forwarded(session, by: gateway.name)
            if !stays { end() }
        case .revoked:
            gateway.world.refused(session, by: gateway.name)
            end()
        case .unavailable: end()
        }
    }

    override func sessionEnded(_ ending: SessionEnding) {
        switch ending {
        case .storeSilent, .unconfirmed: end()
        case .revoked, .expired:
            gateway.world.refused(session, by: gateway.name)
            if isForwarded { end() } else { endedMeanwhile = true }
        }
    }

    func passByte() {
        guard lookup.gateway.isFresh else { return end() }
        gateway.world.forwarded(session, by: gateway.name)
    }

    private func end() {
        isOver = true
        lookup.ended(self)
    }
}
