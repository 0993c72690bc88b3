// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport
import Testing

/// Several real gateways and a real Redis for each test; one test after the other, as there is no more machine than that.
@Suite("A fleet", .serialized)
enum FleetTests {}

/// Runs `body` with three gateways, between the last of which and Redis there is a relay. What it hears later than the others is what a logout has to
/// wait for: with all of them as quick as loopback is, nobody would notice that it does not.
func withFleet(
    _ setup: GatewaySetup, relayTo redis: RedisServer, timeouts: String = "connect_timeout: 5s, command_timeout: 5s",
    _ body: (RunningFleet, TCPRelay) async throws -> Void
) async throws {
    let relay = try TCPRelay(to: redis.port)
    defer { relay.stop() }
    var late = setup
    late["store"] = GatewaySetup.store(port: relay.port, timeouts)
    try await withFleet([setup, setup, late]) { try await body($0, relay) }
}

/// The ways to end a session.
enum WayOut: CaseIterable, Sendable {
    case logout, byRefreshToken, fromTheList, admin, revocation, backchannel
    case all, adminAll, backchannelAll

    /// Whether it ends every session of the user.
    var endsAll: Bool {
        switch self {
        case .logout, .byRefreshToken, .fromTheList, .admin, .revocation, .backchannel: false
        case .all, .adminAll, .backchannelAll: true
        }
    }

    /// Ends a session through a gateway: the answer's status. `logoutToken` is an identity provider's, for the ways that need one.
    func end(_ login: RunningGateway.Login, of user: String, at gateway: RunningGateway, _ logoutToken: String? = nil) throws -> Int {
        switch self {
        case .logout: try gateway.call("POST", "/auth/logout", token: login.access).status
        case .byRefreshToken: try gateway.call("POST", "/auth/logout", json: #"{"refresh_token":"\#(login.refresh)"}"#).status
        case .fromTheList: try gateway.call("DELETE", "/auth/sessions/\(login.session)", token: login.access).status
        case .all: try gateway.call("POST", "/auth/logout-all", token: login.access).status
        case .admin: try gateway.admin("DELETE", "/v1/users/\(user)/sessions/\(login.session)").status
        case .adminAll: try gateway.admin("DELETE", "/v1/users/\(user)/sessions").status
        case .revocation: try gateway.revoke(login.refresh).status
        case .backchannel, .backchannelAll: try gateway.tell(logoutToken ?? "").status
        }
    }

    /// The logout token of an identity provider, where the way needs one; made before, as it takes a while.
    func logoutToken(_ session: String, of user: String) throws -> String? {
        switch self {
        case .backchannel: try IdentityProvider.logoutToken(session, of: user)
        case .backchannelAll: try IdentityProvider.logoutToken(nil, of: user)
        case .logout, .byRefreshToken, .fromTheList, .admin, .revocation, .all, .adminAll: nil
        }
    }
}

extension RedisServer {
    /// Options of a server with a user that may do what the README says a gateway needs, and how the gateway gives its name.
    static let admittingGate = (
        options: ["--user", "gate", "on", ">word-of-the-gate"]
            + "~portcullis:* &* +@all -@dangerous +info +client +wait +role +config|get".split(separator: " ").map(String.init),
        credentials: "username: gate, password: word-of-the-gate"
    )

    /// That it has refused nothing that somebody asked for.
    func expectNothingRefused() throws {
        let refused = try command("ACL", "LOG")
        #expect(refused == .array([]), "\(refused)")
    }
}

extension RunningGateway {
    /// RFC 7009, on the admin listener.
    fileprivate func revoke(_ token: String) throws -> HTTPMessage {
        let connection = try HTTPConnection(port: adminPort)
        let body = "token=\(token)"
        let fields = [
            ("Authorization", "Bearer \(GatewaySetup.adminToken)"), ("Content-Type", "application/x-www-form-urlencoded"),
            ("Content-Length", "\(body.utf8.count)"),
        ]
        connection.socket.write(HTTPConnection.head("POST", "/v1/revoke", fields) + body)
        return try connection.answer(to: "POST")
    }
}
