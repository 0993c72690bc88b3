// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// The load of one event loop. In an open loop a timer sends what is due, on a connection that is free or is opened for it; in a closed loop each
/// answer sends the next request. Confined to its loop.
final class LoadLoop: LinkOwner {
    private enum Phase {
        case running
        /// The time is over; what was due before is still sent, and answers are waited for.
        case draining
        case ended
    }

    private let plan: LoadPlan
    private let index: Int
    private let eventLoop: any EventLoop
    private let table: RequestTable
    private let schedule: Schedule?
    private var end: Int64
    private let finished: EventLoopPromise<Void>
    private var mix: Mix
    private var phase = Phase.running
    private(set) var recorder: Recorder
    /// The number of the next request of this loop.
    private var next = 0
    private var waiting = WaitingLine()
    private var links: [ObjectIdentifier: any Link] = [:]
    /// Those with free slots: the one that was used last comes first, so that few are kept busy and the others can end.
    private var free: [any Link] = []
    private var opening = 0
    private var inFlight = 0
    private var sweeping: Scheduled<Void>?
    /// How many requests have left in some connection, those of the warm-up too.
    private(set) var sent = 0
    /// Why the last connection that could not be opened could not.
    private(set) var openingFailure: FailureKind?
    private let linkLimit: Int

    /// - Parameters:
    ///   - start: when the warm-up begins; nanoseconds of `BenchClock`.
    ///   - finished: succeeds when the last request has been answered or given up.
    init(_ plan: LoadPlan, index: Int, start: Int64, eventLoop: any EventLoop, finished: EventLoopPromise<Void>) {
        self.plan = plan
        self.index = index
        self.eventLoop = eventLoop
        self.finished = finished
        table = RequestTable(plan.dialer.target, shapes: plan.shapes, tokens: plan.tokens)
        mix = Mix(weights: plan.shapes.map(\.weight), seed: index)
        end = start + plan.warmup + plan.duration
        recorder = Recorder(start: start + plan.warmup, end: end)
        switch plan.pace {
        case .rate(let rate):
            schedule = Schedule(start: start, rate: rate, loop: index, of: plan.loops)
            linkLimit = max(1, plan.share(of: plan.connectionLimit, loop: index))
        case .connections(let count):
            schedule = nil
            linkLimit = plan.share(of: count, loop: index)
        }
    }

    func begin() {
        eventLoop.assertInEventLoop()
        if schedule == nil { openMissing() } else { tick() }
        sweep()
    }

    // MARK: What is due

    /// Sends what is due and comes back when the next is.
    private func tick() {
        guard let schedule, phase == .running else { return }
        for _ in 0..<LoadPlan.burst {
            let due = schedule.time(next)
            guard due < end else {
                phase = .draining
                return endIfDone()
            }
            let now = BenchClock.now()
            guard due <= now else { return wake(at: due) }
            recorder.late(by: now - due, intended: due)
            arrive(Arrival(intended: due, choice: choice(schedule.position(next))))
            next += 1
        }
        // In the next round of the loop: a task that is due at once would run before any answer is looked for.
        wake(at: BenchClock.now() + 1000)
    }

    private func wake(at time: Int64) {
        eventLoop.assumeIsolated().scheduleTask(deadline: BenchClock.deadline(time)) { self.tick() }
    }

    private func choice(_ position: Int) -> RequestChoice {
        RequestChoice(shape: mix.next(), token: plan.tokens.isEmpty ? 0 : position % plan.tokens.count)
    }

    private func arrive(_ arrival: Arrival) {
        if waiting.isEmpty, let link = freeLink() {
            send(arrival, on: link)
        } else if waiting.count >= plan.waitingLimit {
            recorder.fail(.dropped, intended: arrival.intended, isSent: false)
        } else {
            if links.count >= linkLimit { recorder.block(intended: arrival.intended) }
            waiting.append(arrival)
            openMissing()
        }
    }

    private func send(_ arrival: Arrival, on link: any Link) {
        sent += 1
        inFlight += 1
        link.send(Flight(intended: arrival.intended), arrival.choice)
    }

    // MARK: Connections

    private func freeLink() -> (any Link)? {
        while let link = free.last {
            if link.freeSlots > 0 { return link }
            link.isListed = false
            free.removeLast()
        }
        return nil
    }

    /// As many as there are requests that wait for one, or as the closed loop is to have.
    private func openMissing() {
        guard phase != .ended else { return }
        let wanted = schedule == nil ? (phase == .running ? linkLimit - links.count : 0) : waiting.count - opening
        var count = min(wanted, linkLimit - links.count, LoadPlan.openingsAtOnce - opening)
        while count > 0 {
            count -= 1
            opening += 1
            let link = plan.dialer.dial(self, table: table, on: eventLoop)
            links[ObjectIdentifier(link)] = link
        }
    }

    func linkOpened(_ link: any Link) {
        opening -= 1
        use(link, since: BenchClock.now())
        if schedule == nil { openMissing() }
    }

    func link(_ link: any Link, answered flight: Flight, status: Int, at now: Int64) {
        inFlight -= 1
        recorder.answer(status, intended: flight.intended, at: now)
        use(link, since: now)
        endIfDone()
    }

    /// Gives free slots something to do.
    ///
    /// - Parameter now: since when a slot is free.
    private func use(_ link: any Link, since now: Int64) {
        if schedule != nil {
            while link.freeSlots > 0, let arrival = waiting.popFirst() { send(arrival, on: link) }
            if link.freeSlots > 0, !link.isListed {
                link.isListed = true
                free.append(link)
            }
        } else {
            while link.freeSlots > 0, phase == .running, now < end {
                let time = BenchClock.now()
                recorder.late(by: time - now, intended: time)
                send(Arrival(intended: time, choice: choice(next * plan.loops + index)), on: link)
                next += 1
            }
        }
    }

    func link(_ link: any Link, failed flight: Flight, _ kind: FailureKind) {
        inFlight -= 1
        recorder.fail(kind, intended: flight.intended, isSent: true)
        // A stream may end alone: its connection goes on.
        use(link, since: BenchClock.now())
        endIfDone()
    }

    func linkGone(_ link: any Link, _ kind: FailureKind?) {
        links[ObjectIdentifier(link)] = nil
        // Closed by us, perhaps before it was open: nobody's failure.
        guard phase != .ended else { return }
        if let kind {
            opening -= 1
            openingFailure = kind
            // Each attempt was for one of those that wait.
            if schedule != nil, let arrival = waiting.popFirst() {
                recorder.fail(kind, intended: arrival.intended, isSent: false)
            } else if schedule == nil {
                recorder.fail(kind, intended: BenchClock.now(), isSent: false)
            }
        }
        // A closed loop whose connections fail at once would do nothing but that: the next sweep opens them again.
        if schedule != nil || kind == nil { openMissing() }
        endIfDone()
    }

    // MARK: Time

    /// One look at all for what has taken too long, instead of a timer for each.
    private func sweep() {
        guard phase != .ended else { return }
        let now = BenchClock.now()
        let limit = now - plan.timeout
        while let arrival = waiting.first, arrival.intended < limit {
            _ = waiting.popFirst()
            recorder.fail(.timeout, intended: arrival.intended, isSent: false)
        }
        for link in Array(links.values) { link.expire(intendedBefore: limit) }
        if now >= end, schedule == nil { phase = .draining }
        openMissing()
        endIfDone()
        guard phase != .ended else { return }
        let next = BenchClock.deadline(min(now + LoadPlan.sweepInterval, now < end ? end : .max))
        sweeping = eventLoop.assumeIsolated().scheduleTask(deadline: next) { self.sweep() }
    }

    /// The time is over sooner than planned; what is due before is still sent, and answers are waited for.
    ///
    /// - Parameter time: the same for all loops, and far enough ahead for each to hear of it before.
    func end(at time: Int64) {
        end = time
        recorder.end(at: time)
        sweeping?.cancel()
        sweep()
        if schedule != nil { wake(at: time) }
    }

    /// Gives up what is under way and what waits.
    func stop() {
        phase = .draining
        while let arrival = waiting.popFirst() { recorder.fail(.timeout, intended: arrival.intended, isSent: false) }
        for link in Array(links.values) { link.close(.timeout) }
        endIfDone()
    }

    private func endIfDone() {
        guard phase == .draining, inFlight == 0, waiting.isEmpty else { return }
        phase = .ended
        sweeping?.cancel()
        for link in Array(links.values) { link.close(.reset) }
        finished.succeed(())
    }
}

@available(*, unavailable)
extension LoadLoop: Sendable {}
