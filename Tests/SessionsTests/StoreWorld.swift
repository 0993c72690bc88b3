// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import Logging
import NIOCore
import NIOPosix
import RedisClient
import Sessions
import Synchronization
import TestSupport
import Testing

@testable import RedisSessions

/// The stores that the contract suite runs against. A cluster's node refuses what touches two slots, so that it proves the keys' layout by each test.
enum StoreKind: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case memory, redis, clusterNode

    var testDescription: String { rawValue }
}

/// A store of its own with a loop that asks it, and a Redis of its own where the store needs one.
final class StoreWorld: Sendable {
    static let prefix = "test:"
    static let user = UserID(name: "alice")

    let store: any SessionStore
    let redis: RedisServer?
    private let lookup: NIOLoopBound<SessionLookup>
    private let loop: any EventLoop

    fileprivate init(_ store: any SessionStore, redis: RedisServer?) async throws {
        self.store = store
        self.redis = redis
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        self.loop = loop
        lookup = try await loop.submit { NIOLoopBound(store.lookup(on: loop), eventLoop: loop) }.get()
    }

    /// Runs `body` against a store of that kind; what it has left in Redis is compared with the contract afterwards.
    static func run(
        _ kind: StoreKind, staleness: TimeAmount = .seconds(15), useTick: TimeAmount = .hours(1), _ body: (StoreWorld) async throws -> Void
    ) async throws {
        switch kind {
        case .memory:
            try await body(StoreWorld(MemorySessionStore(now: { systemTime() }), redis: nil))
        case .redis, .clusterNode:
            try await withRedisServer(cluster: kind == .clusterNode ? .whole : .none) { redis in
                try await run(on: redis, isCluster: kind == .clusterNode, staleness: staleness, useTick: useTick, body)
                try KeyAudit(redis).expectContract()
            }
        }
    }

    /// Runs `body` against a store on that Redis.
    ///
    /// - Parameters:
    ///   - isReady: whether the body begins when answers count, as a gateway that is ready does.
    ///   - staleness: of heartbeats, which come every third of it; long where commands are counted.
    ///   - commandTimeout: generous, so that a busy machine fails no test that is about something else.
    ///   - useTick: by default no use of a session is ever written, so that tests that count commands count their own.
    static func run(
        on redis: RedisServer, port: Int? = nil, isCluster: Bool = false, username: String? = nil, password: String? = nil, waitReplicas: Int = 0,
        isReady: Bool = true, staleness: TimeAmount = .seconds(15), commandTimeout: TimeAmount = .seconds(5), useTick: TimeAmount = .hours(1),
        _ body: (StoreWorld) async throws -> Void
    ) async throws {
        try? redis.growOld(prefix: prefix, tag: isCluster ? "0" : nil)
        let configuration = RedisConfiguration(
            address: .host("127.0.0.1", port: port ?? redis.port), username: username, password: password, connectTimeout: .seconds(5),
            commandTimeout: commandTimeout)
        try await withRedisStore(configuration, isCluster: isCluster, waitReplicas: waitReplicas, staleness: staleness, useTick: useTick) { store in
            let world = try await StoreWorld(store, redis: redis)
            if isReady { try await eventually("answers count", within: .seconds(20)) { store.health.wasEverUp } }
            try await body(world)
        }
    }

    // MARK: What tests say

    /// What a loop of the data plane is answered.
    func ask(
        _ session: String, of user: UserID = StoreWorld.user, kind: SessionKind = .registered, issuedAt: Int64? = nil
    ) async throws -> SessionAnswer {
        try await withCheckedThrowingContinuation { continuation in
            loop.execute { [lookup] in
                let reference = lookup.value.reference(user: user, session: session, kind: kind, issuedAt: issuedAt)
                lookup.value.ask(reference, Waiter(continuation))
            }
        }
    }

    /// What a loop of the data plane is answered that asks several times about the session of one token.
    func use(_ session: String, of user: UserID = StoreWorld.user, kind: SessionKind = .registered, times: Int) async throws -> [SessionAnswer] {
        let reference = try await loop.submit { [lookup, loop] in
            NIOLoopBound(lookup.value.reference(user: user, session: session, kind: kind, issuedAt: .max), eventLoop: loop)
        }.get()
        var answers: [SessionAnswer] = []
        for _ in 0..<times {
            answers.append(
                try await withCheckedThrowingContinuation { continuation in
                    loop.execute { [lookup] in lookup.value.ask(reference.value, Waiter(continuation)) }
                })
        }
        return answers
    }

    /// On the loop of the data plane, with what it asks.
    func onLoop<Result: Sendable>(_ body: @escaping @Sendable (RedisSessionLookup) throws -> Result) async throws -> Result {
        try await loop.submit { [lookup] in try body(#require(lookup.value as? RedisSessionLookup)) }.get()
    }

    /// Something of each of the sessions is open while `body` runs.
    func withOpen(
        _ sessions: [(session: String, user: UserID, kind: SessionKind)], _ body: (OpenSessions) async throws -> Void
    ) async throws {
        let open = OpenSessions(loop)
        try await onLoop { lookup in
            for one in sessions { open.hold(lookup.reference(user: one.user, session: one.session, kind: one.kind, issuedAt: .max), lookup) }
        }
        do { try await body(open) } catch {
            try await onLoop { open.close($0) }
            throw error
        }
        try await onLoop { open.close($0) }
    }

    /// Expects that answer, of a loop and of the control plane's own question alike.
    func expect(
        _ expected: SessionAnswer, _ session: String, of user: UserID = StoreWorld.user, kind: SessionKind = .registered, issuedAt: Int64? = nil,
        location: SourceLocation = #_sourceLocation
    ) async throws {
        let answer = try await ask(session, of: user, kind: kind, issuedAt: issuedAt)
        #expect(answer == expected, "\(session)", sourceLocation: location)
        do {
            let isActive = try await store.answer(session, of: user, kind: kind, issuedAt: issuedAt)
            #expect((isActive ? .active : .revoked) == expected, "\(session)", sourceLocation: location)
        } catch {
            #expect(expected == .unavailable, "\(session): \(error)", sourceLocation: location)
        }
    }

    /// A login. Returns what had to give way.
    @discardableResult
    func login(
        _ session: String, of user: UserID = StoreWorld.user, hash: String = "first", rules: SessionRules = .usual, at now: UnixMilliseconds
    ) async throws -> [String] {
        let end = min(now + rules.refreshLifetime, now + rules.sessionLifetime)
        let record = SessionRecord(
            session: session, user: user, device: "phone", ip: "192.0.2.1", userAgent: "browser", claims: Array(#"{"role":"x"}"#.utf8),
            createdAt: now, lastSeenAt: now, expiresAt: end)
        return try await store.create(record, refreshHash: Array(hash.utf8), rules: rules, now: now)
    }

    func register(
        _ session: String, of user: UserID = StoreWorld.user, until end: UnixMilliseconds, rules: SessionRules = .usual, at now: UnixMilliseconds
    ) async throws -> Registration {
        try await store.register(session, of: user, expiresAt: end, rules: rules, now: now)
    }

    func logout(
        _ session: String, of user: UserID = StoreWorld.user, reason: RevokeReason = .logout, rules: SessionRules = .usual, at now: UnixMilliseconds
    ) async throws -> Ending {
        try await store.end(session, of: user, reason: reason, rules: rules, now: now)
    }

    func logoutAll(
        of user: UserID = StoreWorld.user, reason: RevokeReason = .logoutAll, issued: RevokedBefore? = nil, rules: SessionRules = .usual,
        at now: UnixMilliseconds
    ) async throws -> Int {
        try await store.endAll(of: user, reason: reason, alsoRevokeIssued: issued, rules: rules, now: now)
    }

    func refresh(
        _ session: String, _ presented: String, to successor: String, proven: Bool = true, of user: UserID = StoreWorld.user,
        rules: SessionRules = .usual, at now: UnixMilliseconds
    ) async throws -> Rotation {
        try await store.rotate(
            session, of: user, presentedHash: Array(presented.utf8), successorHash: Array(successor.utf8), provenOrigin: proven, rules: rules,
            now: now)
    }

    func list(of user: UserID = StoreWorld.user, rules: SessionRules = .usual, at now: UnixMilliseconds) async throws -> [SessionRecord] {
        try await store.list(of: user, rules: rules, now: now)
    }
}

/// Runs `body` with a started store and closes it afterwards.
func withRedisStore(
    _ configuration: RedisConfiguration, isCluster: Bool = false, waitReplicas: Int = 0, staleness: TimeAmount = .seconds(15),
    useTick: TimeAmount = .hours(1), isolation: isolated (any Actor)? = #isolation,
    _ body: (RedisSessionStore) async throws -> Void
) async throws {
    let store = RedisSessionStore(
        isCluster ? .cluster([configuration.address]) : nil, configuration: configuration, keyPrefix: StoreWorld.prefix, waitReplicas: waitReplicas,
        fleet: FleetSettings(edge: EdgeDescription(id: UUID().uuidString, address: "", version: ""), staleness: staleness, remembers: false),
        eventLoop: MultiThreadedEventLoopGroup.singleton.next(), logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }),
        useTick: useTick)
    store.start()
    do {
        try await body(store)
    } catch {
        await store.close()
        throw error
    }
    await store.close()
}

extension SessionRules {
    /// The defaults of the configuration.
    static let usual = SessionRules(
        sessionLifetime: 90 * 86_400_000, refreshLifetime: 30 * 86_400_000, reuseWindow: 10_000, retainRevoked: 7 * 86_400_000, maxPerUser: 100)

    func with(_ change: (inout SessionRules) -> Void) -> SessionRules {
        var rules = self
        change(&rules)
        return rules
    }
}

extension SessionRecord {
    func with(_ change: (inout SessionRecord) -> Void) -> SessionRecord {
        var record = self
        change(&record)
        return record
    }

    /// `id reason` of an ended session, `id` of an active one, `id ?` of one that ended nobody knows why.
    var summary: String { active ? session : "\(session) \(revokeReason?.rawValue ?? "?")" }
}

private final class Waiter: SessionWaiter {
    private let continuation: CheckedContinuation<SessionAnswer, any Error>
    init(_ continuation: CheckedContinuation<SessionAnswer, any Error>) { self.continuation = continuation }
    override func sessionAnswered(_ answer: SessionAnswer, from source: SessionAnswerSource) { continuation.resume(returning: answer) }
}

/// What is open of sessions, as exchanges hold them, and what each was told of its end.
final class OpenSessions: Sendable {
    private final class Holder: SessionWaiter {
        private let endings: OpenSessions
        private let session: String

        init(_ endings: OpenSessions, _ session: String) {
            self.endings = endings
            self.session = session
            super.init()
        }

        override func sessionEnded(_ ending: SessionEnding) { endings.told.withLock { $0[session, default: []].append(ending) } }
    }

    private let holders: NIOLoopBoundBox<[Holder]>
    private let told = Mutex<[String: [SessionEnding]]>([:])

    fileprivate init(_ loop: any EventLoop) { holders = .makeBoxSendingValue([], eventLoop: loop) }

    fileprivate func hold(_ reference: SessionReference, _ lookup: SessionLookup) {
        let holder = Holder(self, reference.session)
        lookup.hold(reference, holder)
        holders.value.append(holder)
    }

    fileprivate func close(_ lookup: SessionLookup) {
        for holder in holders.value { lookup.release(holder) }
        holders.value.removeAll()
    }

    /// By session.
    var endings: [String: [SessionEnding]] { told.withLock { $0 } }

}

/// The system's clock: Redis ends keys by it, so that the times of tests begin there.
func systemTime() -> UnixMilliseconds { UnixMilliseconds(Date().timeIntervalSince1970 * 1000) }
