// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import Logging
import NIOPosix
import ServiceLifecycle
import Sessions
import TestSupport
import Testing
import Tokens

@testable import Control

@Suite("The control plane's servers")
struct ServerTests {
    private static func plane(admin: ControlAddress) throws -> ControlPlane {
        try ControlPlane(
            store: FaultyStore(), dataPlane: RecordedDataPlane(), configuration: ControlWorld.configuration(), adminAddress: admin,
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }),
            audit: { _ in })
    }

    private struct Listening {
        let port: Int
        let running: Task<Void, any Error>
    }

    /// Runs a control plane on a port of its own. Where somebody has taken the free port before it is bound, another one is tried.
    private static func listening(_ run: @escaping @Sendable (ControlPlane) async throws -> Void = { try await $0.run() }) async throws -> Listening {
        for _ in 0..<5 {
            let port = try freePort()
            let plane = try plane(admin: .tcp(host: "127.0.0.1", port: port))
            let running = Task { try await run(plane) }
            do {
                try await plane.whenListening()
                return Listening(port: port, running: running)
            } catch {
                guard error.reason.hasSuffix(String(cString: strerror(EADDRINUSE))) else { throw error }
                _ = await running.result
            }
        }
        throw NotInTime(description: "five free ports were taken before they could be bound")
    }

    /// What comes next, waited for on a thread of its own: the servers answer on the threads that tests run on.
    private static func answer(_ socket: LoopbackSocket) async -> String {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: String(decoding: socket.read(atMost: 4096), as: UTF8.self)) }
        }
    }

    @Test("being cancelled with connections that nobody has looked at ends it properly")
    func cancelled() async throws {
        for _ in 0..<20 {
            let server = try await Self.listening()
            let clients = try (0..<20).map { _ in try LoopbackSocket(port: server.port) }
            for client in clients { client.write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") }
            server.running.cancel()
            _ = await server.running.result
            withExtendedLifetime(clients) {}
        }
        let plane = try Self.plane(admin: .tcp(host: "127.0.0.1", port: try freePort()))
        let running = Task { try await plane.run() }
        running.cancel()
        _ = await running.result
    }

    @Test("more connections that keep still than the admin listener has do not keep a probe out")
    func crowd() async throws {
        let port = try freePort()
        let plane = try Self.plane(admin: .tcp(host: "127.0.0.1", port: port))
        let running = Task { try await plane.run() }
        try await plane.whenListening()
        let idle = try (0..<280).map { number in
            let client = try LoopbackSocket(port: port)
            if number % 2 == 0 { client.write("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Half: ") }
            return client
        }
        let probe = try LoopbackSocket(port: port)
        probe.write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        // Sooner than any of the idle ones has reached its time.
        let start = ContinuousClock.now
        #expect(await Self.answer(probe).hasPrefix("HTTP/1.1 200 "))
        #expect(.now - start < .seconds(8))
        withExtendedLifetime(idle) {}
        running.cancel()
        _ = await running.result
    }

    @Test("an address that cannot be bound ends it with that address, and whoever waits is told")
    func bindFailure() async throws {
        let taken = try FakeServer { _ in }
        defer { taken.stop() }
        let plane = try Self.plane(admin: .tcp(host: "127.0.0.1", port: taken.port))
        let waiting = Task { try await plane.whenListening() }
        let failure = await #expect(throws: ControlFailure.self) { try await plane.run() }
        #expect(failure?.address == "127.0.0.1:\(taken.port)" && failure?.reason.isEmpty == false)
        await #expect(throws: ControlFailure.self) { try await waiting.value }
        #expect(!FileManager.default.fileExists(atPath: plane.apiSocketPath))
    }

    @Test("a Unix socket that somebody listens on is not taken away, one that was left behind is")
    func unixAddress() async throws {
        let folder = try temporaryFolder("control")
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let first = try Self.plane(admin: .unix(path: "\(folder)/admin"))
        let running = Task { try await first.run() }
        try await first.whenListening()
        let second = try Self.plane(admin: .unix(path: "\(folder)/admin"))
        let failure = await #expect(throws: ControlFailure.self) { try await second.run() }
        #expect(failure?.address == "unix:\(folder)/admin")
        running.cancel()
        _ = await running.result
        let third = try Self.plane(admin: .unix(path: "\(folder)/admin"))
        let again = Task { try await third.run() }
        try await third.whenListening()
        again.cancel()
        _ = await again.result
    }

    @Test("a graceful shutdown does not wait for a client that does not get on")
    func shutdown() async throws {
        let groups = Recorded<ServiceGroup>()
        let server = try await Self.listening { plane in
            let group = ServiceGroup(
                configuration: .init(services: [plane], logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })))
            groups.append(group)
            try await group.run()
        }
        let stuck = try LoopbackSocket(port: server.port)
        stuck.write("POST /v1/revoke HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nab")
        let start = ContinuousClock.now
        await groups.all.last?.triggerGracefulShutdown()
        try await server.running.value
        #expect(.now - start < .seconds(8), "sooner than the body's deadline")
        withExtendedLifetime(stuck) {}
    }

    @Test("the session API's socket stands in a folder of this user alone, which is gone at the end")
    func folder() async throws {
        let world = try await ControlWorld(ControlWorld.configuration())
        let folder = (world.plane.apiSocketPath as NSString).deletingLastPathComponent
        let attributes = try FileManager.default.attributesOfItem(atPath: folder)
        #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o700)
        #expect(FileManager.default.fileExists(atPath: world.plane.apiSocketPath))
        await world.end()
        #expect(!FileManager.default.fileExists(atPath: folder))
    }

    @Test("a reload counts for the next call")
    func reload() async throws {
        try await ControlWorld.run { world in
            _ = try await world.login()
            world.plane.update(try ControlWorld.configuration { $0.apiPath = "/sso/v1" })
            let body = #"{"username":"alice","password":"password of alice"}"#
            #expect(try await world.call(.POST, "/auth/login", json: body).status == 404)
            let moved = try await world.call(.POST, "/sso/v1/login", json: body)
            #expect(moved.status == 200 && moved.cookies["__Secure-portcullis-refresh"]?.attributes.contains("path=/sso/v1") == true)
        }
    }

    @Test("the session API may be at the root")
    func root() async throws {
        try await ControlWorld.run({ $0.apiPath = "" }) { world in
            let reply = try await world.call(.POST, "/login", json: #"{"username":"alice","password":"password of alice"}"#)
            #expect(reply.status == 200 && reply.cookies["__Secure-portcullis-refresh"]?.attributes.contains("path=/") == true)
        }
    }

    @Test("garbage, and a head without an end, harm nobody else")
    func hostileClients() async throws {
        let server = try await Self.listening()
        let idle = try (0..<20).map { _ in try LoopbackSocket(port: server.port) }
        for (number, socket) in idle.enumerated() {
            socket.write(
                ["GET /metrics HTTP/1.1\r\nX: ", "\u{0}\u{1}garbage\r\n\r\n", "POST /v1/revoke HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nab"][
                    number % 3])
        }
        let good = try LoopbackSocket(port: server.port)
        good.write("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        #expect(await Self.answer(good).hasPrefix("HTTP/1.1 200"))
        server.running.cancel()
        _ = await server.running.result
    }

    @Test("a path whose escapes are broken, or that is no text, is 400", arguments: ["%zz", "a%2", "%", "%ff", "%C3"])
    func brokenPaths(name: String) async throws {
        let server = try await Self.listening()
        let client = try LoopbackSocket(port: server.port)
        client.write(
            "GET /v1/users/\(name)/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(ControlWorld.adminToken)\r\nConnection: close\r\n\r\n")
        #expect(await Self.answer(client).hasPrefix("HTTP/1.1 400"))
        server.running.cancel()
        _ = await server.running.result
    }

    @Test("paths are split before they are decoded, and broken escapes are none")
    func paths() {
        #expect(RequestPath("/a%2Fb//c?x=1&y=%20+z")?.segments == ["a/b", "", "c"].map { Array($0.utf8) })
        #expect(RequestPath("/a?x=1&y=%20+z")?.query.map(\.value) == ["1", "  z"])
        for target in ["", "a", "/%", "/%2", "/%zz", "/%+1", "/a?%", "/a?%ff", "*"] { #expect(RequestPath(target) == nil, "\(target)") }
        #expect(RequestPath("/auth/session")?.segments(below: "/auth").map(Array.init) == [Array("session".utf8)])
        #expect(RequestPath("/authx/session")?.segments(below: "/auth") == nil)
    }

    @Test(
        "times are read as RFC 3339 has them, and written with milliseconds",
        arguments: [
            ("1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00.000Z"), ("2024-02-29T23:59:59.9999Z", 1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            ("2025-06-30t12:00:00.5+02:00", 1_751_277_600_500, "2025-06-30T10:00:00.500Z"),
            ("1969-12-31T23:59:59.999-00:00", -1, "1969-12-31T23:59:59.999Z"),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            ("2000-03-01T00:00:00Z", 951_868_800_000, "2000-03-01T00:00:00.000Z"),
        ] as [(String, Int64, String)])
    func times(text: String, time: Int64, spelling: String) {
        #expect(Timestamp.parse(text) == time)
        #expect(Timestamp.spelling(time) == spelling)
    }

    @Test(
        "dates are those of HTTP",
        arguments: [(0, "Thu, 01 Jan 1970 00:00:00 GMT"), (784_111_777_000, "Sun, 06 Nov 1994 08:49:37 GMT"), (-1, "Wed, 31 Dec 1969 23:59:59 GMT")])
    func dates(time: Int64, spelling: String) {
        #expect(Timestamp.httpDate(time) == spelling)
    }

    @Test(
        "what is no time is none",
        arguments: [
            "", "soon", "2025", "2025-01-01", "2025-01-01T00:00:00", "2025-13-01T00:00:00Z", "2025-02-29T00:00:00Z", "2025-01-01T24:00:00Z",
            "2025-01-01T00:60:00Z",
            "2025-01-01T00:00:00.Z", "2025-01-01T00:00:00Zx", "2025-01-01T00:00:00+25:00", "+025-01-01T00:00:00Z", "2025-1-1T00:00:00Z",
            "2025-01-00T00:00:00Z",
        ])
    func noTimes(text: String) {
        #expect(Timestamp.parse(text) == nil)
    }
}
