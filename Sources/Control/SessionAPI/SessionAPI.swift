// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import HTTPTypes
import Sessions
import Tokens

/// The session API (contract §5), behind the data plane.
struct SessionAPI: Sendable {
    let sessions: SessionService
    let logins: LoginService
    let audit: Audit
    let descriptions: Descriptions
    /// Told the name of an issuer whose key set did not have a token's key.
    let keyUnknown: @Sendable (_ issuer: String) -> Void

    /// One call with the configuration that it began with.
    struct Call: Sendable {
        let request: ControlRequest
        let configuration: ControlConfiguration
    }

    func answer(_ call: Call) async throws -> ControlAnswer {
        switch try find(call) {
        case .login: return try await login(call)
        case .refresh: return try await refresh(call)
        case .logout: return try await logout(call)
        case .logoutAll: return try await logoutAll(call)
        case .current: return try await current(call)
        case .list:
            let caller = try await liveCaller(call)
            return try await sessions.list(of: caller.user, current: caller.session, configuration: call.configuration)
        case .endFromList: return try await endFromList(call)
        case .backchannelLogout:
            guard call.configuration.takesLogoutTokens else { throw Refusal.notFound }
            return try await backchannelLogout(call)
        case .describe: return descriptions.answer(.publicCalls, call.configuration)
        case .publishKeys: return .json(SigningKey.publicKeySet(call.configuration.allKeys))
        }
    }

    private func find(_ call: Call) throws(Refusal) -> SessionCall {
        let method = call.request.method, path = call.request.path
        if let apiPath = call.configuration.apiPath, let below = path.segments(below: apiPath) {
            do { return try SessionCall.belowAPIPath.call(method, at: below) } catch .notFound {}
        }
        return try SessionCall.elsewhere.call(method, at: path.segments)
    }

    // MARK: Login

    private func login(_ call: Call) async throws -> ControlAnswer {
        let configuration = call.configuration, client = call.request.client
        guard let method = configuration.login, let key = configuration.signingKey else { throw Refusal.notFound }
        // Its answer sets cookies, so a page of another origin must not be able to log its visitor in.
        guard OriginEvidence(call.request) != .foreign else { throw Refusal.crossSite }
        let body = try call.request.jsonBody()
        let credentials = LoginService.Credentials(username: try body.requiredString("username"), password: try body.requiredString("password"))
        let device = try body.optionalString("device")
        func note(_ outcome: Audit.Outcome) {
            let user = LoginService.isKnown(credentials.username, by: method) ? UserID(name: credentials.username) : nil
            audit.record(.login, outcome, user: user, client: client, now: sessions.now())
        }
        do {
            switch try await logins.judge(credentials, by: method, from: client.address, configuration) {
            case .failed:
                note(.failed)
                throw Refusal.loginFailed
            case .authenticated(let user, let claims, let admission):
                // Beside what the session needs: no round trip more.
                async let released: Void = logins.throttle.release(admission)
                let issued = try await sessions.begin(
                    user, origin: .init(device: device, ip: client.address, userAgent: client.userAgent), claims: claims, key: key,
                    configuration: configuration)
                await released
                audit.record(.login, issued, client: client)
                var answer = issued.answer(status: .ok, configuration: configuration)
                answer.setCookies(issued.cookies(configuration))
                return answer
            }
        } catch let refusal as Refusal {
            if refusal == .rateLimited { note(.limited) }
            throw logins.refusal(refusal, of: method)
        }
    }

    // MARK: Refresh

    private func refresh(_ call: Call) async throws -> ControlAnswer {
        let configuration = call.configuration
        guard let key = configuration.signingKey else { throw Refusal.notFound }
        let presented = try credentials(call).refreshToken()
        try requireSameOrigin(call, isCookie: presented.isCookie)
        guard let token = RefreshToken(presented.text) else { throw Refusal.refreshMalformed }
        do {
            let issued = try await sessions.refresh(token, key: key, configuration: configuration)
            audit.record(.refresh, user: UserID(name: token.user), session: token.session, client: call.request.client, now: issued.now)
            var answer = issued.answer(status: .ok, configuration: configuration)
            setCookies(issued.cookies(configuration), in: &answer, call)
            return answer
        } catch Refusal.refreshReused {
            audit.record(.refreshReuse, user: UserID(name: token.user), session: token.session, client: call.request.client, now: sessions.now())
            throw Refusal.refreshReused
        }
    }

    // MARK: Logout

    private func logout(_ call: Call) async throws -> ControlAnswer {
        for target in try await logoutTargets(call) {
            _ = try await sessions.end(
                target.session, of: target.user, kind: target.kind, reason: .logout, tokenEnd: target.tokenEnd, configuration: call.configuration)
            audit.record(.logout, user: target.user, session: target.session, client: call.request.client, now: sessions.now())
        }
        var answer = ControlAnswer.empty
        setCookies(call.configuration.cookieRemovals(), in: &answer, call)
        return answer
    }

    private func logoutAll(_ call: Call) async throws -> ControlAnswer {
        let caller = try await liveCaller(call)
        let count = try await sessions.endAll(
            of: caller.user, reason: .logoutAll, issuedAt: caller.issuedAt, tokenEnd: caller.token.acceptUntil, configuration: call.configuration)
        audit.record(.logoutAll, user: caller.user, session: caller.session, client: call.request.client, now: sessions.now())
        var answer = ControlAnswer.json { $0.member("revoked", Int64(count)) }
        setCookies(call.configuration.cookieRemovals(), in: &answer, call)
        return answer
    }

    /// A call that brings its token itself may come from a page of any origin, but only one of this origin may have its visitor's cookies changed:
    /// another one would log the visitor in as somebody else, or out.
    private func setCookies(_ cookies: [String], in answer: inout ControlAnswer, _ call: Call) {
        if OriginEvidence(call.request) != .foreign { answer.setCookies(cookies) }
    }

    // MARK: List

    private func current(_ call: Call) async throws -> ControlAnswer {
        let caller = try await liveCaller(call)
        // Without a record it is active all the same, with nulls: the set alone is the truth.
        let record =
            try await sessions.store.record(caller.session, of: caller.user, currentHash: nil)
            ?? SessionRecord(session: caller.session, user: caller.user)
        var json = JSONWriter()
        SessionService.write(record, isCurrent: true, to: &json)
        return .json(json.bytes)
    }

    private func endFromList(_ call: Call) async throws -> ControlAnswer {
        let caller = try await liveCaller(call)
        guard let name = call.request.path.segments.last, let session = String(validating: name, as: UTF8.self), IdentifierRules.isSession(session)
        else { throw Refusal.sessionNotFound }
        let isCurrent = session.isIdentical(to: caller.session)
        let ending = try await sessions.end(
            session, of: caller.user, kind: isCurrent ? caller.kind : nil, reason: isCurrent ? .logout : .user,
            mustBeKnown: !isCurrent, tokenEnd: isCurrent ? caller.token.acceptUntil : nil, configuration: call.configuration)
        guard ending != .unknown else { throw Refusal.sessionNotFound }
        audit.record(.sessionEnded, user: caller.user, session: session, client: call.request.client, now: sessions.now())
        var answer = ControlAnswer.empty
        if isCurrent { setCookies(call.configuration.cookieRemovals(), in: &answer, call) }
        return answer
    }
}
