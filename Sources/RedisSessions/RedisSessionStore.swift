// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Logging
import NIOCore
import RedisClient
import Sessions
import Synchronization

/// Sessions in Redis. Loops look sessions up over connections of their own; everything else shares one more.
///
/// Every error reply and everything that cannot be understood is `StoreUnavailable`: only Redis saying so logs anybody out.
package final class RedisSessionStore: SessionStore {
    let configuration: RedisConfiguration
    let keys: SessionKeys
    private let waitReplicas: Int
    package let topology: RedisTopology
    let connections: RedisConnections
    private let sweep: EndSweep
    private let useTick: TimeAmount
    private let logger: Logger
    private let lookups = Mutex<[RedisConnections]>([])
    let loops = SessionLoops<RedisSessionLookup>()
    let fleet: FleetMembership

    /// - Parameters:
    ///   - deployment: where the primaries are; nil: there is one, at the configuration's address.
    ///   - keyPrefix: `store.redis.key_prefix`.
    ///   - waitReplicas: an ending is reported only after this many replicas have it.
    ///   - eventLoop: of the shared connections.
    ///   - useTick: how long a loop gathers uses of sessions (`last_seen_at`) before it writes them.
    package init(
        _ deployment: RedisDeployment? = nil, configuration: RedisConfiguration, keyPrefix: String, waitReplicas: Int, fleet: FleetSettings,
        eventLoop: any EventLoop, logger: Logger, useTick: TimeAmount = .seconds(5)
    ) {
        self.configuration = configuration
        self.waitReplicas = waitReplicas
        self.logger = logger
        self.useTick = useTick
        keys = SessionKeys(prefix: keyPrefix)
        topology = RedisTopology(
            deployment ?? .standalone(configuration.address), configuration: configuration, eventLoop: eventLoop, logger: logger)
        connections = RedisConnections(eventLoop: eventLoop, topology: topology, configuration: configuration, logger: logger)
        self.fleet = FleetMembership(
            fleet, topology: topology, loops: loops,
            surroundings: FleetMembership.Surroundings(redis: configuration, keys: keys, waitReplicas: waitReplicas, logger: logger),
            eventLoop: eventLoop)
        sweep = EndSweep(connections: connections, fleet: self.fleet, keys: keys)
    }

    /// Connects, and begins to end what is over. Returns at once; Redis need not be there yet.
    package func start() {
        topology.start()
        connections.start()
        fleet.start()
        sweep.start()
    }

    package func close() async {
        sweep.stop()
        await fleet.close()
        let all = lookups.withLock { $0 } + [connections]
        for connections in all { try? await connections.close().get() }
        topology.close()
    }

    package func lookup(on eventLoop: any EventLoop) -> SessionLookup {
        let own = RedisConnections(eventLoop: eventLoop, topology: topology, configuration: configuration, logger: logger)
        lookups.withLock { $0.append(own) }
        own.start()
        let notes = UseNotes(eventLoop: eventLoop, keys: keys, tick: useTick, write: UseWriter(connections).write)
        let lookup = RedisSessionLookup(
            connections: own, keys: keys, notes: notes, patience: configuration.commandTimeout, remembers: fleet.settings.remembers,
            eventLoop: eventLoop, endIsDue: { [sweep] user in Task { await sweep.dropEnded(of: user) } },
            isElsewhere: { [fleet] server in fleet.lookAgain(from: server) })
        loops.add(lookup)
        fleet.publishSoon()
        return lookup
    }

    /// Up for the first time is what every loop can use: each has a connection of its own, and makes it in its own time.
    package var health: StoreHealth {
        let everyLoop = lookups.withLock { $0.allSatisfy(\.wasEverConnected) }
        let leases = fleet.leases, staleness = leases.compactMap(\.staleness)
        return StoreHealth(
            isUp: connections.isConnected,
            wasEverUp: connections.wasEverConnected && everyLoop && !leases.isEmpty && leases.allSatisfy(\.wasEverHeld),
            staleness: staleness.count == leases.count ? staleness.max() : nil,
            remembers: fleet.settings.remembers ? leases.allSatisfy { $0.memoryUntil > LeaseClock.now() } : nil)
    }

    /// The `maxmemory-policy` of a primary that may drop keys; nil where all have `noeviction`. With `revocable` issuers a dropped key lets a revoked
    /// session in.
    package func evictionPolicy() async throws(StoreUnavailable) -> String? {
        let primaries = topology.primaries.nodes
        guard !primaries.isEmpty else { throw StoreUnavailable("no primary is known") }
        for primary in primaries {
            if let policy = try await evictionPolicy(of: primary) { return policy }
        }
        return nil
    }

    private func evictionPolicy(of primary: RedisPrimary) async throws(StoreUnavailable) -> String? {
        let replies: [RedisReply]
        do throws(RedisFailure) { replies = try await connections.callAll([RedisCommand("INFO", "memory")], node: primary.id) } catch {
            throw Self.unavailable(error)
        }
        guard case .bulk(let bytes)? = replies.first else { throw StoreUnavailable("INFO was not answered with text") }
        for line in String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline) where line.hasPrefix("maxmemory_policy:") {
            let policy = String(line.dropFirst("maxmemory_policy:".count))
            return policy == "noeviction" ? nil : policy
        }
        throw StoreUnavailable("INFO says nothing of maxmemory_policy")
    }

    // MARK: SessionStore

    package func create(
        _ record: SessionRecord, refreshHash: [UInt8], rules: SessionRules, now: UnixMilliseconds
    ) async throws(StoreUnavailable) -> [String] {
        let ends = record.expiresAt ?? now + rules.sessionLifetime
        var arguments = [
            Array(record.session.utf8), text(now), text(ends), text(rules.retainRevoked), text(Int64(rules.maxPerUser)),
            keys.recordPrefix(record.user),
        ]
        func add(_ name: String, _ value: [UInt8]?) {
            if let value { arguments += [Array(name.utf8), value] }
        }
        add("created_at", text(record.createdAt ?? now))
        add("expires_at", text(ends))
        add("last_seen_at", record.lastSeenAt.map(text))
        add("ip", record.ip.map { Array($0.utf8) })
        add("user_agent", record.userAgent.map { Array($0.utf8) })
        add("device", record.device.map { Array($0.utf8) })
        add("claims", record.claims)
        add("refresh_hash", refreshHash)
        let reply = try await run(SessionScripts.create, keys: sessionKeys(record.session, record.user), arguments: arguments).reply
        var (isMore, gone) = try Self.evicted(reply)
        while isMore {
            // There are far too many, since the limit was lowered or ids were registered. The session itself has begun: what cannot be ended now is
            // ended at the next login.
            let more = try? await run(
                SessionScripts.evict, keys: sessionKeys(record.session, record.user),
                arguments: [
                    Array(record.session.utf8), text(now), text(rules.retainRevoked), text(Int64(rules.maxPerUser)), keys.recordPrefix(record.user),
                ])
            guard let more, let next = try? Self.evicted(more.reply) else { break }
            gone += next.gone
            isMore = next.isMore
        }
        for session in gone { await gaveWay(session, of: record.user) }
        return gone
    }

    private static func evicted(_ reply: RedisReply) throws(StoreUnavailable) -> (isMore: Bool, gone: [String]) {
        guard case .array(let parts) = reply, parts.count == 2, let isMore = parts[0].integer, let gone = parts[1].elements else { throw odd }
        let ids = gone.compactMap(\.bytes)
        guard ids.count == gone.count else { throw odd }
        return (isMore == 1, ids.map { String(decoding: $0, as: UTF8.self) })
    }

    package func register(
        _ session: String, of user: UserID, expiresAt: UnixMilliseconds, rules: SessionRules, now: UnixMilliseconds
    ) async throws(StoreUnavailable) -> Registration {
        try await sweep.note(end: expiresAt, of: user)
        let reply = try await run(
            SessionScripts.register, keys: sessionKeys(session, user) + [keys.logouts(user)],
            arguments: [Array(session.utf8), text(now), text(expiresAt), text(rules.retainRevoked)]
        ).reply
        switch reply {
        case .integer(1):
            try await sweep.note(end: expiresAt, of: user)
            return .registered
        case .integer(0): return .revokedBefore
        default: throw Self.odd
        }
    }

    package func end(
        _ session: String, of user: UserID, reason: RevokeReason, rules: SessionRules, now: UnixMilliseconds
    ) async throws(StoreUnavailable) -> Ending {
        let (reply, server) = try await run(
            SessionScripts.end, keys: sessionKeys(session, user) + [keys.logouts(user)],
            arguments: [Array(session.utf8), text(now), Array(reason.rawValue.utf8), text(rules.retainRevoked)], isLogout: true)
        let ending: Ending
        switch reply {
        case .integer(0): ending = .unknown
        case .integer(1): ending = .ended
        case .integer(2): ending = .endedBefore
        default: throw Self.odd
        }
        // Also one that ended before: whoever ended it may have got no answer.
        try await haveEnded(session, of: user, reason: reason, on: server)
        return ending
    }

    package func endAll(
        of user: UserID, reason: RevokeReason, alsoRevokeIssued: RevokedBefore?, rules: SessionRules, now: UnixMilliseconds
    ) async throws(StoreUnavailable) -> Int {
        let (reply, server) = try await run(
            SessionScripts.endAll,
            keys: [
                keys.sessions(user), keys.ends(user), keys.begins(user), keys.logouts(user), keys.revokedBefore(user), keys.records(user),
            ],
            arguments: [
                text(now), Array(reason.rawValue.utf8), text(rules.retainRevoked), alsoRevokeIssued.map { text($0.moment) } ?? [],
                alsoRevokeIssued.map { text($0.until) } ?? [],
            ], isLogout: true)
        guard case .integer(let count) = reply else { throw Self.odd }
        try await haveEnded(nil, of: user, reason: reason, on: server)
        return Int(count)
    }

    package func revoke(_ session: String, of user: UserID, until: UnixMilliseconds, now: UnixMilliseconds) async throws(StoreUnavailable) {
        let (reply, server) = try await run(
            SessionScripts.revoke, keys: [keys.revoked(user)], arguments: [Array(session.utf8), text(until)], isLogout: true)
        guard case .integer(1) = reply else { throw Self.odd }
        try await haveEnded(session, of: user, reason: .revoked, on: server)
    }

    package func rotate(
        _ session: String, of user: UserID, presentedHash: [UInt8], successorHash: [UInt8], provenOrigin: Bool, rules: SessionRules,
        now: UnixMilliseconds
    ) async throws(StoreUnavailable) -> Rotation {
        let (reply, server) = try await run(
            SessionScripts.rotate, keys: sessionKeys(session, user) + [keys.logouts(user)],
            arguments: [
                Array(session.utf8), text(now), text(rules.retainRevoked), presentedHash, successorHash, Array((provenOrigin ? "1" : "0").utf8),
                text(rules.reuseWindow), text(rules.refreshLifetime), text(rules.sessionLifetime),
            ], isLogout: true)
        guard case .array(let parts) = reply, let word = parts.first?.bytes else { throw Self.odd }
        func record() throws(StoreUnavailable) -> SessionRecord {
            guard parts.count == 2 else { throw Self.odd }
            return try RecordFields(parts[1]).record(session, user, isMember: true)
        }
        switch String(decoding: word, as: UTF8.self) {
        case "rotated": return .rotated(try record())
        case "repeated": return .repeated(try record())
        case "reused":
            try await haveEnded(session, of: user, reason: .refreshReuse, on: server)
            return .reused
        case "ended": return .ended
        case "expired": return .expired
        case "unknown": return .unknown
        default: throw Self.odd
        }
    }

    package func beginAttempt(
        _ id: String, under key: String, rules: AttemptRules, now: UnixMilliseconds
    ) async throws(StoreUnavailable) -> AttemptStart {
        let reply = try await run(
            SessionScripts.beginAttempt, keys: [keys.failures(key)],
            arguments: [Array(id.utf8), text(Int64(rules.limit)), text(rules.window)]
        ).reply
        switch reply.bytes.map({ String(decoding: $0, as: UTF8.self) }) {
        case "admitted": return .admitted
        case "limited": return .limited
        case "crowded": return .crowded
        default: throw Self.odd
        }
    }

    package func endAttempt(
        _ id: String, under key: String, failed: Bool, rules: AttemptRules, now: UnixMilliseconds
    ) async throws(StoreUnavailable) {
        let reply = try await run(
            SessionScripts.endAttempt, keys: [keys.failures(key)],
            arguments: [Array(id.utf8), Array((failed ? "1" : "0").utf8), text(rules.window)]
        ).reply
        guard reply.bytes == Array("done".utf8) else { throw Self.odd }
    }

    // MARK: Asking Redis

    static let odd = StoreUnavailable("Redis answered what cannot be understood")

    private func sessionKeys(_ session: String, _ user: UserID) -> [[UInt8]] {
        [keys.sessions(user), keys.record(session, user), keys.records(user), keys.ends(user), keys.begins(user)]
    }

    func text(_ number: Int64) -> [UInt8] { Array(String(number).utf8) }

    func call(_ command: RedisCommand, of key: [UInt8]) async throws(StoreUnavailable) -> RedisReply {
        let replies = try await callAll([command], of: key)
        guard let reply = replies.first else { throw Self.odd }
        return try Self.checked(reply)
    }

    /// - Parameter key: one that they are about; the others have the same slot.
    func callAll(_ commands: [RedisCommand], of key: [UInt8]) async throws(StoreUnavailable) -> [RedisReply] {
        try await ask(commands, of: key).replies
    }

    /// As `callAll`, with which server has answered.
    func ask(_ commands: [RedisCommand], of key: [UInt8]) async throws(StoreUnavailable) -> (replies: [RedisReply], server: UInt64) {
        let slot = RedisSlot(key: key)
        let answer: RedisConnections.Answer
        do throws(RedisFailure) { answer = try await connections.answer(to: commands, slot: slot) } catch { throw Self.unavailable(error) }
        return (answer.replies, try await fleet.expectListening(to: answer.serverID, slot, over: connections))
    }

    /// `isLogout`: whatever the script ended counts only when the replicas have it. Returns which server has run it, too.
    private func run(_ script: RedisScript, keys: [[UInt8]], arguments: [[UInt8]], isLogout: Bool = false) async throws(StoreUnavailable)
        -> (reply: RedisReply, server: UInt64)
    {
        let waits = isLogout && waitReplicas > 0
        // Half of the time for the replicas, so that there is an answer within the whole.
        let patience = max(1, configuration.commandTimeout.nanoseconds / 2_000_000)
        let wait = waits ? [RedisCommand("WAIT", String(waitReplicas), String(patience))] : []
        let answer: RedisConnections.Answer
        do throws(RedisFailure) { answer = try await connections.runForUser(script, keys: keys, arguments: arguments, then: wait) } catch {
            throw Self.unavailable(error)
        }
        guard let first = answer.replies.first else { throw Self.odd }
        let result = try Self.checked(first)
        if waits {
            guard case .integer(let count)? = answer.replies.last, count >= Int64(waitReplicas) else {
                throw StoreUnavailable("too few replicas have it")
            }
        }
        return (result, try await fleet.expectListening(to: answer.serverID, RedisSlot(key: keys[0]), over: connections))
    }

    /// 1 and 0 are answers; everything else is none, as for the loops.
    static func isMember(_ reply: RedisReply) throws(StoreUnavailable) -> Bool {
        switch reply {
        case .integer(1): true
        case .integer(0): false
        default: throw odd
        }
    }

    static func checked(_ reply: RedisReply) throws(StoreUnavailable) -> RedisReply {
        if case .error = reply { throw StoreUnavailable("Redis refused: \(reply.errorCode ?? "ERR")") }
        return reply
    }

    static func unavailable(_ failure: RedisFailure) -> StoreUnavailable {
        switch failure {
        case .unavailable: StoreUnavailable("Redis cannot be reached")
        case .timedOut: StoreUnavailable("Redis did not answer in time")
        case .protocolViolation: StoreUnavailable("Redis answered what is no RESP")
        }
    }
}
