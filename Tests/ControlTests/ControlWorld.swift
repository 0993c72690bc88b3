// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import AsyncHTTPClient
import Foundation
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import Sessions
import Synchronization
import TestSupport
import Tokens
import WallTime

@testable import Control

/// A control plane of its own with everything around it, spoken to over its sockets.
final class ControlWorld: Sendable {
    static let adminToken = "admin-token-of-the-tests"
    static let users = TestUsers.file

    let store = FaultyStore()
    let gateway = RecordedDataPlane()
    let audit = Recorded<String>()
    let unknownKeys = Recorded<String>()
    let plane: ControlPlane
    private let folder: String
    private let admin: String
    let clock = TestClock()
    private let running: Task<Void, any Error>

    /// A configuration in which everything works: two users, a key, an admin token.
    static func configuration(_ change: (inout ControlConfiguration) throws -> Void = { _ in }) throws -> ControlConfiguration {
        var configuration = ControlConfiguration()
        let key = try SigningKey.generate(.eddsa).key
        configuration.signingKey = key
        configuration.login = .usersFile(try UsersFile(parsing: Array(users.utf8)))
        configuration.adminToken = Array(adminToken.utf8)
        try change(&configuration)
        configuration.trustOwnTokens()
        return configuration
    }

    init(_ configuration: ControlConfiguration, group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton) async throws {
        folder = try temporaryFolder("control")
        admin = "\(folder)/admin"
        plane = try ControlPlane(
            store: store, dataPlane: gateway, configuration: configuration, adminAddress: .unix(path: admin), eventLoopGroup: group,
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }),
            audit: { [audit] line in audit.append(String(decoding: line, as: UTF8.self)) },
            keyUnknown: { [unknownKeys] in unknownKeys.append($0) }, now: { [clock] in clock.now })
        running = Task { [plane] in try await plane.run() }
        try await plane.whenListening()
    }

    /// Runs `body` against a world and ends it.
    static func run(_ change: (inout ControlConfiguration) throws -> Void = { _ in }, _ body: (ControlWorld) async throws -> Void) async throws {
        let world = try await ControlWorld(configuration(change))
        do {
            try await body(world)
        } catch {
            await world.end()
            throw error
        }
        await world.end()
    }

    func end() async {
        running.cancel()
        _ = await running.result
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// A call through the socket of the session API, as the data plane makes it.
    func call(
        _ method: HTTPMethod, _ target: String, token: String? = nil, cookie: String? = nil, json: String? = nil, type: String = "application/json",
        fields: [(String, String)] = [], client: String = "192.0.2.1"
    ) async throws -> Reply {
        var all = [
            ("X-Portcullis-Client", client), ("X-Portcullis-Scheme", "https"), ("X-Portcullis-Host", "app.example"), ("X-Request-Id", "request-1"),
        ]
        all += fields
        if let cookie { all.append(("Cookie", cookie)) }
        return try await send(method, socket: plane.apiSocketPath, target, token: token, body: json, type: type, fields: all)
    }

    /// A call to the admin listener.
    func admin(
        _ method: HTTPMethod, _ target: String, token: String? = ControlWorld.adminToken, json: String? = nil, form: String? = nil
    ) async throws -> Reply {
        try await send(
            method, socket: admin, target, token: token, body: json ?? form,
            type: form == nil ? "application/json" : "application/x-www-form-urlencoded", fields: [])
    }

    func login(_ user: String = "alice", device: String? = nil) async throws -> Login {
        let device = device.map { ",\"device\":\"\($0)\"" } ?? ""
        return try Login(await call(.POST, "/auth/login", json: "{\"username\":\"\(user)\",\"password\":\"password of \(user)\"\(device)}"))
    }

    func refresh(_ token: String) async throws -> Reply {
        try await call(.POST, "/auth/refresh", json: "{\"refresh_token\":\"\(token)\"}")
    }

    private func send(
        _ method: HTTPMethod, socket: String, _ target: String, token: String?, body: String?, type: String, fields: [(String, String)]
    ) async throws -> Reply {
        let host = socket.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
        var request = HTTPClientRequest(url: "http+unix://\(host)\(target)")
        request.method = method
        for (name, value) in fields { request.headers.add(name: name, value: value) }
        if let token { request.headers.add(name: "Authorization", value: "Bearer \(token)") }
        if let body {
            request.headers.add(name: "Content-Type", value: type)
            request.body = .bytes(ByteBuffer(string: body))
        }
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(20))
        return Reply(status: response.status.code, fields: response.headers, body: Array(buffer: try await response.body.collect(upTo: 1 << 20)))
    }
}

extension ControlConfiguration {
    /// Sets verifier and policies to the gateway's own tokens, and those that `others` has.
    mutating func trustOwnTokens(and others: [(TrustedIssuer, IssuerPolicy)] = []) {
        let keys = (signingKey.map { [$0] } ?? []) + previousKeys
        let own = TrustedIssuer(
            name: issuer, issuer: issuer, audiences: audience, algorithms: Set(keys.map(\.algorithm)), keys: KeySet(signingKeys: keys),
            expiryLeeway: 0)
        let known = issuers.dropFirst().indices.map { (verifier.issuers[$0], issuers[$0]) }
        let all = [(own, IssuerPolicy(name: issuer, namespace: "", sessions: .registered, isOwn: true))] + known + others
        verifier = TokenVerifier(issuers: all.map(\.0), tokenByteLimit: tokenByteLimit)
        issuers = all.map(\.1)
    }
}

/// An answer, and what is in it.
struct Reply: Sendable {
    let status: UInt
    let fields: HTTPHeaders
    let body: [UInt8]

    var text: String { String(decoding: body, as: UTF8.self) }
    var json: JSONObject? { try? JSONObject(parsing: body) }
    var code: String? { json?["code"]?.string }
    func string(_ name: String) -> String? { json?[name]?.string }

    /// Cookies by name: value, and attributes in lower case.
    var cookies: [String: (value: String, attributes: [String])] {
        var cookies: [String: (value: String, attributes: [String])] = [:]
        for line in fields["Set-Cookie"] {
            let parts = line.split(separator: ";").map { $0.trimmingCharacters(in: .whitespaces) }
            guard let pair = parts.first, let equals = pair.firstIndex(of: "=") else { continue }
            cookies[String(pair[..<equals])] = (String(pair[pair.index(after: equals)...]), parts.dropFirst().map { $0.lowercased() })
        }
        return cookies
    }
}

/// What a login answered.
struct Login: Sendable {
    struct Failed: Error { let reply: Reply }

    let reply: Reply
    let access: String
    let refresh: String
    let session: String

    init(_ reply: Reply) throws {
        guard let access = reply.string("access_token"), let refresh = reply.string("refresh_token"), let session = reply.string("session_id") else {
            throw Failed(reply: reply)
        }
        self.reply = reply
        self.access = access
        self.refresh = refresh
        self.session = session
    }
}

/// What happened, in order.
final class Recorded<Element: Sendable>: Sendable {
    private let elements = Mutex<[Element]>([])
    var all: [Element] { elements.withLock { $0 } }
    func append(_ element: Element) { elements.withLock { $0.append(element) } }
}

/// The system's time, moved by a test.
final class TestClock: Sendable {
    private struct State {
        var offset: Int64 = 0
        /// Nil: it goes on.
        var stoppedAt: UnixMilliseconds?
    }

    private let state = Mutex(State())
    var now: UnixMilliseconds { state.withLock { ($0.stoppedAt ?? systemTime()) + $0.offset } }
    func advance(milliseconds: Int64) { state.withLock { $0.offset += milliseconds } }
    /// From now on it moves by `advance` alone, and stands at the beginning of a second: for what is counted in whole ones.
    func stop() { state.withLock { $0.stoppedAt = systemTime() / 1000 * 1000 } }
}

/// A data plane that does nothing and remembers what it was told.
final class RecordedDataPlane: DataPlane {
    private let draining = Mutex(false)

    func metricsText() async -> String { "portcullis_connections 0\n" }
    var isDraining: Bool { draining.withLock { $0 } }
    var isReady: Bool { true }
    func drain() { draining.withLock { $0 = true } }
}
