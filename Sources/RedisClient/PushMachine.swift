// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// Decides what happens on the connection over which Redis speaks unasked: invalidations of client-side caching and published messages, both on one
/// connection in RESP2. `RedisPush` performs. Knows no channel and no clock.
///
///               start         connected     CLIENT ID      TRACKING      all SUBSCRIBEs
///     waiting ───────▶ connecting ─────▶ greeting ─────▶ tracking ─────▶ subscribing ─────▶ open
///        ▲   due          │                 │              │                │              │
///        └────────────────┴─────────────────┴──────────────┴────────────────┴──────────────┘  lost, refused, late, garbage
///
/// One connection and not two, as the documentation has it (https://redis.io/docs/latest/develop/reference/client-side-caching/): with a second one to
/// redirect to, tracking goes silently deaf when the first dies (redis/redis #11767). Redirected to itself it ends with the connection.
struct PushMachine {
    typealias ConnectionID = Int

    struct Settings {
        /// What is sent before CLIENT ID, as on every connection.
        var greeting: [ConnectionMachine<RedisRequest>.HandshakeStep]
        /// How many are subscribed to.
        var channels: Int
        /// For everything from the first packet to the last SUBSCRIBE.
        var connectTimeout: TimeAmount
    }

    enum Action: Equatable {
        case connect(ConnectionID)
        /// Write the greeting and CLIENT ID.
        case greet
        /// Switch tracking on, redirected to this very connection.
        case track(client: Int64)
        case subscribe
        /// Everything that Redis says from now on is heard; `tracks`: changed keys among it.
        case opened(tracks: Bool)
        /// Nil: whatever was known of any key.
        case invalidated([[UInt8]]?)
        case message(channel: [UInt8], [UInt8])
        case pong
        /// Close the socket; `reason` is nil where the machine is not the one to tell.
        case lost(reason: String)
        case ignore
    }

    private enum State {
        case closed
        case waiting(until: NIODeadline)
        case connecting(deadline: NIODeadline)
        case greeting(left: ArraySlice<ConnectionMachine<RedisRequest>.HandshakeStep>, deadline: NIODeadline)
        case tracking(deadline: NIODeadline)
        case subscribing(left: Int, tracks: Bool, deadline: NIODeadline)
        case open
    }

    private static let invalidations = Array("__redis__:invalidate".utf8)

    private let settings: Settings
    private var backoff: Backoff
    private var failures = 0
    private var state = State.closed
    private(set) var connection: ConnectionID = 0
    /// Which server it is (`RedisClientStatus.serverID`).
    private(set) var serverID: UInt64 = 0

    init(_ settings: Settings, seed: UInt64) {
        self.settings = settings
        backoff = Backoff(seed: seed)
    }

    var isOpen: Bool {
        if case .open = state { true } else { false }
    }

    mutating func start(now: NIODeadline) -> Action {
        guard case .closed = state else { return .ignore }
        return connect(now)
    }

    mutating func close() {
        connection += 1
        state = .closed
    }

    mutating func connected(_ id: ConnectionID) -> Action {
        guard id == connection, case .connecting(let deadline) = state else { return .ignore }
        state = .greeting(left: settings.greeting[...], deadline: deadline)
        return .greet
    }

    mutating func reply(_ reply: RedisReply, from id: ConnectionID, now: NIODeadline) -> Action {
        guard id == connection else { return .ignore }
        switch state {
        case .closed, .waiting, .connecting: return .ignore
        case .greeting(let left, let deadline):
            guard let step = left.first else { return identified(reply, deadline, now) }
            switch step.judge(reply) {
            case .accepted: break
            case .identified(let server): serverID = server
            case .notPrimary: return fail("it is no primary", now)
            case .unexpected: return fail(Self.refusal(step.rawValue, reply), now)
            }
            state = .greeting(left: left.dropFirst(), deadline: deadline)
            return .ignore
        case .tracking(let deadline):
            // A Redis that cannot track still carries messages.
            let tracks = reply == .simple(Array("OK".utf8))
            state = .subscribing(left: settings.channels, tracks: tracks, deadline: deadline)
            return .subscribe
        case .subscribing(let left, let tracks, let deadline):
            guard Self.kind(of: reply) == "subscribe" else {
                // What another program publishes may come between two confirmations; nothing is relied on yet.
                if Self.kind(of: reply) == "message" { return .ignore }
                return fail(Self.refusal("SUBSCRIBE", reply), now)
            }
            guard left > 1 else {
                state = .open
                failures = 0
                return .opened(tracks: tracks)
            }
            state = .subscribing(left: left - 1, tracks: tracks, deadline: deadline)
            return .ignore
        case .open: return heard(reply, now)
        }
    }

    mutating func lost(_ id: ConnectionID, reason: String, now: NIODeadline) -> Action {
        guard id == connection else { return .ignore }
        switch state {
        case .closed, .waiting: return .ignore
        case .connecting, .greeting, .tracking, .subscribing, .open: return fail(reason, now)
        }
    }

    /// When `tick` has to be called at the latest; nil: there is nothing to wait for.
    var due: NIODeadline? {
        switch state {
        case .closed, .open: nil
        case .waiting(let until): until
        case .connecting(let deadline), .greeting(_, let deadline), .tracking(let deadline),
            .subscribing(_, _, let deadline):
            deadline
        }
    }

    mutating func tick(now: NIODeadline) -> Action {
        guard let due, due <= now else { return .ignore }
        if case .waiting = state { return connect(now) }
        return fail("not subscribed within the connect timeout", now)
    }

    // MARK: Transitions

    private mutating func connect(_ now: NIODeadline) -> Action {
        connection += 1
        state = .connecting(deadline: now + settings.connectTimeout)
        return .connect(connection)
    }

    private mutating func identified(_ reply: RedisReply, _ deadline: NIODeadline, _ now: NIODeadline) -> Action {
        guard case .integer(let client) = reply else { return fail(Self.refusal("CLIENT ID", reply), now) }
        state = .tracking(deadline: deadline)
        return .track(client: client)
    }

    private mutating func fail(_ reason: String, _ now: NIODeadline) -> Action {
        state = .waiting(until: now + backoff.delay(afterFailures: failures))
        failures += 1
        return .lost(reason: reason)
    }

    private mutating func heard(_ reply: RedisReply, _ now: NIODeadline) -> Action {
        guard case .array(let parts) = reply, let kind = Self.kind(of: reply) else { return fail("what was pushed is no message", now) }
        switch (kind, parts.count) {
        case ("pong", _): return .pong
        case ("message", 3):
            guard let channel = parts[1].bytes else { return fail("what was pushed is no message", now) }
            guard channel == Self.invalidations else {
                guard let payload = parts[2].bytes else { return .ignore }
                return .message(channel: channel, payload)
            }
            // No list (a flush), or one that holds anything but keys: whatever was known of any key.
            guard case .array(let keys) = parts[2] else { return .invalidated(nil) }
            let names = keys.compactMap(\.bytes)
            return .invalidated(names.count == keys.count ? names : nil)
        case ("subscribe", _), ("unsubscribe", _): return fail("the subscription changed", now)
        default: return fail("what was pushed is no message", now)
        }
    }

    private static func kind(of reply: RedisReply) -> String? {
        reply.elements?.first?.bytes.map { String(decoding: $0, as: UTF8.self) }
    }

    private static func refusal(_ what: String, _ reply: RedisReply) -> String {
        reply.errorCode.map { "\(what) was refused: \($0)" } ?? "\(what) was answered with something else"
    }
}
