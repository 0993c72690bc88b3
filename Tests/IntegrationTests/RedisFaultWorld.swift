// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport
import Testing

/// Two gateways of a fleet, one that asks for every request and one that remembers, on one Redis that something happens to; each with constant
/// requests of a session that is active, of one that has been revoked, and with a token that needs no session.
struct RedisFaultWorld {
    /// One of the gateways.
    struct Side {
        let mode: String
        let gateway: RunningGateway
        let active: RequestLoad
        let revoked: RequestLoad
        let unchecked: RequestLoad
    }

    static let unavailable = RequestLoad.Outcome.answer(status: 503, code: "store_unavailable")

    let sides: [Side]
    let active: RunningGateway.Login
    let revoked: RunningGateway.Login

    /// Runs `body`, and expects of every request, before, meanwhile and after: nobody who is logged in was told that he is not, nobody passed who is
    /// logged out, and who needs no session noticed nothing. At the end all is as at the beginning.
    ///
    /// - Parameters:
    ///   - port: where the gateways find Redis.
    ///   - store: further keys of `store.redis`.
    ///   - staleness: `revocation.max_staleness`.
    ///   - workers: event loops of each gateway; each has a connection of its own to Redis.
    static func run(
        port: Int, store: String = "", staleness: String = "1s", workers: Int = 2, isolation: isolated (any Actor)? = #isolation,
        _ body: (RedisFaultWorld) async throws -> Void
    ) async throws {
        try await run(store: "addresses: [\"127.0.0.1:\(port)\"], \(store)", staleness: staleness, workers: workers, body)
    }

    /// - Parameter store: `store.redis`.
    static func run(
        store: String, staleness: String = "1s", workers: Int = 2, isolation: isolated (any Actor)? = #isolation,
        _ body: (RedisFaultWorld) async throws -> Void
    ) async throws {
        let upstream = try FakeServer.echo()
        defer { upstream.stop() }
        func setup(_ mode: String) -> GatewaySetup {
            var setup = GatewaySetup(upstream: upstream.port)
            setup["store"] = "{kind: redis, redis: {\(store)}}"
            setup["revocation"] = "{mode: \(mode), max_staleness: \(staleness)}"
            setup["workers"] = "\(workers)"
            setup["issuers"] = IdentityProvider.issuers(sessions: "unchecked", backchannel: false)
            return setup
        }
        try await withGateway(setup("strict")) { strict in
            try await withGateway(setup("tracked"), sibling: strict) { tracked in
                try await run([("strict", strict), ("tracked", tracked)], body)
            }
        }
    }

    private static func run(
        _ gateways: [(String, RunningGateway)], isolation: isolated (any Actor)? = #isolation, _ body: (RedisFaultWorld) async throws -> Void
    ) async throws {
        let first = gateways[0].1
        let active = try await first.eventuallyLogin("laptop"), revoked = try await first.eventuallyLogin("phone")
        try await eventually("logged out") { try first.call("POST", "/auth/logout", token: revoked.access).status == 204 }
        let token = try IdentityProvider.accessToken("none", of: "bob")
        let sides = gateways.map { mode, gateway in
            Side(
                mode: mode, gateway: gateway, active: RequestLoad(port: gateway.port, connections: 2, token: active.access),
                revoked: RequestLoad(port: gateway.port, connections: 1, token: revoked.access),
                unchecked: RequestLoad(port: gateway.port, connections: 1, token: token))
        }
        let world = RedisFaultWorld(sides: sides, active: active, revoked: revoked)
        do {
            try await world.expectWell()
            try await body(world)
            try await world.expectWell()
        } catch {
            try? await world.stop()
            throw error
        }
        try await world.stop()
        for side in sides {
            let (good, bad, other) = (side.active.counts, side.revoked.counts, side.unchecked.counts)
            #expect(Set(good.keys).isSubset(of: [.answer(status: 200, code: ""), unavailable]), "\(side.mode) \(good)")
            #expect(Set(bad.keys).isSubset(of: [.answer(status: 401, code: "session_revoked"), unavailable]), "\(side.mode) \(bad)")
            #expect(Set(other.keys) == [.answer(status: 200, code: "")], "\(side.mode) \(other)")
            #expect(side.gateway.process.isRunning)
        }
    }

    /// Everybody is told what is true, on every connection.
    func expectWell() async throws {
        for side in sides {
            try await side.active.more(30, 200)
            try await side.revoked.more(10, 401, "session_revoked")
            try await side.unchecked.more(10, 200)
        }
    }

    /// No session can be judged; what is told of that, and what works on.
    func expectUnavailable(location: SourceLocation = #_sourceLocation) async throws {
        for side in sides {
            // What one of its event loops remembers may count for a moment longer than what another does.
            if side.mode == "tracked" {
                try await eventually("nothing that is remembered counts") { try side.gateway.metric("portcullis_revocation_tracking") == 0 }
            }
            try await side.active.more(10, 503, "store_unavailable")
            try await side.revoked.more(5, 503, "store_unavailable")
            try await side.unchecked.more(10, 200)
            let refused = try side.gateway.get("/orders", token: active.access)
            #expect(refused.status == 503 && refused.code == "store_unavailable", "\(side.mode) \(refused.start)", sourceLocation: location)
            #expect(refused["Retry-After"].count == 1 && refused["Set-Cookie"].isEmpty, sourceLocation: location)
            #expect(try side.gateway.get("/public").status == 200, sourceLocation: location)
            #expect(try side.gateway.admin("GET", "/readyz").status == 200, sourceLocation: location)
        }
    }

    /// A logout cannot be kept and is not answered as one; returns the session, which may have ended nevertheless.
    func expectNoLogout(of login: RunningGateway.Login, location: SourceLocation = #_sourceLocation) throws {
        for side in sides {
            let refused = try side.gateway.call("POST", "/auth/logout", token: login.access)
            #expect(refused.status == 503 && refused.code == "store_unavailable", "\(side.mode) \(refused.start)", sourceLocation: location)
            #expect(refused["Set-Cookie"].isEmpty, sourceLocation: location)
        }
    }

    /// Each gateway lets the active session pass again, in the time that an idle machine does not need a third of.
    func recovery(within limit: Duration = .seconds(3), location: SourceLocation = #_sourceLocation) async throws {
        for side in sides {
            try await eventually("\(side.mode) has recovered", within: limit) { try side.gateway.get("/", token: active.access).status == 200 }
        }
    }

    private func stop() async throws {
        for side in sides {
            for load in [side.active, side.revoked, side.unchecked] { try await load.stop() }
        }
    }
}

extension RunningGateway {
    /// On a busy machine a login may meet the short times that Redis is given.
    func eventuallyLogin(_ device: String) async throws -> Login {
        var login: Login?
        try await eventually("logged in") {
            login = try self.login(device: device)
            return true
        }
        return try #require(login)
    }
}
