// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Logging
import NIOPosix
import RedisClient
import Synchronization
import TestSupport
import Testing

@testable import RedisSessions

@Suite("The audit stream")
struct AuditStreamTests {
    private static let usual = AuditStream.Rules(maxEntries: 100_000, retain: 60_000)
    /// For whatever is waited for: everything else that is tested at the same time may be before it.
    private let patience = Duration.seconds(60)
    private static let key = StoreWorld.prefix + "audit"

    /// What was logged, as level and message.
    private final class Lines: Sendable {
        private let lines = Mutex<[String]>([])
        var all: [String] { lines.withLock { $0 } }
        func append(_ line: String) { lines.withLock { $0.append(line) } }
    }

    private struct Recorder: LogHandler {
        let lines: Lines
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.info
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }
        func log(event: LogEvent) { lines.append("\(event.level) \(event.message)") }
    }

    /// - Parameter patience: of the end; generous, where it is not what is asked about.
    private static func run(
        _ rules: AuditStream.Rules? = usual, patience: Duration = .seconds(60), _ body: (AuditStream, RedisServer, Lines) async throws -> Void
    ) async throws {
        try await withRedisServer { redis in
            let lines = Lines()
            let loop = MultiThreadedEventLoopGroup.singleton.next()
            let logger = Logger(label: "test", factory: { _ in Recorder(lines: lines) })
            let configuration = RedisConfiguration(
                address: .host("127.0.0.1", port: redis.port), connectTimeout: .seconds(5), commandTimeout: .seconds(5))
            let stream = AuditStream(
                topology: RedisTopology(.standalone(configuration.address), configuration: configuration, eventLoop: loop, logger: logger),
                configuration: configuration, keyPrefix: StoreWorld.prefix, eventLoop: loop, logger: logger, closePatience: patience)
            stream.update(rules)
            do {
                try await body(stream, redis, lines)
            } catch {
                await stream.close()
                throw error
            }
            await stream.close()
        }
    }

    private static func length(_ redis: RedisServer) throws -> Int { try redis.command("XLEN", key).number ?? -1 }

    private static func entry(_ number: Int) -> [(name: String, value: String)] { [("audit", "login"), ("user", "alice \(number)\r\n{x}")] }

    @Test("has an entry for each line, in their order, with the line's members as fields, and ends some time")
    func entries() async throws {
        try await Self.run { stream, redis, _ in
            for number in 0..<1000 { stream.append(Self.entry(number)) }
            try await eventually("all are there", within: patience) { try Self.length(redis) == 1000 }
            guard case .array(let entries) = try redis.command("XRANGE", Self.key, "-", "+") else {
                Issue.record("no entries")
                return
            }
            for (number, entry) in entries.enumerated() {
                guard case .array(let parts) = entry, parts.count == 2 else { continue }
                #expect(parts[1].strings == ["audit", "login", "user", "alice \(number)\r\n{x}"])
            }
            #expect(entries.count == 1000 && stream.dropped == 0)
            try KeyAudit(redis).expectContract()
        }
    }

    @Test("keeps about as many entries as it is told to, and none that is too old")
    func limits() async throws {
        try await Self.run(AuditStream.Rules(maxEntries: 500, retain: 60_000)) { stream, redis, _ in
            for number in 0..<3000 { stream.append(Self.entry(number)) }
            try await eventually("the last one is there", within: patience) {
                "\(try redis.command("XREVRANGE", Self.key, "+", "-", "COUNT", "1"))".contains("alice 2999")
            }
            #expect((500...1000).contains(try Self.length(redis)))
            try redis.command("DEL", Self.key)
            // A node of Redis' tree, which goes whole, that is an hour old.
            for number in 0..<200 { try redis.command("XADD", Self.key, "1-\(number + 1)", "audit", "login") }
            stream.append(Self.entry(1))
            try await eventually("the old ones are gone", within: patience) { try (1...101).contains(Self.length(redis)) }
        }
    }

    @Test("is not written while it is off, and Redis is not even connected to")
    func off() async throws {
        try await Self.run(nil) { stream, redis, _ in
            let before = try redis.command("INFO", "clients").text
            for number in 0..<10 { stream.append(Self.entry(number)) }
            stream.update(Self.usual)
            stream.append(Self.entry(10))
            try await eventually("the one since then", within: patience) { try Self.length(redis) == 1 }
            stream.update(nil)
            stream.append(Self.entry(11))
            stream.update(Self.usual)
            stream.append(Self.entry(12))
            try await eventually("the next one", within: patience) { try Self.length(redis) == 2 }
            #expect(before?.contains("connected_clients:1\r\n") == true && stream.dropped == 0)
        }
    }

    @Test("while Redis is away keeps what it has room for, drops and counts the rest, and tells of it once")
    func away() async throws {
        try await Self.run { stream, redis, lines in
            stream.append(Self.entry(0))
            try await eventually("connected", within: patience) { try Self.length(redis) == 1 }
            redis.kill()
            let clock = ContinuousClock(), start = clock.now
            for number in 0..<(AuditStream.queueLimit + 5000) { stream.append(Self.entry(number)) }
            #expect(clock.now - start < .seconds(5), "nobody waits")
            // Whether a batch was on its way when Redis went is not known.
            #expect((4000...(5000 + AuditStream.batchLimit)).contains(stream.dropped))
            try await redis.restart()
            try await eventually("what waited is written", within: patience) {
                try Self.length(redis) + stream.dropped == AuditStream.queueLimit + 5000
            }
            try await eventually("the end is told", within: patience) { lines.all.contains("notice The audit stream is written again") }
            #expect(lines.all.count { $0 == "warning Entries of the audit stream are dropped" } == 1)
        }
    }

    @Test("counts what Redis refuses, and does not try it again")
    func refused() async throws {
        try await Self.run { stream, redis, lines in
            try redis.command("SET", Self.key, "no stream")
            for number in 0..<300 { stream.append(Self.entry(number)) }
            try await eventually("all are counted", within: patience) { stream.dropped == 300 }
            try redis.command("DEL", Self.key)
            stream.append(Self.entry(300))
            try await eventually("the next one", within: patience) { try Self.length(redis) == 1 }
            #expect(stream.dropped == 300)
            #expect(lines.all.count { $0 == "warning Entries of the audit stream are dropped" } == 1)
        }
    }

    @Test("at the end writes what waits, and counts what it cannot write")
    func end() async throws {
        try await Self.run { stream, redis, _ in
            for number in 0..<50 { stream.append(Self.entry(number)) }
            await stream.close()
            let written = try Self.length(redis)
            #expect(written == 50)
            stream.append(Self.entry(50))
            #expect(stream.dropped == 0)
        }
        try await Self.run(patience: AuditStream.closePatience) { stream, redis, _ in
            redis.kill()
            for number in 0..<50 { stream.append(Self.entry(number)) }
            await stream.close()
            try await eventually("all are counted") { stream.dropped == 50 }
        }
    }
}
