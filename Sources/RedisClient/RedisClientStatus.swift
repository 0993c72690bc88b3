// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Synchronization

/// What a client tells about itself. May be read from any thread; written on the client's loop alone.
package final class RedisClientStatus: Sendable {
    /// A number that one thread counts and others read: a load and a store, no locked instruction.
    struct Counter: ~Copyable, Sendable {
        private let number = Atomic<UInt64>(0)
        var value: UInt64 { number.load(ordering: .relaxed) }
        func add(_ count: UInt64 = 1) { number.store(number.load(ordering: .relaxed) &+ count, ordering: .relaxed) }
    }

    private let connected = Atomic(false)
    private let everConnected = Atomic(false)
    private let server = Atomic<UInt64>(0)
    let commandCounter = Counter()
    let failureCounter = Counter()
    let timeoutCounter = Counter()
    let connectionCounter = Counter()

    /// Whether the handshake of the present connection is done.
    package var isConnected: Bool { connected.load(ordering: .acquiring) }
    /// Whether that was ever so.
    package var wasEverConnected: Bool { everConnected.load(ordering: .acquiring) }
    /// Tells one server from another (and from itself before a restart): of the present connection, or of the last one; 0 before the first.
    package var serverID: UInt64 { server.load(ordering: .acquiring) }
    /// Commands that came in.
    package var commands: UInt64 { commandCounter.value }
    /// Commands that got no reply. Error replies are replies.
    package var failures: UInt64 { failureCounter.value }
    /// Connections given up because a command's deadline passed.
    package var timeouts: UInt64 { timeoutCounter.value }
    /// Connections of which the handshake succeeded.
    package var connections: UInt64 { connectionCounter.value }

    func set(serverID: UInt64) { server.store(serverID, ordering: .releasing) }

    func set(connected isConnected: Bool) {
        connected.store(isConnected, ordering: .releasing)
        if isConnected { everConnected.store(true, ordering: .releasing) }
    }
}
