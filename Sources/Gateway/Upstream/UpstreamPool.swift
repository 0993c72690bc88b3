// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// Connections of one event loop to one upstream: idle ones for each endpoint, and the exchanges that wait for one.
///
/// Confined to its loop. Endpoints are tried in turn (round robin); an exchange that may be tried again goes to the next one.
final class UpstreamPool {
    /// How often an exchange that waits for a place looks again. Bounds the delay when the place is freed on another loop.
    static let waitInterval = TimeAmount.milliseconds(5)

    let plan: UpstreamPlan
    private unowned let loop: GatewayLoop
    private var configuration: UpstreamConfiguration { plan.configuration }
    private var budgets: [EndpointBudget] { plan.budgets }
    /// Idle connections for each endpoint; the last one is the youngest and is used first.
    private var idle: [[UpstreamConnection]]
    private var waiters = CircularBuffer<Waiter>()
    private var waitTimer: Scheduled<Void>?
    private var idleTimer: Scheduled<Void>?
    private var next: Int
    private(set) var isRetired = false

    private struct Waiter {
        var exchange: Exchange
        var ticket: UInt32
        var deadline: NIODeadline
    }

    init(_ plan: UpstreamPlan, loop: GatewayLoop) {
        self.plan = plan
        self.loop = loop
        self.idle = Array(repeating: [], count: plan.configuration.endpoints.count)
        // Loops begin at different endpoints, so that a few requests on each do not all meet the first.
        self.next = loop.index
    }

    /// Finds a connection for the exchange: calls `exchange.upstreamReady` or `exchange.upstreamFailed`, possibly before it returns.
    func connect(_ exchange: Exchange) {
        let count = configuration.endpoints.count
        next = next &+ 1 < count ? next &+ 1 : 0
        if let connection = takeIdle(next) {
            exchange.upstreamReady(connection)
            return
        }
        for offset in 0..<count {
            let endpoint = next + offset < count ? next + offset : next + offset - count
            if let connection = takeIdle(endpoint) {
                exchange.upstreamReady(connection)
                return
            }
            if budgets[endpoint].take() {
                open(endpoint, for: exchange)
                return
            }
        }
        wait(exchange)
    }

    private func takeIdle(_ endpoint: Int) -> UpstreamConnection? {
        while let connection = idle[endpoint].popLast() {
            if connection.isReusable { return connection }
        }
        return nil
    }

    private func open(_ endpoint: Int, for exchange: Exchange) {
        let ticket = exchange.ticket
        plan.connector.connect(configuration, endpoint: endpoint, loop: loop, pool: self) { [self] result in
            switch result {
            case .success(let connection):
                plan.reports[endpoint].reached(loop.shared.logger)
                if exchange.ticket == ticket, exchange.isWaitingForUpstream {
                    exchange.upstreamReady(connection)
                } else {
                    give(back: connection)
                }
            case .failure(let failure):
                budgets[endpoint].giveBack()
                plan.reports[endpoint].failed(failure.reason, loop.shared.logger)
                if exchange.ticket == ticket, exchange.isWaitingForUpstream {
                    exchange.upstreamFailed(failure.fault)
                }
            }
        }
    }

    // MARK: Giving back

    /// Takes back a connection whose exchange is over and that can serve another.
    func give(back connection: UpstreamConnection) {
        guard !isRetired, connection.isReusable else {
            connection.close()
            return
        }
        while let waiter = waiters.popFirst() {
            endWaiting()
            if waiter.exchange.ticket == waiter.ticket, waiter.exchange.isWaitingForUpstream {
                waiter.exchange.upstreamReady(connection)
                return
            }
        }
        if budgets[connection.endpoint].isContended {
            connection.close()
            return
        }
        connection.idleSince = loop.now
        idle[connection.endpoint].append(connection)
        if idleTimer == nil { scheduleIdleCheck(after: configuration.idleTimeout) }
    }

    /// A connection of this pool has ended, whatever the reason.
    func closed(_ connection: UpstreamConnection) {
        budgets[connection.endpoint].giveBack()
        // An idle one that the upstream closed must not be found again.
        if connection.exchange == nil, let place = idle[connection.endpoint].lastIndex(where: { $0 === connection }) {
            idle[connection.endpoint].remove(at: place)
        }
        serveWaiters()
    }

    // MARK: Waiting for a place

    private func wait(_ exchange: Exchange) {
        for budget in budgets { budget.beginWaiting() }
        waiters.append(Waiter(exchange: exchange, ticket: exchange.ticket, deadline: .now() + configuration.connectTimeout))
        if waitTimer == nil { scheduleWaitCheck() }
    }

    private func endWaiting() {
        for budget in budgets { budget.endWaiting() }
    }

    private func scheduleWaitCheck() {
        waitTimer = loop.eventLoop.assumeIsolated().scheduleTask(in: Self.waitInterval) { [self] in
            waitTimer = nil
            serveWaiters()
            if !waiters.isEmpty { scheduleWaitCheck() }
        }
    }

    private func serveWaiters() {
        let now = NIODeadline.now()
        while let waiter = waiters.first {
            guard waiter.exchange.ticket == waiter.ticket, waiter.exchange.isWaitingForUpstream else {
                waiters.removeFirst()
                endWaiting()
                continue
            }
            if let endpoint = budgets.indices.first(where: { budgets[$0].take() }) {
                waiters.removeFirst()
                endWaiting()
                open(endpoint, for: waiter.exchange)
            } else if waiter.deadline <= now {
                waiters.removeFirst()
                endWaiting()
                waiter.exchange.upstreamFailed(.exhausted)
            } else {
                return
            }
        }
    }

    // MARK: Age and end

    private func scheduleIdleCheck(after delay: TimeAmount) {
        idleTimer = loop.eventLoop.assumeIsolated().scheduleTask(in: delay) { [self] in
            idleTimer = nil
            closeExpired()
        }
    }

    private func closeExpired() {
        let now = NIODeadline.now()
        var oldest: NIODeadline?
        for endpoint in idle.indices {
            let expired = idle[endpoint].prefix { $0.idleSince + configuration.idleTimeout <= now }
            idle[endpoint].removeFirst(expired.count)
            for connection in expired { connection.close() }
            if let first = idle[endpoint].first { oldest = min(oldest ?? first.idleSince, first.idleSince) }
        }
        if let oldest { scheduleIdleCheck(after: max(.milliseconds(1), oldest + configuration.idleTimeout - now)) }
    }

    /// No new exchanges: closes what is idle now, and the rest when it is given back.
    func retire() {
        isRetired = true
        idleTimer?.cancel()
        idleTimer = nil
        let all = idle
        for endpoint in idle.indices { idle[endpoint].removeAll() }
        for connections in all { for connection in connections { connection.close() } }
    }
}

@available(*, unavailable)
extension UpstreamPool: Sendable {}
