// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc
import NIOCore

/// The clock of leases, and of what is let pass while the store is silent: goes on while the machine sleeps, which the event loops' clock does not. A
/// gateway that wakes up after an hour must not take its lease for fresh. Any thread.
package enum LeaseClock {
    package static func now() -> NIODeadline {
        var time = timespec()
        clock_gettime(CLOCK_BOOTTIME, &time)
        return .uptimeNanoseconds(UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
    }
}
