// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Sessions

// end: by what is going on, by a revocation, by a fault, by time; always once.
extension Exchange {
    /// How long a client may take to read the close frame that ends its WebSocket.
    private static let farewellTimeout = TimeAmount.seconds(2)

    /// Why an exchange is ended from the gateway's side.
    typealias Ending = ExchangeEnding

    func belongs(to user: UserID, session: String?) -> Bool {
        guard state != .idle, state != .ended, let reference = remembered?.reference, reference.user == user else { return false }
        return session == nil || reference.session == session
    }

    /// Ends what is going on: with an answer where none has begun, else so that it does not look complete.
    func end(_ ending: Ending) {
        switch state {
        case .session where ending == .revoked:
            // The answer that is on its way may be from before.
            endedMeanwhile = true
        case .session, .gathering, .connecting, .sending:
            refuse(ending == .revoked ? .sessionRevoked : .draining)
        case .responding:
            loop.counters.streamClosed(ending)
            record.outcome = ending == .revoked ? .revoked : .draining
            upstream?.detach()
            upstream = nil
            writeOutgoing()
            finish()
            downstream.cut()
        case .tunnel:
            loop.counters.streamClosed(ending)
            record.outcome = ending == .revoked ? .revoked : .draining
            let told = ending == .revoked ? closeWebSocket(code: 1008, reason: "session revoked") : closeWebSocket(code: 1001, reason: "going away")
            if told.upstreamWasTold { upstream?.closeAfterWrites() } else { upstream?.cut() }
            upstream = nil
            finish()
            state = .ended
            if told.clientWasTold { downstream.closeTunnel(within: Self.farewellTimeout) } else { downstream.cut() }
        case .idle:
            downstream.cut()
        case .judging, .ended:
            return
        }
    }

    /// The client's connection has ended: so does everything that was done for it.
    func clientGone(byReset: Bool) {
        let wasActive = state != .idle && state != .ended
        ticket &+= 1
        // What ends a tunnel on one side ends it on the other.
        if state == .tunnel, byReset { upstream?.cut() } else { upstream?.detach() }
        upstream = nil
        if wasActive {
            if state != .tunnel { record.outcome = .clientGone }
            finish()
        }
        state = .ended
    }

    /// Refuses the request; where its answer has begun, cuts it.
    func refuse(_ rejection: Rejection) {
        upstream?.detach()
        upstream = nil
        if state == .responding || state == .tunnel {
            record.outcome = .rejected(rejection)
            finish()
            return downstream.cut()
        }
        answer(rejection)
    }

    func answer(_ rejection: Rejection) {
        let closes = downstream.endsWithAnswer(refused: true)
        if closes { downstream.closesAfterAnswer() }
        record.outcome = .rejected(rejection)
        var buffer = loop.takeBuffer()
        record.status = rejection.write(
            requestID: record.requestID, isHead: method == .head, closes: closes,
            redirect: wantsHTML ? snapshot.loginRedirect(route) : nil, into: &buffer)
        downstream.write(buffer)
        downstream.flush()
        loop.recycle(buffer)
        finish()
        downstream.exchangeEnded()
    }

    /// What was not even a request: nothing of it is known but what is wrong with it.
    func refuseHead(_ rejection: Rejection) {
        state = .judging
        snapshot = loop.snapshot
        asked = loop.now
        route = -1
        method = .other
        expectsContinue = false
        requestIsComplete = false
        loop.counters.requestBegan()
        record.begin(loop.ids.requestID())
        answer(rejection)
    }

    /// Once for each request: what was flushed last may have shown that the client is gone, which finishes it, too.
    func finish() {
        guard state != .idle, state != .ended else { return }
        state = .idle
        ticket &+= 1
        record.duration = loop.now - asked
        record.identity = remembered
        loop.counters.requestEnded(route: route, record, of: snapshot)
        if snapshot.accessLog { loop.accessLog?.append(record, snapshot: snapshot, route: route) }
        remembered = nil
        record.identity = nil
        pool = nil
        anonymousHead = nil
        loop.recycle(upstreamHead)
        upstreamHead = loop.noBytes
        gathered = loop.noBytes
        webSocketToClient = nil
        webSocketToUpstream = nil
    }

    /// When the loop has to look again, for whatever is going on.
    var deadline: NIODeadline {
        switch state {
        case .idle, .judging, .ended, .session, .connecting: .distantFuture
        case .gathering: sent + snapshot.limits.headTimeout
        case .sending: requestIsComplete ? sent + snapshot.responseTimeout(route) : lastByte + snapshot.limits.streamIdleTimeout
        case .responding, .tunnel: lastByte + snapshot.limits.streamIdleTimeout
        }
    }

    func deadlinePassed() {
        switch state {
        case .gathering: refuse(.headTimeout)
        case .sending where requestIsComplete: refuse(Rejection(.responseTimeout))
        case .sending, .responding, .tunnel:
            loop.counters.streamClosed(.idle)
            record.outcome = .idle
            upstream?.detach()
            upstream = nil
            finish()
            downstream.cut()
        case .idle, .judging, .ended, .session, .connecting: return
        }
    }
}
