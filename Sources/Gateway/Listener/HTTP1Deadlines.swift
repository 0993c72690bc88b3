// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

// What can take too long on a client's connection, and how one ends that nobody waits on.
extension HTTP1Connection {
    /// One timer for all that can take too long, armed lazily: it never fires later than `now` + the shortest of the
    /// timeouts, so that no deadline set in between can lie before it, and nothing is armed for a request.
    func armTimer() {
        guard let context, phase != .closed else { return }
        let at = min(deadline.at, loop.now + loop.snapshot.shortestTimeout)
        if timer != nil, timerAt <= at { return }
        timer?.cancel()
        timerAt = at
        timer = context.eventLoop.assumeIsolated().scheduleTask(deadline: at) { [self] in
            timer = nil
            checkDeadline()
        }
    }

    private enum Expiry { case handshake, head, idle, exchange, linger }

    private var deadline: (at: NIODeadline, expiry: Expiry) {
        let limits = loop.snapshot.limits
        switch phase {
        case .closing, .closed: return (lingerUntil ?? .distantFuture, .linger)
        case .head:
            if awaitsHandshake { return (opened + limits.headTimeout, .handshake) }
            if let headStarted { return (headStarted + limits.headTimeout, .head) }
            return (idleSince + limits.idleTimeout, .idle)
        case .discarding: return (idleSince + limits.idleTimeout, .idle)
        case .body, .answering, .tunnel: return (exchange.deadline, .exchange)
        }
    }

    private func checkDeadline() {
        let due = deadline
        guard due.at <= loop.now else { return armTimer() }
        switch due.expiry {
        case .handshake: close()
        case .idle: closeIdle()
        case .linger: if lastAnswerHasLeft { close() } else { cut() }
        case .head:
            headStarted = nil
            isLast = true
            phase = .body
            exchange.refuseHead(.headTimeout)
        case .exchange: exchange.deadlinePassed()
        }
        armTimer()
    }

    // MARK: The end between two requests

    /// The gateway drains: an idle connection ends now, any other after its answer.
    func drain() {
        if isIdle { closeIdle() }
    }

    /// Between two requests; but the client may still be taking the answer to the last one.
    private func closeIdle() {
        guard let context else { return }
        phase = .closing
        lingerUntil = loop.now + loop.snapshot.limits.streamIdleTimeout
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { [self] _ in close() }
        context.writeAndFlush(wrapOutboundOut(loop.noBytes), promise: written)
    }
}
