// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import RedisClient
import Sessions
import Synchronization

/// Until when what one Redis has told may be acted on. Written by its link, read by every loop for each request: two numbers, no lock.
final class FreshnessLease: Sendable {
    private let answers = Atomic<UInt64>(0)
    private let memory = Atomic<UInt64>(0)
    /// The last moment up to which everything had been heard; 0: there was none.
    private let proven = Atomic<UInt64>(0)
    private let server = Atomic<UInt64>(0)
    private let listens = Atomic<Bool>(false)
    /// Since when there has been none, where it was taken away before its end.
    private let missing = Atomic<UInt64>(LeaseClock.now().uptimeNanoseconds)

    /// When the last one ended, or was taken away before.
    private let ended = Atomic<UInt64>(LeaseClock.now().uptimeNanoseconds)

    /// Until then answers count (`LeaseClock`).
    var answersUntil: NIODeadline { .uptimeNanoseconds(answers.load(ordering: .acquiring)) }
    /// Until then remembered answers do.
    var memoryUntil: NIODeadline { .uptimeNanoseconds(memory.load(ordering: .acquiring)) }
    /// Whether answers ever counted: then the gateway is ready.
    var wasEverHeld: Bool { proven.load(ordering: .acquiring) > 0 }

    /// Since when answers do not count: the lease's end, which may be yet to come, or when it was taken away.
    var missingSince: NIODeadline {
        let answers = answers.load(ordering: .acquiring)
        return .uptimeNanoseconds(answers > 0 ? answers : missing.load(ordering: .acquiring))
    }

    /// Since when answers do not count, also where what was left of a lease that had ended long before has been taken away later.
    var staleSince: NIODeadline {
        let answers = answers.load(ordering: .acquiring)
        return .uptimeNanoseconds(answers > 0 ? answers : ended.load(ordering: .acquiring))
    }

    /// Whether its server is being listened to now.
    var isListening: Bool { listens.load(ordering: .acquiring) }

    /// Seconds since the last moment up to which everything had been heard; nil: there was none. For people.
    var staleness: Double? {
        let proven = proven.load(ordering: .acquiring)
        guard proven > 0 else { return nil }
        return Double(max(LeaseClock.now().uptimeNanoseconds, proven) - proven) / 1e9
    }

    /// Of which server (`RedisClientStatus.serverID`): what another one at the same address says counts for nothing.
    var serverID: UInt64 { server.load(ordering: .acquiring) }

    func set(answersUntil: NIODeadline, memoryUntil: NIODeadline, proven: NIODeadline, serverID: UInt64, isListening: Bool) {
        server.store(serverID, ordering: .releasing)
        listens.store(isListening, ordering: .releasing)
        let before = answers.load(ordering: .relaxed)
        if answersUntil.uptimeNanoseconds == 0, before > 0 {
            let now = LeaseClock.now().uptimeNanoseconds
            missing.store(now, ordering: .releasing)
            ended.store(min(now, before), ordering: .releasing)
        }
        answers.store(answersUntil.uptimeNanoseconds, ordering: .releasing)
        memory.store(memoryUntil.uptimeNanoseconds, ordering: .releasing)
        self.proven.store(proven.uptimeNanoseconds, ordering: .releasing)
    }
}

/// Which lease counts for which keys, as one loop sees it.
struct LeaseMap: Sendable {
    private let primaries: RedisPrimaries
    private let leases: [FreshnessLease]
    /// Outside a cluster there is one.
    private let single: FreshnessLease?

    static let none = LeaseMap(primaries: .unknown, leases: [])

    /// - Parameter leases: in the order of `primaries.nodes`.
    init(primaries: RedisPrimaries, leases: [FreshnessLease]) {
        self.primaries = primaries
        self.leases = leases
        single = primaries.isCluster ? nil : leases.first
    }

    /// Nil while nobody is known to have the slot.
    func lease(for slot: RedisSlot) -> FreshnessLease? { single ?? primaries.index(of: slot).map { leases[$0] } }

    /// Which of several primaries has the slot; nil where there is one for all, or nobody is known to have it.
    func primary(of slot: RedisSlot) -> RedisConfiguration.Address? { primaries.isCluster ? primaries.owner(of: slot)?.address : nil }

    /// The lease of a server; nil for one that is not among the primaries.
    func lease(ofServer id: UInt64) -> FreshnessLease? {
        if let single { return single.serverID == id ? single : nil }
        return leases.first { $0.serverID == id }
    }
}
