// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Logging
import NIOCore
import NIOPosix
import PeerTLS
import Synchronization
import TestSupport
import Testing

@testable import RedisClient

/// What a client has told: its log and its changes of state.
final class Told: Sendable {
    private let lines = Mutex<[String]>([])
    private let states = Mutex<[Bool]>([])

    /// `message reason` of every line at warning or above.
    var warnings: [String] { lines.withLock { $0 } }
    var changes: [Bool] { states.withLock { $0 } }

    func changed(_ isConnected: Bool) { states.withLock { $0.append(isConnected) } }

    var logger: Logger {
        Logger(label: "test") { _ in Handler(told: self) }
    }

    private struct Handler: LogHandler {
        let told: Told
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            guard event.level >= .warning else { return }
            let reason = event.metadata?["reason"].map { " \($0)" } ?? ""
            told.lines.withLock { $0.append("\(event.message)\(reason)") }
        }
    }
}

/// Runs `body` with a started client on a loop of the process-wide group, and closes it afterwards.
func withClient<Result>(
    _ configuration: RedisConfiguration, told: Told = Told(), isolation: isolated (any Actor)? = #isolation,
    _ body: (RedisClient) async throws -> Result
) async throws -> Result {
    let client = RedisClient(
        eventLoop: MultiThreadedEventLoopGroup.singleton.any(), configuration: configuration, logger: told.logger,
        onStateChange: { told.changed($0) })
    client.start()
    do {
        let result = try await body(client)
        try await client.close().get()
        return result
    } catch {
        try await client.close().get()
        throw error
    }
}

extension RedisConfiguration {
    /// Generous command time, so that a busy machine fails no test that is about something else.
    static func local(
        _ port: Int, username: String? = nil, password: String? = nil, database: Int = 0, tls: PeerTLS? = nil,
        connectTimeout: TimeAmount = .seconds(5), commandTimeout: TimeAmount = .seconds(5), limits: RedisLimits = RedisLimits()
    ) -> RedisConfiguration {
        RedisConfiguration(
            address: .host("127.0.0.1", port: port), username: username, password: password, database: database, tls: tls,
            connectTimeout: connectTimeout, commandTimeout: commandTimeout, limits: limits)
    }
}

/// Counts outcomes on the loop; `all` suspends until `count` have come.
final class Collector: @unchecked Sendable {
    // Guarded by `lock`.
    private let lock = Mutex<[(Int, RedisOutcome)]>([])

    var outcomes: [(index: Int, outcome: RedisOutcome)] { lock.withLock { $0.map { (index: $0.0, outcome: $0.1) } } }

    /// Each index once, to be used once.
    func request(_ index: Int) -> RedisRequest { Request(self, index) }

    private final class Request: RedisRequest {
        let collector: Collector
        let index: Int

        init(_ collector: Collector, _ index: Int) {
            self.collector = collector
            self.index = index
            super.init()
        }

        override func redisCompleted(_ outcome: RedisOutcome) {
            collector.lock.withLock { $0.append((index, outcome)) }
        }
    }
}

extension RedisClient {
    /// The outcome of a command, failures included.
    func outcome(_ words: String...) async -> RedisOutcome {
        do throws(RedisFailure) { return .reply(try await call(RedisCommand(words))) } catch { return .failure(error) }
    }
}

extension RedisOutcome {
    var isFailure: Bool {
        if case .failure = self { true } else { false }
    }
}

/// Pieces of data that a script has seen.
final class Seen: Sendable {
    private let pieces = Mutex<[[UInt8]]>([])
    var all: [[UInt8]] { pieces.withLock { $0 } }
    func append(_ piece: [UInt8]) { pieces.withLock { $0.append(piece) } }
}

extension RedisClient {
    /// Expects that reply. (A closure that throws only inside of `#expect` does not throw for the compiler.)
    func expect(_ command: RedisCommand, _ expected: RedisReply, location: SourceLocation = #_sourceLocation) async throws {
        let reply = try await call(command)
        #expect(reply == expected, sourceLocation: location)
    }
}
