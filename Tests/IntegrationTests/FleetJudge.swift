// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport
import Testing

/// The load of a fleet and what must be true of it.
struct FleetJudge {
    static let pass = RequestLoad.Outcome.answer(status: 200, code: "")
    static let revoked = RequestLoad.Outcome.answer(status: 401, code: "session_revoked")
    static let unavailable = RequestLoad.Outcome.answer(status: 503, code: "store_unavailable")

    let fleet: RunningFleet
    let load: RequestLoad

    /// Runs `body` with eight lasting sessions, whose requests pass at every gateway before and after it and meanwhile never get anything else than
    /// is allowed.
    ///
    /// - Parameters:
    ///   - lasted: called when the sessions have begun, before the load.
    ///   - body: gets a judge with a load of its own, and the lasting sessions.
    static func withLoad(
        on fleet: RunningFleet, allowed: Set<RequestLoad.Outcome> = [pass], lasted: () async throws -> Void = {},
        _ body: (FleetJudge, [RunningGateway.Login]) async throws -> Void
    ) async throws {
        var lasting: [RunningGateway.Login] = []
        for number in 0..<8 { lasting.append(try await begin("bob-\(number)", at: fleet[number])) }
        try await lasted()
        let others = RequestLoad(ports: fleet.ports, connections: 1, tokens: lasting.map(\.access))
        let judge = FleetJudge(fleet: fleet, load: RequestLoad(ports: fleet.ports, connections: 2))
        try await TestSupport.withLoad(judge.load) {
            try await TestSupport.withLoad(others) {
                try await others.pass(lasting.map(\.access), after: .now)
                try await body(judge, lasting)
                try await others.pass(lasting.map(\.access), after: .now, within: .seconds(60))
            }
        }
        FleetJudge(fleet: fleet, load: others).wereAlwaysGood(lasting, "a session that nobody ended", allowed: allowed)
    }

    /// Begins a session as soon as the gateway has its store.
    private static func begin(_ user: String, at gateway: RunningGateway) async throws -> RunningGateway.Login {
        var login: RunningGateway.Login?
        try await eventually("a session begins", within: .seconds(60)) {
            login = try gateway.begin(user)
            return true
        }
        guard let login else { throw NotInTime(description: "no session has begun") }
        return login
    }

    /// Begins sessions at one gateway, and has every gateway let them pass.
    func begin(_ users: [String], at gateway: RunningGateway) async throws -> [RunningGateway.Login] {
        let began = ContinuousClock.now
        var logins: [RunningGateway.Login] = []
        for user in users { logins.append(try await Self.begin(user, at: gateway)) }
        load.begin(logins.map(\.access))
        try await load.pass(logins.map(\.access), after: began, within: .seconds(60))
        return logins
    }

    /// Logs out until it is answered with 204: when that was. A logout that is refused with 503 is undecided, and a user tries again.
    func end(_ login: RunningGateway.Login, at gateway: Int, within: Duration = .seconds(60)) async throws -> ContinuousClock.Instant {
        var attempt = gateway
        try await eventually("a logout is taken", within: within) {
            let used = fleet[attempt]
            attempt += 1
            let status = try await onThread { try used.call("POST", "/auth/logout", token: login.access).status }
            #expect(status == 204 || status == 503)
            return status == 204
        }
        return .now
    }

    /// No request of the session passes that was sent after this moment, at which its logout had been answered: neither those of the load nor one
    /// that each gateway gets at once. Ends its load.
    func isOver(
        _ logins: [RunningGateway.Login], since ended: ContinuousClock.Instant, _ comment: Comment,
        allowed: Set<RequestLoad.Outcome> = [pass, revoked]
    ) async throws {
        let tokens = logins.map(\.access)
        for token in tokens { #expect(try !fleet.statuses(token).contains(200), comment) }
        try await load.answers(tokens, after: ended)
        load.end(tokens)
        for token in tokens {
            let story = load.story(token)
            #expect(!story.passed(after: ended), comment)
            #expect(allowed.isSuperset(of: story.counts.keys), "\(comment): \(story.counts)")
        }
    }

    /// Nobody ever told these sessions anything but what is allowed, and that they are good.
    func wereAlwaysGood(_ logins: [RunningGateway.Login], _ comment: Comment, allowed: Set<RequestLoad.Outcome> = [pass]) {
        for login in logins {
            let counts = load.story(login.access).counts
            #expect(allowed.isSuperset(of: counts.keys) && counts[Self.pass] != nil, "\(comment): \(counts)")
        }
    }
}
