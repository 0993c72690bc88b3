// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// How long to wait before the next attempt to connect: doubles with each failure in a row, never the same for two clients, and short enough that a
/// Redis that is back is used again within a second.
struct Backoff {
    static let first = TimeAmount.milliseconds(50)
    static let longest = TimeAmount.milliseconds(500)

    /// SplitMix64: spreads the attempts of many clients, protects nothing.
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    /// Between half and the whole of the step for so many failures in a row.
    mutating func delay(afterFailures failures: Int) -> TimeAmount {
        let step = min(Self.first.nanoseconds << Int64(min(failures, 10)), Self.longest.nanoseconds)
        return .nanoseconds(step / 2 + Int64(next() % UInt64(step / 2 + 1)))
    }

    private mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
