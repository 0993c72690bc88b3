// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import HTTPTypes
import Sessions
import Tokens

/// The admin listener (contract §6): health and metrics for everybody who reaches it, the rest for who has the admin token.
struct AdminAPI: Sendable {
    let sessions: SessionService
    let dataPlane: any DataPlane
    let metrics: ControlMetrics
    let audit: Audit
    let descriptions: Descriptions
    let keyUnknown: @Sendable (_ issuer: String) -> Void

    typealias Call = SessionAPI.Call

    func answer(_ call: Call) async throws -> ControlAnswer {
        let segments = call.request.path.segments
        // Whether there is such a call below is nothing for who has no token, either.
        if segments.first == Array("v1".utf8) { try authorise(call) }
        switch try AdminCall.table.call(call.request.method, at: segments) {
        case .health: return .json { $0.member("status", "ok") }
        case .readiness: return readiness()
        case .metrics:
            let text = await dataPlane.metricsText() + metrics.text(store: sessions.store.health, droppedAudits: audit.copy?.dropped ?? 0)
            return ControlAnswer(status: .ok, contentType: "text/plain; version=0.0.4; charset=utf-8", body: Array(text.utf8))
        case .describe: return descriptions.answer(.everything, call.configuration)
        case .create: return try await create(call, user(call))
        case .list: return try await sessions.list(of: user(call), current: nil, configuration: call.configuration)
        case .endAll: return try await endAll(call, user(call))
        case .register: return try await register(call, session(call), user(call))
        case .end: return try await end(call, session(call), user(call))
        case .edges: return try await edges()
        case .introspect: return try await introspect(call)
        case .revoke: return try await revoke(call)
        }
    }

    /// 503 while draining, until the listeners are open, and until the store has been reached for the first time; a later outage does not change it.
    private func readiness() -> ControlAnswer {
        let reason: String? =
            if dataPlane.isDraining { "draining" } else if !sessions.store.health.wasEverUp { "store" } else if !dataPlane.isReady { "starting" } else
            { nil }
        guard let reason else { return .json { $0.member("status", "ready") } }
        return .json(status: .serviceUnavailable) { json in
            json.member("status", "not ready")
            json.member("reason", reason)
        }
    }

    /// 404 where no token is configured; else the token, compared in a time that says nothing of it.
    private func authorise(_ call: Call) throws(Refusal) {
        guard let expected = call.configuration.adminToken, !expected.isEmpty else { throw .notFound }
        guard let presented = try Credentials.bearer(call.request.fields) else { throw .adminToken(presented: false) }
        guard Digest.constantTimeEquals(Digest.sha256(Array(presented.utf8)), Digest.sha256(expected)) else { throw .adminToken(presented: true) }
    }

    /// Of `/v1/users/{user}/…` and `?namespace=`.
    private func user(_ call: Call) throws(Refusal) -> UserID {
        guard let name = Self.name(call.request.path.segments[2]), IdentifierRules.isUser(name) else { throw .badRequest("the path names no user") }
        let namespaces = call.request.path.query.filter { $0.name == "namespace" }
        guard namespaces.count <= 1, call.configuration.knowsNamespace(namespaces.first?.value ?? "") else {
            throw .badRequest("namespace is none of an issuer's")
        }
        return UserID(namespace: namespaces.first?.value ?? "", name: name)
    }

    /// Of `/v1/users/{user}/sessions/{sid}`.
    private func session(_ call: Call) throws(Refusal) -> String {
        guard let session = Self.name(call.request.path.segments[4]), IdentifierRules.isSession(session) else {
            throw .badRequest("the path names no session")
        }
        return session
    }

    /// A decoded path segment that can be a name; `.` and `..` are none.
    private static func name(_ segment: [UInt8]) -> String? {
        guard segment != Array(".".utf8), segment != Array("..".utf8) else { return nil }
        return String(validating: segment, as: UTF8.self)
    }

    private func edges() async throws -> ControlAnswer {
        let fleet = try await sessions.store.fleet(now: sessions.now())
        return .json { json in
            json.name("edges")
            json.beginArray()
            for member in fleet {
                json.beginObject()
                json.member("id", member.edge.id)
                json.member("address", member.edge.address)
                json.member("version", member.edge.version)
                json.member("last_heartbeat_at", member.lastHeartbeatAt.map(Timestamp.spelling))
                json.name("staleness")
                if let age = member.staleness { json.raw(Array("\(Double(age) / 1000)".utf8)) } else { json.null() }
                json.endObject()
            }
            json.endArray()
        }
    }

    // MARK: Sessions of a user

    private func create(_ call: Call, _ user: UserID) async throws -> ControlAnswer {
        guard let key = call.configuration.signingKey else { throw Refusal.notFound }
        guard user.namespace.isEmpty, call.configuration.isOwnUser(user.name) else {
            throw Refusal.badRequest("tokens are issued for users of the gateway's own namespace alone")
        }
        let body = try call.request.jsonBody()
        let origin = SessionService.Origin(
            device: try body.optionalString("device"), ip: try body.optionalString("ip"), userAgent: try body.optionalString("user_agent"))
        let claims = try AccessToken.sessionClaims(body["claims"])
        let issued = try await sessions.begin(user.name, origin: origin, claims: claims, key: key, configuration: call.configuration)
        audit.record(.adminCreate, issued, client: call.request.client)
        return issued.answer(status: .created, configuration: call.configuration)
    }

    private func register(_ call: Call, _ session: String, _ user: UserID) async throws -> ControlAnswer {
        let text = try call.request.jsonBody().requiredString("expires_at"), now = sessions.now()
        guard let end = Timestamp.parse(text), end > now else { throw Refusal.badRequest("expires_at has to be an RFC 3339 time in the future") }
        let registration = try await sessions.store.register(session, of: user, expiresAt: end, rules: call.configuration.rules, now: now)
        guard registration == .registered else { throw Refusal.registrationRevoked }
        record(.adminRegister, call, user, session)
        return .json(status: .created) { json in
            json.member("session_id", session)
            json.member("user", user.name)
            json.member("expires_at", Timestamp.spelling(end))
        }
    }

    private func end(_ call: Call, _ session: String, _ user: UserID) async throws -> ControlAnswer {
        let ending = try await sessions.end(session, of: user, kind: nil, reason: .admin, configuration: call.configuration)
        guard ending != .unknown else { throw Refusal.sessionNotFound }
        record(.adminRevoke, call, user, session)
        return .empty
    }

    private func endAll(_ call: Call, _ user: UserID) async throws -> ControlAnswer {
        let count = try await sessions.endAll(of: user, reason: .admin, configuration: call.configuration)
        record(.adminRevokeAll, call, user, nil)
        return .json { $0.member("revoked", Int64(count)) }
    }

    func record(_ event: Audit.Event, _ call: Call, _ user: UserID, _ session: String?) {
        audit.record(event, user: user, session: session, client: call.request.client, now: sessions.now())
    }
}
