// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import TestSupport

@testable import RedisSessions

/// Nanoseconds of the simulation's own time.
typealias SimulatedTime = Int64

extension SimulatedTime {
    static func microseconds(_ count: Int64) -> Self { count * 1000 }
    static func milliseconds(_ count: Int64) -> Self { count * 1_000_000 }
}

/// What happens, in the order of its time: one thread, no clock, no socket; the same for the same seed.
final class Simulation {
    private(set) var now = SimulatedTime.milliseconds(1000)
    private(set) var steps = 0
    var random: SeededGenerator
    private var queue = EventQueue()

    /// Whether what happens is printed, for a seed that is replayed.
    private let isTold: Bool

    init(seed: UInt64, isTold: Bool = false) {
        random = SeededGenerator(seed: seed)
        self.isTold = isTold
    }

    func tell(_ what: @autoclosure () -> String) {
        if isTold { print("\(Double(now) / 1e6) ms  \(what())") }
    }

    func at(_ time: SimulatedTime, _ body: @escaping () -> Void) {
        queue.add(max(time, now), body)
    }

    func after(_ delay: SimulatedTime, _ body: @escaping () -> Void) { at(now + delay, body) }

    func run(until end: SimulatedTime) {
        while let time = queue.earliest, time <= end {
            now = time
            steps += 1
            queue.removeFirst()()
        }
        now = max(now, end)
    }

    func end() { queue = EventQueue() }

    func between(_ low: SimulatedTime, _ high: SimulatedTime) -> SimulatedTime {
        low + SimulatedTime(random.next() % UInt64(max(1, high - low + 1)))
    }

    func chance(_ percent: Int) -> Bool { random.next() % 100 < UInt64(percent) }

    func index(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }
}

/// A binary heap; events of one time stay in the order in which they were added.
private struct EventQueue {
    private struct Entry {
        let time: SimulatedTime
        let order: Int
        let body: () -> Void

        func isBefore(_ other: Entry) -> Bool { (time, order) < (other.time, other.order) }
    }

    private var entries: [Entry] = []
    private var added = 0

    var earliest: SimulatedTime? { entries.first?.time }

    mutating func add(_ time: SimulatedTime, _ body: @escaping () -> Void) {
        entries.append(Entry(time: time, order: added, body: body))
        added += 1
        var place = entries.count - 1
        while place > 0, entries[place].isBefore(entries[(place - 1) / 2]) {
            entries.swapAt(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
    }

    mutating func removeFirst() -> () -> Void {
        let first = entries[0]
        let last = entries.removeLast()
        if !entries.isEmpty {
            entries[0] = last
            var place = 0
            while true {
                var least = place
                for child in [2 * place + 1, 2 * place + 2] where child < entries.count && entries[child].isBefore(entries[least]) { least = child }
                if least == place { break }
                entries.swapAt(place, least)
                place = least
            }
        }
        return first.body
    }
}

/// How the simulated world is made.
struct WorldSettings {
    var gateways = 3
    var loops = 2
    var staleness = SimulatedTime.milliseconds(300)
    var commandTimeout = SimulatedTime.milliseconds(60)
    var connectTimeout = SimulatedTime.milliseconds(100)
    /// One way, least and most, while nothing is wrong.
    var latency = (SimulatedTime.microseconds(50), SimulatedTime.microseconds(500))
    /// From the first command of an event-loop cycle of Redis to its end.
    var cycle = SimulatedTime.microseconds(100)
    /// From one thread of a gateway to another.
    var hop = SimulatedTime.microseconds(50)
    var waitReplicas = 0
    /// Whether Redis tracks keys; one that does not still has to do.
    var tracks = true
    /// `revocation.mode: tracked`
    var remembers = true
    /// What is broken on purpose: the simulation has to find it.
    var mutant: Mutant?

    /// From the fence's opening to its confirmation, when nothing is wrong: two round trips, what Redis and the threads add.
    var promptness: SimulatedTime { 4 * latency.1 + 2 * cycle + 8 * hop }
    /// After a logout of all sessions every gateway asks what is still one, again if something changed meanwhile, before it confirms.
    var promptnessOfAll: SimulatedTime { promptness + Int64(RedisSessionLookup.askLimit) * (2 * latency.1 + cycle + hop) }
}

/// Rules that the simulated gateway's wrapper can break.
enum Mutant: CaseIterable {
    case acknowledgedBeforeApplied, leaseNotChecked, memorySurvivesLoss, answersNotCompared, replicasNotAwaited, silentNotAwaited,
        joinedViewIsComplete
    case othersNotHeard, faultIsLogout
    // Another rule covers for these in most schedules: an invalidation for a fence, say.
    case notVerified, staleVerification, beatNotHeard, pongNotAwaited, echoNotAwaited, fleetNotRead, dataElsewhere

    /// Those that show within a few hundred seeds.
    static let common: [Mutant] = [
        .acknowledgedBeforeApplied, .leaseNotChecked, .memorySurvivesLoss, .answersNotCompared, .replicasNotAwaited, .silentNotAwaited,
        .joinedViewIsComplete, .othersNotHeard, .faultIsLogout,
    ]
}
