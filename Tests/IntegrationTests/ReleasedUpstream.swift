// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import Synchronization
import TestSupport

/// An upstream that begins each answer at once and ends it when it is told to, or at once from then on; under `/public/late` it also begins it
/// only then.
final class ReleasedUpstream: Sendable {
    private let server: FakeServer
    private let gate: Gate

    private final class Gate: Sendable {
        let condition = NSCondition()
        let state = Mutex((waiting: 0, most: 0, isOpen: false))

        func pass() {
            state.withLock {
                $0.waiting += 1
                $0.most = max($0.most, $0.waiting)
            }
            condition.lock()
            while !state.withLock({ $0.isOpen }) { condition.wait() }
            condition.unlock()
            state.withLock { $0.waiting -= 1 }
        }

        func open() {
            condition.lock()
            state.withLock { $0.isOpen = true }
            condition.broadcast()
            condition.unlock()
        }
    }

    init() throws {
        let gate = Gate()
        self.gate = gate
        server = try FakeServer { connection in
            let reader = HTTPReader(connection.socket)
            while let request = reader.request() {
                let first = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst"
                let isLate = request.target == "/public/late"
                if !isLate, !connection.write(first) { return }
                gate.pass()
                guard connection.write(isLate ? first + "-last" : "-last") else { return }
            }
        }
    }

    var port: Int { server.port }

    /// How many answers have been begun and are waiting for their end.
    var waiting: Int { gate.state.withLock { $0.waiting } }

    /// The most that ever were so at once.
    var mostAtOnce: Int { gate.state.withLock { $0.most } }

    /// Ends the open answers; those that follow don't wait.
    func release() { gate.open() }

    func stop() {
        gate.open()
        server.stop()
    }
}
