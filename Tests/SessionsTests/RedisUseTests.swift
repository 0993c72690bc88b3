// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import NIOEmbedded
import Sessions
import Synchronization
import TestSupport
import Testing

@testable import RedisSessions

@Suite("Noting in Redis when a session was used")
struct RedisUseTests {
    @Test("writes once, for several tokens of a session, loops and gateways, and nothing while nobody uses it")
    func once() async throws {
        try await withRedisServer { redis in
            try await StoreWorld.run(on: redis, staleness: .seconds(60), useTick: .milliseconds(5)) { one in
                // Before the other is there, which else would hear of it, and ask again what it asks meanwhile.
                let before = systemTime() - 120_000
                try await one.login("s1", at: before)
                try await StoreWorld.run(on: redis, staleness: .seconds(60), useTick: .milliseconds(5)) { other in
                    let used = try await redis.commands {
                        for _ in 0..<10 {
                            for world in [one, other] {
                                let answers = try await world.use("s1", times: 5)
                                #expect(answers == Array(repeating: .active, count: 5))
                            }
                        }
                        try await eventually("it was seen") {
                            try redis.fields("session:{alice}:s1")["last_seen_at"].flatMap { Int64($0) } ?? 0 > before
                        }
                    }
                    #expect(used["hset"] == 1 && used["sismember"] == 100, "\(used)")
                    #expect(used["evalsha"] ?? 0 <= 20, "one note for each token and loop")
                }
            }
        }
    }

    @Test("makes no record that is gone, moves no end, and touches nothing that somebody caches")
    func gone() async throws {
        try await withRedisServer { redis in
            try await StoreWorld.run(on: redis, staleness: .seconds(60), useTick: .milliseconds(5)) { world in
                let now = systemTime()
                for session in ["s1", "gone", "broken"] { try await world.login(session, at: now - 120_000) }
                try redis.command("DEL", "\(StoreWorld.prefix)session:{alice}:gone")
                try redis.command("SET", "\(StoreWorld.prefix)session:{alice}:broken", "x")
                let before = try KeyAudit(redis)
                for session in ["gone", "broken", "s1"] { #expect(try await world.ask(session) == .active) }
                try await eventually("s1 was seen") {
                    try redis.fields("session:{alice}:s1")["last_seen_at"].flatMap { Int64($0) } ?? 0 >= now
                }
                let after = try KeyAudit(redis)
                #expect(after.names == before.names && after.keys.map(\.expiresAt) == before.keys.map(\.expiresAt))
                for (key, old) in zip(after.keys, before.keys) where key.name != "\(StoreWorld.prefix)session:{alice}:s1" {
                    #expect(key.contents == old.contents, "\(key.name)")
                }
            }
        }
    }

    @Test("asks nothing about sessions of revocable issuers, which have no record")
    func revocable() async throws {
        try await withRedisServer { redis in
            try await StoreWorld.run(on: redis, staleness: .seconds(60), useTick: .milliseconds(5)) { world in
                let now = systemTime()
                try await world.login("s1", at: now - 120_000)
                let used = try await redis.commands {
                    let answers = try await world.use("r1", kind: .revocable, times: 3)
                    #expect(answers == Array(repeating: .active, count: 3))
                    _ = try await world.ask("s1")
                    try await eventually("s1 was seen") {
                        try redis.fields("session:{alice}:s1")["last_seen_at"].flatMap { Int64($0) } ?? 0 >= now
                    }
                }
                #expect(used["evalsha"] ?? 0 <= 1 && used["hset"] == 1, "\(used)")
            }
        }
    }

    @Test("is dropped without a word while Redis is away, and goes on when it is back")
    func away() async throws {
        try await withRedisServer(durable: true) { redis in
            let relay = try TCPRelay(to: redis.port)
            defer { relay.stop() }
            try await StoreWorld.run(on: redis, port: relay.port, staleness: .seconds(60), useTick: .milliseconds(5)) { world in
                let now = systemTime()
                for session in ["s1", "s2"] { try await world.login(session, at: now - 120_000) }
                _ = try await world.ask("s1")
                relay.cut()
                redis.kill()
                try await eventually("it is noticed") { try await world.ask("s1") == .unavailable }
                try await redis.restart()
                try await eventually("s2 was seen") {
                    _ = try await world.ask("s2")
                    return try redis.fields("session:{alice}:s2")["last_seen_at"].flatMap { Int64($0) } ?? 0 >= now
                }
            }
        }
    }

    // MARK: On a loop whose time a test moves

    private final class Bench {
        private final class State: Sendable {
            let time = Mutex<UnixMilliseconds>(1_000_000)
            let written = Mutex<[[UseNote]]>([])
            let isBusy = Mutex(false)
        }

        private let loop = EmbeddedEventLoop()
        private let state = State()
        let notes: UseNotes

        init() {
            notes = UseNotes(
                eventLoop: loop, keys: SessionKeys(prefix: "p:"), tick: .seconds(5), now: { [state] in state.time.withLock { $0 } },
                write: { [state] notes in
                    guard !state.isBusy.withLock({ $0 }) else { return false }
                    state.written.withLock { $0.append(notes) }
                    return true
                })
        }

        func advance(_ seconds: Int64) {
            state.time.withLock { $0 += seconds * 1000 }
            loop.advanceTime(by: .seconds(seconds))
        }

        func setBusy(_ isBusy: Bool) { state.isBusy.withLock { $0 = isBusy } }

        var batches: [[String]] { state.written.withLock { $0.map { $0.map { "\(String(decoding: $0.record, as: UTF8.self)) \($0.at)" } } } }
    }

    private func reference(_ session: String, kind: SessionKind = .registered) -> SessionReference {
        let lookup = SessionLookup(eventLoop: EmbeddedEventLoop())
        return SessionReference(sessions: lookup.sessions(of: UserID(name: "alice")), session: session, kind: kind, issuedAt: nil)
    }

    @Test("gathers a turn's uses into one batch, each session once a minute, as long as it is used")
    func turns() {
        let bench = Bench(), often = reference("a/1"), once = reference("b")
        bench.notes.note(once)
        for _ in 0..<120 {
            for _ in 0..<10 { bench.notes.note(often) }
            bench.advance(1)
        }
        let expected = [["p:session:{alice}:b 1000000", "p:session:{alice}:a%2F1 1000000"], ["p:session:{alice}:a%2F1 1060000"]]
        #expect(bench.batches == expected)
    }

    @Test("leaves no timer behind when nobody uses a session")
    func idle() {
        let bench = Bench(), one = reference("a")
        bench.notes.note(one)
        bench.advance(5)
        #expect(bench.batches.count == 1)
        bench.advance(3_600)
        #expect(bench.batches.count == 1)
        bench.notes.note(one)
        bench.advance(5)
        #expect(bench.batches.count == 2)
    }

    @Test("keeps its notes while those before are still being written")
    func busy() {
        let bench = Bench()
        bench.setBusy(true)
        bench.notes.note(reference("a"))
        bench.advance(5)
        bench.notes.note(reference("b"))
        bench.advance(20)
        #expect(bench.batches == [])
        bench.setBusy(false)
        bench.advance(5)
        #expect(bench.batches == [["p:session:{alice}:a 1000000", "p:session:{alice}:b 1005000"]])
    }

    @Test("holds no more notes than its limit, and takes up the rest when they are used again")
    func limit() {
        let bench = Bench(), references = (0..<UseNotes.limit + 100).map { reference("s\($0)") }
        for _ in 0..<2 {
            for reference in references { bench.notes.note(reference) }
            bench.advance(5)
        }
        #expect(bench.batches.map(\.count) == [UseNotes.limit, 100])
    }
}
