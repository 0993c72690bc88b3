// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import Synchronization

/// Stands between clients and a real Redis, understands what they say, and answers some of it in Redis' place. One command at a time on a connection.
package final class RedisRelay: Sendable {
    /// What is said instead of asking Redis, as it goes over the wire; nil: Redis is asked.
    package typealias Rule = @Sendable (_ command: [String]) -> String?

    private final class Shared: Sendable {
        let rule = Mutex<Rule?>(nil)
        let answered = Mutex(0)
    }

    private let shared = Shared()
    private let server: FakeServer

    package init(to target: Int) throws {
        server = try FakeServer { [shared] connection in
            let client = RESPConnection(socket: connection.socket)
            guard let redis = try? RESPConnection(port: target, timeout: nil) else { return }
            defer { redis.close() }
            while let (value, bytes) = try? client.readExactly(), let words = value.elements?.map({ $0.text ?? "" }) {
                if let text = shared.rule.withLock({ $0 })?(words) {
                    shared.answered.withLock { $0 += 1 }
                    guard client.write(Array(text.utf8)) else { return }
                    continue
                }
                guard redis.write(bytes) else { return }
                // From here on Redis speaks without being asked.
                if words.first == "SUBSCRIBE" { return Self.pump(client, redis, connection.socket) }
                guard let reply = try? redis.readExactly(), client.write(reply.bytes) else { return }
            }
        }
    }

    package var port: Int { server.port }

    /// How many commands were answered in Redis' place.
    package var answered: Int { shared.answered.withLock { $0 } }

    /// From now on, on all connections.
    package func answer(_ rule: Rule?) { shared.rule.withLock { $0 = rule } }

    package func stop() { server.stop() }

    private static func pump(_ client: RESPConnection, _ redis: RESPConnection, _ socket: LoopbackSocket) {
        // Each is read by one thread and written to by the other.
        nonisolated(unsafe) let (client, redis) = (client, redis)
        Thread.detachNewThread {
            redis.pump(to: client)
            socket.shutdown()
        }
        client.pump(to: redis)
    }
}
