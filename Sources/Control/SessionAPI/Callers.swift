// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import HTTPTypes
import Sessions
import Tokens

/// Who calls the session API, and which session a logout means.
extension SessionAPI {
    /// A session that a logout ends, proven by a token.
    struct LogoutTarget: Sendable, Equatable {
        let user: UserID
        let session: String
        let kind: SessionKind
        let tokenEnd: Double?
    }

    func credentials(_ call: Call) throws(Refusal) -> Credentials {
        try Credentials(call.request, body: call.request.jsonBody(), cookies: call.configuration.cookies)
    }

    /// A call that changes something and is authorised by a cookie alone has to come from the same origin.
    func requireSameOrigin(_ call: Call, isCookie: Bool) throws(Refusal) {
        let changes = call.request.method != .get && call.request.method != .head
        guard !isCookie || !changes || OriginEvidence(call.request) == .sameOrigin else { throw .crossSite }
    }

    /// Verifies an access token; 400 for one of an `unchecked` issuer, whose sessions nobody keeps.
    func caller(_ text: String, isCookie: Bool, _ call: Call) throws(Refusal) -> Caller {
        let configuration = call.configuration
        let token = try configuration.verified(text, now: sessions.now(), keyUnknown: keyUnknown)
        guard let policy = configuration.policy(of: token), let kind = policy.sessions.kind, let session = token.session else {
            throw .badRequest("the token's issuer has no sessions here")
        }
        return Caller(token: token, user: UserID(namespace: policy.namespace, name: token.user), session: session, kind: kind, isCookie: isCookie)
    }

    /// The caller of everything but login, refresh and logout: by access token, of a session that is active.
    func liveCaller(_ call: Call) async throws -> Caller {
        let presented = try credentials(call).accessToken()
        try requireSameOrigin(call, isCookie: presented.isCookie)
        let caller = try caller(presented.text, isCookie: presented.isCookie, call)
        let active = try await sessions.store.answer(caller.session, of: caller.user, kind: caller.kind, issuedAt: caller.issuedAt)
        guard active else { throw Refusal.sessionRevoked }
        return caller
    }

    /// What a logout ends: by explicit tokens if there are any, else by the browser's cookies, of which a stale one does not hinder a good one.
    func logoutTargets(_ call: Call) async throws -> [LogoutTarget] {
        let credentials = try credentials(call)
        var targets: [LogoutTarget] = []
        if credentials.bearer != nil || credentials.bodyRefresh != nil {
            if let bearer = credentials.bearer { targets.append(try target(ofAccess: bearer, isCookie: false, call)) }
            if let refresh = credentials.bodyRefresh { targets.append(try await target(ofRefresh: refresh, call)) }
            guard targets.allSatisfy({ $0.names(sameSessionAs: targets[0]) }) else { throw Refusal.tokenAmbiguous }
            return [targets[0]]
        }
        guard credentials.accessCookie != nil || credentials.refreshCookie != nil else { throw Refusal.tokenMissing }
        try requireSameOrigin(call, isCookie: true)
        var refusal: Refusal?
        if let access = credentials.accessCookie {
            do { targets.append(try target(ofAccess: access, isCookie: true, call)) } catch { refusal = error }
        }
        if let refresh = credentials.refreshCookie {
            do {
                let target = try await target(ofRefresh: refresh, call)
                if targets.allSatisfy({ !$0.names(sameSessionAs: target) }) { targets.append(target) }
            } catch let error as Refusal {
                refusal = refusal ?? error
            }
        }
        if targets.isEmpty, let refusal { throw refusal }
        return targets
    }

    private func target(ofAccess text: String, isCookie: Bool, _ call: Call) throws(Refusal) -> LogoutTarget {
        let caller = try caller(text, isCookie: isCookie, call)
        return LogoutTarget(user: caller.user, session: caller.session, kind: caller.kind, tokenEnd: caller.token.acceptUntil)
    }

    /// Any refresh token that was given out for the session will do: by its MAC, or, when its key is gone, as the current one.
    private func target(ofRefresh text: String, _ call: Call) async throws -> LogoutTarget {
        guard let token = RefreshToken(text) else { throw Refusal.refreshMalformed }
        let user = UserID(name: token.user)
        if !token.isProven(by: call.configuration.allKeys) {
            guard try await sessions.store.record(token.session, of: user, currentHash: token.hash) != nil else { throw Refusal.refreshMalformed }
        }
        return LogoutTarget(user: user, session: token.session, kind: .registered, tokenEnd: nil)
    }
}

extension SessionAPI.LogoutTarget {
    fileprivate func names(sameSessionAs other: Self) -> Bool {
        user.namespace.isIdentical(to: other.user.namespace) && user.name.isIdentical(to: other.user.name) && session.isIdentical(to: other.session)
    }
}

extension ControlConfiguration {
    /// Verifies an access token of any issuer, and says whose key set did not have its key.
    func verified(_ text: String, now: UnixMilliseconds, keyUnknown: (String) -> Void) throws(Refusal) -> VerifiedToken {
        let bytes = Array(text.utf8)
        switch bytes.withUnsafeBytes({ verifier.judge($0, now: Double(now) / 1000) }) {
        case .verified(let token): return token
        case .refused(let refusal, let issuer):
            tellOfMissingKey(refusal, issuer: issuer, keyUnknown)
            throw .token(refusal)
        }
    }

    /// A key that is not in an issuer's set may be new there.
    func tellOfMissingKey(_ refusal: TokenRefusal, issuer: Int?, _ keyUnknown: (String) -> Void) {
        if refusal == .keyUnknown, let issuer, let policy = policy(ofIssuer: issuer) { keyUnknown(policy.name) }
    }
}
