// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Sessions
import Synchronization

/// Counts requests of routes that have a limit (contract §3 `rate_limit`): for the whole gateway, over all loops.
///
/// A window begins with the first request of whom it counts and lasts for the limit's time; the requests after the limit's number in it
/// are refused. Touched only where a route has a limit; spread over several locks by whom it counts.
final class RateLimiter: Sendable {
    private static let shardCount = 16
    /// Windows in each shard: beyond it the ended ones go, then any: about 32 MiB in all.
    private static let shardLimit = 8192

    private enum Subject: Hashable {
        case user(UserID)
        case session(UserID, String)
        case address(Address)
    }

    private struct Key: Hashable {
        var route: String
        var subject: Subject
    }

    private struct Window {
        var end: NIODeadline
        var count: Int
    }

    private final class Shard: Sendable {
        let windows = Mutex<[Key: Window]>([:])
    }

    private let shards = (0..<shardCount).map { _ in Shard() }

    /// Counts a request; nil: it may pass. Anonymous requests count by address.
    func admit(_ route: Route, user: RememberedToken?, address: Address, now: NIODeadline) -> Rejection? {
        guard let limit = route.rateLimit else { return nil }
        let key = Key(route: route.name, subject: Self.subject(limit.by, user, address))
        let shard = shards[Int(UInt(bitPattern: key.hashValue) % UInt(Self.shardCount))]
        let end: NIODeadline? = shard.windows.withLock { windows in
            if var window = windows[key], window.end > now {
                guard window.count < limit.requests else { return window.end }
                window.count += 1
                windows[key] = window
                return nil
            }
            if windows.count >= Self.shardLimit { Self.makeRoom(&windows, now: now) }
            windows[key] = Window(end: now + limit.per, count: 1)
            return nil
        }
        guard let end else { return nil }
        let second: Int64 = 1_000_000_000
        return .rateLimited(retryAfter: Int(((end - now).nanoseconds + second - 1) / second))
    }

    /// How many are being counted.
    var windowCount: Int { shards.reduce(0) { $0 + $1.windows.withLock(\.count) } }

    private static func subject(_ by: RateLimitConfiguration.Key, _ user: RememberedToken?, _ address: Address) -> Subject {
        guard let user else { return .address(address) }
        switch by {
        case .address: return .address(address)
        case .user: return .user(user.user)
        case .session: return user.session.map { .session(user.user, $0) } ?? .user(user.user)
        }
    }

    /// Removes at least an eighth, so that this is rare.
    private static func makeRoom(_ windows: inout [Key: Window], now: NIODeadline) {
        windows = windows.filter { $0.value.end > now }
        let excess = windows.count - shardLimit / 8 * 7
        guard excess > 0 else { return }
        for key in Array(windows.keys.prefix(excess)) { windows[key] = nil }
    }
}

extension Exchange {
    /// Counts this request where its route has a limit; nil: it may pass.
    func countAgainstLimit(_ route: Route, _ identity: RememberedToken?) -> Rejection? {
        loop.shared.rateLimits.admit(route, user: identity, address: clientAddress, now: asked)
    }
}
