// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Synchronization

/// What one loop's connections tell about themselves. May be read from any thread; written on that loop alone.
package final class RedisConnectionsStatus: Sendable {
    private let members = Mutex<[(primary: RedisPrimary, status: RedisClientStatus)]>([])
    private let connected = Atomic(false)
    private let everConnected = Atomic(false)

    /// Whether there is a connection to every primary that is known, and one is.
    package var isConnected: Bool { connected.load(ordering: .acquiring) }
    /// Whether that was ever so.
    package var wasEverConnected: Bool { everConnected.load(ordering: .acquiring) }

    /// Each primary that is known now with its client's status.
    package var nodes: [(primary: RedisPrimary, status: RedisClientStatus)] { members.withLock { $0 } }

    func set(_ nodes: [(RedisPrimary, RedisClientStatus)]) {
        members.withLock { $0 = nodes.map { (primary: $0.0, status: $0.1) } }
    }

    /// Looks at all of them. Returns whether there is a connection to every one, if that has changed.
    func update() -> Bool? {
        let isConnected = members.withLock { !$0.isEmpty && $0.allSatisfy(\.status.isConnected) }
        guard isConnected != connected.exchange(isConnected, ordering: .acquiringAndReleasing) else { return nil }
        if isConnected { everConnected.store(true, ordering: .releasing) }
        return isConnected
    }
}
