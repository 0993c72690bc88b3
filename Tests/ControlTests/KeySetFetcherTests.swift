// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Logging
import NIOPosix
import Synchronization
import TestSupport
import Testing
import Tokens

@testable import Control

@Suite("Key sets of other issuers")
struct KeySetFetcherTests {
    /// Serves what a test says, and counts how often it was asked.
    private final class KeyServer: Sendable {
        let asked = Recorded<Void>()
        private let server: FakeServer
        var port: Int { server.port }
        var url: String { "http://127.0.0.1:\(server.port)/keys" }

        init(_ answer: String) throws {
            let shared = SharedText(answer), asked = asked
            text = shared
            server = try FakeServer { connection in
                var head = ""
                while !head.contains("\r\n\r\n") {
                    let bytes = connection.read()
                    guard !bytes.isEmpty else { return }
                    head += String(decoding: bytes, as: UTF8.self)
                }
                asked.append(())
                connection.write(shared.value)
            }
        }

        private let text: SharedText
        func serve(_ answer: String) { text.value = answer }
        func stop() { server.stop() }
    }

    private final class SharedText: Sendable {
        private let text: Mutex<String>
        init(_ text: String) { self.text = Mutex(text) }
        var value: String {
            get { text.withLock { $0 } }
            set { text.withLock { $0 = newValue } }
        }
    }

    private static func answer(_ body: String, status: String = "200 OK", more: String = "") -> String {
        "HTTP/1.1 \(status)\r\nContent-Length: \(body.utf8.count)\r\nConnection: close\r\n\(more)\r\n\(body)"
    }

    private static func keys(_ key: SigningKey) -> String { String(decoding: SigningKey.publicKeySet([key]), as: UTF8.self) }

    private static func source(_ url: String, refresh: Int64 = 600_000) -> KeySource {
        KeySource(issuer: "idp", url: url, refresh: refresh, authorities: [], algorithms: Set(JOSEAlgorithm.allCases))
    }

    private static func run(_ sources: [KeySource], _ body: (KeySetFetcher, Recorded<String>) async throws -> Void) async throws {
        let changes = Recorded<String>()
        let fetcher = KeySetFetcher(
            sources: sources, eventLoopGroup: MultiThreadedEventLoopGroup.singleton,
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }),
            changed: { changes.append($0) })
        let running = Task { await fetcher.run() }
        await fetcher.firstAttempts(within: .seconds(10))
        do {
            try await body(fetcher, changes)
        } catch {
            running.cancel()
            await running.value
            throw error
        }
        running.cancel()
        await running.value
    }

    @Test("are fetched at the start and every refresh, and told when they are other ones")
    func refresh() async throws {
        let first = try SigningKey.generate(.es256).key, second = try SigningKey.generate(.es256).key
        let server = try KeyServer(Self.answer(Self.keys(first)))
        defer { server.stop() }
        try await Self.run([Self.source(server.url, refresh: 20)]) { fetcher, changes in
            #expect(fetcher.keys(of: "idp") == KeySet(signingKeys: [first]) || fetcher.keys(of: "idp")?.keys.first?.keyID == first.keyID)
            try await eventually("asked again") { server.asked.all.count >= 3 }
            #expect(changes.all.count == 1, "the same set again is no change")
            server.serve(Self.answer(Self.keys(second)))
            try await eventually("the second set") { fetcher.keys(of: "idp")?.keys.first?.keyID == second.keyID }
            try await eventually("told") { changes.all.count == 2 }
        }
    }

    /// What a server answers instead of keys; shown shortly, as one is too long for a log.
    struct Fault: CustomTestStringConvertible {
        let answer: String
        var testDescription: String { String(answer.prefix(60)) }
    }

    @Test(
        "stay while the URL fails",
        arguments: [
            answer("x", status: "500 Internal Server Error"), answer("<html>"), answer(#"{"keys":[]}"#),
            answer("", status: "302 Found", more: "Location: /other\r\n"),
            answer(String(repeating: " ", count: (1 << 20) + 1)), "garbage", "", answer(#"{"keys":[{"kty":"oct","k":"AA"}]}"#),
        ].map(Fault.init))
    func failures(fault: Fault) async throws {
        let key = try SigningKey.generate(.es256).key
        let server = try KeyServer(Self.answer(Self.keys(key)))
        defer { server.stop() }
        try await Self.run([Self.source(server.url, refresh: 20)]) { fetcher, changes in
            #expect(fetcher.keys(of: "idp") != nil)
            server.serve(fault.answer)
            let asked = server.asked.all.count
            try await eventually("asked again") { server.asked.all.count > asked + 1 }
            #expect(fetcher.keys(of: "idp")?.keys.first?.keyID == key.keyID && changes.all.count == 1)
        }
    }

    @Test("of an issuer that is down at the start are had soon after it is back")
    func late() async throws {
        let key = try SigningKey.generate(.es256).key
        let server = try KeyServer(Self.answer("", status: "503 Service Unavailable"))
        defer { server.stop() }
        try await Self.run([Self.source(server.url)]) { fetcher, _ in
            #expect(fetcher.keys(of: "idp") == nil)
            server.serve(Self.answer(Self.keys(key)))
            try await eventually("keys") { fetcher.keys(of: "idp") != nil }
        }
    }

    @Test("are asked for again by an unknown key, but not by each")
    func unknownKeys() async throws {
        let first = try SigningKey.generate(.es256).key, second = try SigningKey.generate(.es256).key
        let server = try KeyServer(Self.answer(Self.keys(first)))
        defer { server.stop() }
        try await Self.run([Self.source(server.url)]) { fetcher, _ in
            server.serve(Self.answer(Self.keys(second)))
            for _ in 0..<100 { fetcher.keyUnknown("idp") }
            fetcher.keyUnknown("nobody")
            try await eventually("the second set") { fetcher.keys(of: "idp")?.keys.first?.keyID == second.keyID }
            for _ in 0..<100 { fetcher.keyUnknown("idp") }
            #expect(server.asked.all.count == 2)
        }
    }

    @Test("are kept over a reload as long as they come from where they came from")
    func reload() async throws {
        let key = try SigningKey.generate(.es256).key
        let server = try KeyServer(Self.answer(Self.keys(key)))
        try await Self.run([Self.source(server.url)]) { fetcher, _ in
            #expect(fetcher.keys(of: "idp") != nil)
            let url = server.url
            server.stop()
            fetcher.update(sources: [Self.source(url, refresh: 700_000)])
            #expect(fetcher.keys(of: "idp")?.keys.first?.keyID == key.keyID)
            fetcher.update(sources: [Self.source(url + "/other")])
            #expect(fetcher.keys(of: "idp") == nil)
            fetcher.update(sources: [])
            #expect(fetcher.keys(of: "idp") == nil)
        }
    }

    @Test("are asked for again sooner after a failure, and not sooner than the rules say")
    func schedule() {
        var schedule = KeyFetchSchedule()
        let pauses = (0..<5).map { _ in schedule.pause(succeeded: false, refresh: .seconds(5)) }
        #expect(pauses == [.milliseconds(500), .seconds(1), .seconds(2), .seconds(4), .seconds(5)])
        #expect(schedule.pause(succeeded: true, refresh: .seconds(5)) == .seconds(5))
        #expect(schedule.pause(succeeded: false, refresh: .milliseconds(100)) == .milliseconds(100))
        let now = ContinuousClock.now
        #expect(
            schedule.asksForUnknown(at: now) && !schedule.asksForUnknown(at: now + .milliseconds(9999))
                && schedule.asksForUnknown(at: now + .seconds(10)))
    }

    @Test("a sleep ends by its time, by a ring before or during it, and by cancellation")
    func alarm() async {
        let alarm = Alarm()
        await alarm.sleep(atMost: .zero)
        alarm.ring()
        alarm.ring()
        await alarm.sleep(atMost: .seconds(3600))
        let sleeper = Task { await alarm.sleep(atMost: .seconds(3600)) }
        alarm.ring()
        await sleeper.value
        let cancelled = Task { await alarm.sleep(atMost: .seconds(3600)) }
        cancelled.cancel()
        await cancelled.value
    }
}
