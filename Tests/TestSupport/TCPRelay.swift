// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import Synchronization

/// A TCP relay in front of a server on this machine that can be slow, silent or cut.
package final class TCPRelay: Sendable {
    private let server: FakeServer
    private let settings: Settings

    private final class Settings: Sendable {
        let delay = Mutex(Duration.zero)
        let silent = Atomic(false)
        let turns = Atomic(0)
        let isTargetsTurn = Atomic(false)
    }

    package init(to target: Int) throws {
        let settings = Settings()
        self.settings = settings
        server = try FakeServer { connection in
            guard let upstream = try? LoopbackSocket(port: target, timeout: nil) else { return }
            let back = connection.socket
            Thread.detachNewThread {
                Self.pump(from: upstream, to: back, settings) { settings.isTargetsTurn.store(false, ordering: .relaxed) }
                back.shutdown()
            }
            Self.pump(from: back, to: upstream, settings) {
                if !settings.isTargetsTurn.exchange(true, ordering: .relaxed) { settings.turns.add(1, ordering: .relaxed) }
            }
            upstream.shutdown()
        }
    }

    package var port: Int { server.port }

    /// Added to every piece of data in both directions.
    package var delay: Duration {
        get { settings.delay.withLock { $0 } }
        set { settings.delay.withLock { $0 = newValue } }
    }

    /// Whether data is swallowed while connections stay open: a network that loses everything.
    package var isSilent: Bool {
        get { settings.silent.load(ordering: .relaxed) }
        set { settings.silent.store(newValue, ordering: .relaxed) }
    }

    /// Round trips so far, over all connections: how often a client has said something after the server had.
    package var roundTrips: Int { settings.turns.load(ordering: .relaxed) }

    package var acceptedConnections: Int { server.acceptedConnections }

    /// Ends every open connection; new ones are accepted.
    package func cut() { server.cut() }

    package func stop() { server.stop() }

    private static func pump(from source: LoopbackSocket, to target: LoopbackSocket, _ settings: Settings, passes: () -> Void) {
        while true {
            let bytes = source.read()
            guard !bytes.isEmpty else { return }
            passes()
            let delay = settings.delay.withLock { $0 }
            if delay > .zero {
                usleep(UInt32(delay.components.seconds * 1_000_000 + delay.components.attoseconds / 1_000_000_000_000))
            }
            if settings.silent.load(ordering: .relaxed) { continue }
            guard target.write(bytes) else { return }
        }
    }
}
