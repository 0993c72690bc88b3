// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Sessions
import Testing

@testable import RedisSessions

@Suite("A lease as loops see it")
struct FreshnessLeaseTests {
    private func set(_ lease: FreshnessLease, until end: NIODeadline) {
        lease.set(answersUntil: end, memoryUntil: end, proven: end, serverID: 1, isListening: true)
    }

    @Test("has been stale since its end, also where its rest is taken away long after; where it was taken away before, since then")
    func stale() {
        let lease = FreshnessLease()
        let begun = LeaseClock.now(), past = begun - .milliseconds(500)
        set(lease, until: past)
        #expect(lease.staleSince == past)
        set(lease, until: .uptimeNanoseconds(0))
        #expect(lease.staleSince == past)
        // Whoever asks now waits for it all the same: another one may be there in a moment.
        #expect(lease.missingSince >= begun)
        let future = begun + .hours(1)
        set(lease, until: future)
        #expect(lease.staleSince == future)
        set(lease, until: .uptimeNanoseconds(0))
        #expect(lease.staleSince >= begun && lease.staleSince < future)
    }
}
