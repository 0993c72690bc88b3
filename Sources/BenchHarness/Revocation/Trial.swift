// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import NIOPosix

/// One session's life: made, used on every edge, logged out, watched until every edge has refused it for a while.
///
///     making ─▶ warming ─▶ loggingOut ─▶ watching ─▶ done
///        │          ├─▶ held ──▲ │
///        └──────────┴─────┴──────┴── not within the patience ─▶ done, not counted
///
/// Confined to its loop.
final class Trial {
    enum Phase { case making, warming, held, loggingOut, watching, done }

    /// Times are nanoseconds of `BenchClock`.
    struct Logout {
        /// Of the first attempt.
        var wanted: Int64
        /// Of the one that was answered 2xx.
        var sent: Int64
        var answered: Int64
    }

    /// What became of it.
    struct Outcome {
        struct Edge {
            var record: EdgeWatch.Record
            /// Whether it judged something that was sent so long after the logout that a late 2xx would have been seen.
            var isConfirmed: Bool
            /// Nil: there was none, or it never opened.
            var webSocket: WebSocketLink.State?
        }

        /// Nil where none was answered 2xx.
        var logout: Logout?
        var edges: [Edge]
        /// Of the first session: why it is no use to go on.
        var obstacle: RevocationObstacle?
    }

    private let plan: RevocationPlan
    private let eventLoop: any EventLoop
    private let threads: NIOThreadPool
    private let began = BenchClock.now()
    private let logoutFailed: (String) -> Void
    private let completion: (Outcome) -> Void
    /// Told when the session is in use on every edge; nil: then it is logged out.
    private let hold: (() -> Void)?
    private(set) var phase = Phase.making
    private var session: BenchSession?
    private var watches: [EdgeWatch] = []
    private var sockets: [WebSocketLink] = []
    private var call: AdminCall?
    private var wantedAt: Int64?
    private var logout: Logout?
    private var makingFailure = ""
    private var isCalling = false

    /// - Parameters:
    ///   - threads: for commands.
    ///   - hold: if given, called when the session is in use on every edge, which then waits for `release`.
    ///   - logoutFailed: told the status or kind of each logout that was not answered 2xx; it is tried again.
    init(
        _ plan: RevocationPlan, eventLoop: any EventLoop, threads: NIOThreadPool, hold: (() -> Void)?,
        logoutFailed: @escaping (String) -> Void, completion: @escaping (Outcome) -> Void
    ) {
        self.hold = hold
        self.plan = plan
        self.eventLoop = eventLoop
        self.threads = threads
        self.logoutFailed = logoutFailed
        self.completion = completion
    }

    // MARK: Making

    /// - Parameter user: for a session that has to be made.
    func make(user: String) {
        guard case .admin(let dialer, let token) = plan.source, phase == .making else { return }
        call = AdminCall(dialer, token: token, .makeSession(of: user), on: eventLoop) { [self] outcome in
            switch outcome {
            case .answer(let answer):
                if answer.status == 201, let made = BenchSession(user: user, answer: answer.body) { return use(made) }
                makingFailure = answer.status == 201 ? "malformed" : "status_\(answer.status)"
            case .failure(let kind): makingFailure = kind.name
            }
            wake(in: RevocationPlan.pause) { self.make(user: user) }
        }
    }

    func use(_ session: BenchSession) {
        self.session = session
        phase = .warming
        watches = plan.edges.map { edge in
            EdgeWatch(edge, token: session.token, interval: plan.interval, eventLoop: eventLoop) { [weak self] in self?.step() }
        }
        for watch in watches { watch.begin() }
        guard let path = plan.webSocketPath else { return }
        for edge in plan.edges {
            let socket = WebSocketLink(Target(edge.target, path: path), token: session.token) { [weak self] in self?.step() }
            sockets.append(socket)
            edge.dial(socket, on: eventLoop)
        }
    }

    /// Whether the session has been in use on every edge.
    var isPastWarming: Bool { phase != .making && phase != .warming }

    // MARK: What is next

    /// Called after everything that has happened.
    func step() {
        switch phase {
        case .making, .held, .loggingOut, .done: break
        case .warming:
            let isWarm = watches.allSatisfy { $0.record.good >= RevocationPlan.goodAnswers } && sockets.allSatisfy { $0.state != .opening }
            guard isWarm else { return }
            guard let hold else { return logOut() }
            phase = .held
            hold()
        case .watching:
            if edges().allSatisfy({ $0.isConfirmed && !($0.webSocket == .open) }) { finish() }
        }
    }

    /// Called every now and then.
    ///
    /// - Parameter isFirst: no session has been in use on every edge yet.
    func sweep(_ now: Int64, isFirst: Bool) {
        for watch in watches { watch.expire(sentBefore: now - RevocationPlan.timeout) }
        call?.expire(sentBefore: now - plan.patience)
        step()
        switch phase {
        case .making, .warming, .held, .loggingOut:
            if now - began > (isFirst ? min(plan.patience, RevocationPlan.firstPatience) : plan.patience) { finish() }
        case .watching:
            if let logout, now - logout.answered > plan.observation { finish() }
        case .done: break
        }
    }

    private func wake(in time: Int64, _ task: @escaping () -> Void) {
        eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(time), task)
    }

    // MARK: Logging out

    /// Logs out a session that is held.
    func release() {
        if phase == .held { logOut() }
    }

    private func logOut() {
        guard phase != .done, let session else { return }
        phase = .loggingOut
        wantedAt = wantedAt ?? BenchClock.now()
        switch plan.logout {
        case .admin(let dialer, let token):
            call = AdminCall(dialer, token: token, .endSession(session), on: eventLoop, sending: { [self] in logoutLeaves() }) { [self] outcome in
                switch outcome {
                case .answer(let answer) where 200..<300 ~= answer.status: loggedOut(sent: answer.sent, answered: answer.now)
                case .answer(let answer): repeatLogout("status_\(answer.status)")
                case .failure(let kind): repeatLogout(kind.name)
                }
            }
        case .command(let command):
            logoutLeaves()
            let sent = BenchClock.now()
            let environment = [
                ("PORTCULLIS_BENCH_USER", session.user), ("PORTCULLIS_BENCH_SESSION", session.id), ("PORTCULLIS_BENCH_TOKEN", session.token),
            ]
            threads.runIfActive(eventLoop: eventLoop) { (ShellCommand.run(command, environment: environment), BenchClock.now()) }
                .assumeIsolated().whenSuccess { [self] code, ended in
                    if code == 0 { loggedOut(sent: sent, answered: ended) } else { repeatLogout("exit_\(code)") }
                }
        }
    }

    private func logoutLeaves() {
        for watch in watches { watch.isEnding = true }
    }

    private func repeatLogout(_ name: String) {
        logoutFailed(name)
        wake(in: RevocationPlan.pause) { self.logOut() }
    }

    private func loggedOut(sent: Int64, answered: Int64) {
        guard phase == .loggingOut else { return }
        logout = Logout(wanted: wantedAt ?? sent, sent: sent, answered: answered)
        phase = .watching
        for watch in watches { watch.loggedOut(at: answered) }
    }

    // MARK: The end

    private func edges() -> [Outcome.Edge] {
        watches.enumerated().map { place, watch in
            let settled = max(logout?.answered ?? .max - plan.settling, watch.record.late > 0 ? watch.record.lastGood ?? 0 : 0) + plan.settling
            return Outcome.Edge(
                record: watch.record, isConfirmed: watch.record.lastJudged >= settled, webSocket: sockets.isEmpty ? nil : sockets[place].state)
        }
    }

    private func finish() {
        guard phase != .done else { return }
        let outcome = Outcome(logout: logout, edges: edges(), obstacle: obstacle)
        phase = .done
        for watch in watches { watch.stop() }
        for socket in sockets { socket.abandon() }
        completion(outcome)
    }

    private var obstacle: RevocationObstacle? {
        switch phase {
        case .making: return .noSession(makingFailure)
        case .warming:
            for (edge, watch) in zip(plan.edges, watches) where watch.record.good < RevocationPlan.goodAnswers {
                let reason = watch.record.errors.max { $0.value < $1.value }?.key ?? "nothing"
                return .edgeRefuses(url: edge.target.shown, reason)
            }
            for (edge, socket) in zip(plan.edges, sockets) where socket.state == .opening { return .noWebSocket(url: edge.target.shown) }
            return nil
        case .loggingOut: return .noLogout
        case .held, .watching, .done: return nil
        }
    }
}

@available(*, unavailable)
extension Trial: Sendable {}
