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

    func storeFellSilent() {
        if !isWithinGrace { end(.storeSilent) }
    }

    /// Whether the upstream may be told, and the client may hear, another byte. A process that was stopped for a while finds here that it was.
    ///
    /// Decided once for all that has come at once: an answer whose head passes is not cut before the body that came with it.
    var mayGoOn: Bool {
        guard let heldReference else { return true }
        if let allowedTurn, allowedTurn == loop.turn { return true }
        guard loop.lookup.isFresh(heldReference) || isWithinGrace else { return false }
        allowedTurn = loop.turn
        return true
    }

    /// While the store is silent: whether the route lets the exchange go on all the same.
    private var isWithinGrace: Bool {
        let revocation = snapshot.configuration.revocation
        guard snapshot.routes[route].whenUnavailable == .allowRecent, let reference = remembered?.reference else { return false }
        // The last confirmation was the lease, which may have ended long ago: a process may have been stopped.
        let end = graceEnd ?? loop.lookup.staleSince(reference) + revocation.grace - revocation.maxStaleness
        graceEnd = end
        return LeaseClock.now() < end
    }

    /// For whatever is open for longer than a moment; called once a second.
    func lookAfter(unixTime: Double) {
        switch state {
        case .idle, .judging, .session, .ended: return
        case .gathering, .connecting, .sending, .responding, .tunnel: break
        }
        guard let remembered else { return }
        if remembered.endsWithToken, unixTime >= remembered.acceptUntil { return end(.expired) }
        guard let reference = remembered.reference else { return }
        loop.lookup.watch(self)
        if loop.lookup.isFresh(reference) { graceEnd = nil } else { storeFellSilent() }
    }

    /// Ends what is going on: with an answer where none has begun, else so that it does not look complete.
    func end(_ ending: Ending) {
        switch state {
        case .session where ending != .draining:
            // The answer that is on its way may be from before. One that is unavailable is so by itself.
            endedMeanwhile = endedMeanwhile || ending == .revoked || ending == .expired
        case .session, .gathering, .connecting, .sending:
            // What is left of a body is not waited for: the connection is part of what was open.
            refuse(ending.rejection, closing: !requestIsComplete)
        case .responding:
            loop.counters.streamClosed(ending)
            record.outcome = ending.outcome
            upstream?.detach()
            upstream = nil
            writeOutgoing()
            finish()
            downstream.cut()
        case .tunnel:
            loop.counters.streamClosed(ending)
            record.outcome = ending.outcome
            let told = closeWebSocket(code: ending.closeCode, reason: ending.closeReason)
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
    func refuse(_ rejection: Rejection, closing: Bool = false) {
        upstream?.detach()
        upstream = nil
        if state == .responding || state == .tunnel {
            record.outcome = .rejected(rejection)
            finish()
            return downstream.cut()
        }
        answer(rejection, closing: closing)
    }

    func answer(_ rejection: Rejection, closing: Bool = false) {
        let closes = downstream.endsWithAnswer(refused: true) || closing
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
        let snapshot = snapshot
        record.duration = loop.now - asked
        loop.counters.requestEnded(route: route, record.outcome, status: record.status, after: record.duration, of: snapshot)
        if snapshot.accessLog { loop.accessLog?.append(record, remembered, snapshot: snapshot, route: route) }
        loop.lookup.release(self)
        remembered = nil
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

extension ExchangeEnding {
    /// For a request whose answer has not begun (contract §4.10).
    var rejection: Rejection {
        switch self {
        case .revoked, .expired: .sessionRevoked
        case .storeSilent: .storeUnavailable
        case .draining, .idle: .draining
        }
    }

    var outcome: AccessRecord.Outcome {
        switch self {
        case .revoked: .revoked
        case .expired: .expired
        case .storeSilent: .storeSilent
        case .draining: .draining
        case .idle: .idle
        }
    }

    /// Of a WebSocket's close frame (RFC 6455 §7.4.1).
    var closeCode: UInt16 {
        switch self {
        case .revoked, .expired, .storeSilent: 1008
        case .draining, .idle: 1001
        }
    }

    var closeReason: StaticString {
        switch self {
        case .revoked: "session revoked"
        case .expired: "session expired"
        case .storeSilent: "session cannot be confirmed"
        case .draining, .idle: "going away"
        }
    }
}
