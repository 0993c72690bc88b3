// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import RedisClient
import Sessions
import Synchronization
import WallTime

/// Takes registered sessions out of their sets when their end has come (contract §6: at most 2 s late).
///
/// A lookup is one `SISMEMBER`, which knows nothing of time. So users with a registered session stand in one sorted set by
/// their next end, and every gateway looks once a second at what is due: one command, whose cost does not grow with the number
/// of users or sessions. Whoever comes first does it; doing it twice does no harm; a restart forgets nothing. Looking also
/// shows whether Redis answers while there is no traffic.
final class EndSweep: Sendable {
    private static let interval = Duration.seconds(1)
    /// Users looked at in one go.
    private static let batch = 100

    private let connections: RedisConnections
    private let fleet: FleetMembership
    private let keys: SessionKeys
    private let task = Mutex<Task<Void, Never>?>(nil)

    init(connections: RedisConnections, fleet: FleetMembership, keys: SessionKeys) {
        self.connections = connections
        self.fleet = fleet
        self.keys = keys
    }

    func start() {
        let task = Task { [self] in
            while !Task.isCancelled {
                try? await sweep()
                try? await Task.sleep(for: Self.interval)
            }
        }
        self.task.withLock { $0 = task }
    }

    func stop() { task.withLock { $0 }?.cancel() }

    /// Notes that a session of the user ends then. Done before the session is registered and again after: before, so that nothing
    /// is forgotten if the gateway is lost in between; after, for a sweep that found nothing to come in between.
    func note(end: UnixMilliseconds, of user: UserID) async throws(StoreUnavailable) {
        let replies: [RedisReply]
        do throws(RedisFailure) {
            replies = try await connections.run(SessionScripts.noteEnd, keys: [keys.due], arguments: [keys.tag(user), digits(end)])
        } catch {
            throw StoreUnavailable("Redis did not note a session's end")
        }
        guard case .integer(1)? = replies.first else { throw StoreUnavailable("Redis did not note a session's end") }
    }

    /// Takes out what is over of one user, now. When it cannot be done, who asked asks again.
    func dropEnded(of user: UserID) async {
        let all = [keys.sessions(user), keys.ends(user), keys.begins(user)]
        _ = try? await connections.runForUser(SessionScripts.dropEnded, keys: all, arguments: [digits(systemTime())])
    }

    /// Settles all that are due: whoever cannot be now (a key of another type, a primary that is away) keeps nobody else, and is tried again after a pause.
    private func sweep() async throws {
        let now = systemTime()
        // How many stand before those that have not been looked at yet.
        var unsettled = 0
        while !Task.isCancelled {
            let slot = RedisSlot(key: keys.due)
            let answer = try await connections.answer(
                to: [
                    RedisCommand([
                        Array("ZRANGEBYSCORE".utf8), keys.due, Array("-inf".utf8), digits(now), Array("LIMIT".utf8), digits(Int64(unsettled)),
                        digits(Int64(Self.batch)), Array("WITHSCORES".utf8),
                    ])
                ], slot: slot)
            _ = try await fleet.expectListening(to: answer.serverID, slot, over: connections)
            guard case .array(let entries)? = answer.replies.first else { return }
            unsettled += entries.count / 2 - (await settle(entries, now))
            if entries.count < 2 * Self.batch { return }
        }
    }

    /// Returns how many of them are settled.
    private func settle(_ entries: [RedisReply], _ now: UnixMilliseconds) async -> Int {
        var settled = 0
        for index in stride(from: 0, to: entries.count - 1, by: 2) {
            guard let tag = entries[index].bytes, let score = entries[index + 1].bytes else { continue }
            let sessions = keys.prefix + Array("sessions:".utf8) + tag
            let ends = keys.prefix + Array("ends:".utf8) + tag
            let begins = keys.prefix + Array("begins:".utf8) + tag
            let next = try? await connections.runForUser(SessionScripts.dropEnded, keys: [sessions, ends, begins], arguments: [digits(now)]).replies
                .first
            guard case .integer(let next)? = next else { continue }
            // Until here the entry stood as it was, so that a gateway that is lost on the way leaves it to the others.
            guard let done = try? await connections.run(SessionScripts.settle, keys: [keys.due], arguments: [tag, score, digits(next)]).first,
                case .integer = done
            else { continue }
            settled += 1
        }
        return settled
    }

    private func digits(_ number: Int64) -> [UInt8] { Array(String(number).utf8) }
}
