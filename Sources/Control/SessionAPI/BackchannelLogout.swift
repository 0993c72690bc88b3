// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import Tokens

/// OpenID Connect Back-Channel Logout 1.0 (contract §5, Back-channel): an identity provider says, server to server, that a session has ended. It
/// has no cookies and no origin; the signed logout token is all the proof that there is.
extension SessionAPI {
    /// Milliseconds that a used token is remembered beyond its end, as the gateways of a fleet have different clocks.
    private static let clockTolerance: UnixMilliseconds = 60_000

    /// 200 when the logout has taken effect, also where nothing was left to end (§2.7). Throws what is not the sender's doing: 503.
    ///
    /// A token counts as used only when its logout has taken effect, so the order is: look, end, mark.
    /// - Whatever fails before the mark leaves the token as it was, and ending what has ended changes nothing: the sender can repeat it.
    /// - The look is what keeps a replay from ending sessions that began since. It is not one step with the end: a `jti` counts for its issuer, and
    ///   a session's keys are in the slot of its user. So a copy that looks before the first has marked, and ends after the user has logged in
    ///   again, ends that, too. For that it has to come while the first is still unanswered, and to end within two answers of the store
    ///   (`command_timeout`): a replay that comes after the first was answered never can. Of all that run at once one gets 200.
    /// - Where the store takes the mark and its answer is lost, the sender gets 503 and then 400, of a logout that has taken effect.
    func backchannelLogout(_ call: Call) async throws -> ControlAnswer {
        let configuration = call.configuration
        guard let text = call.request.formParameter("logout_token") else { return .oauthError("invalid_request") }
        let token: LogoutToken
        switch Array(text.utf8).withUnsafeBytes({ configuration.verifier.judgeLogout($0, now: Double(sessions.now()) / 1000) }) {
        case .verified(let verified): token = verified
        case .refused(let refusal, let issuer):
            configuration.tellOfMissingKey(refusal, issuer: issuer, keyUnknown)
            let answer = refused(call, issuer: issuer, reason: refusal.code)
            guard refusal != .keysUnavailable else { throw Refusal.token(refusal) }
            return answer
        }
        guard let policy = configuration.policy(ofIssuer: token.issuer), let kind = policy.sessions.kind else {
            return refused(call, issuer: token.issuer, reason: TokenRefusal.issuer.code)
        }
        do {
            return try await end(call, token, policy, kind)
        } catch let fault as StoreUnavailable {
            // Few providers repeat it: whose logout it was must be found afterwards.
            note(call, .failed, token, policy, reason: Refusal(fault).code)
            throw fault
        }
    }

    private func end(_ call: Call, _ token: LogoutToken, _ policy: IssuerPolicy, _ kind: SessionKind) async throws -> ControlAnswer {
        let configuration = call.configuration
        let issuer = configuration.verifier.issuers[token.issuer].issuer
        guard try await !sessions.store.hasUsed(logoutToken: token.tokenID, of: issuer, now: sessions.now()) else {
            return refused(call, issuer: token.issuer, reason: "token_replayed")
        }
        let user = Self.user(of: token, policy)
        if let session = token.session {
            _ = try await sessions.end(
                session, of: user, kind: kind, reason: .backchannel, tokenEnd: token.acceptUntil, configuration: configuration)
        } else {
            _ = try await sessions.endAll(
                of: user, reason: .backchannel, issuedAt: token.issuedAtSecond, tokenEnd: token.acceptUntil, configuration: configuration)
        }
        note(call, .ok, token, policy)
        let now = sessions.now(), until = Int64((token.acceptUntil * 1000).rounded(.up)) + Self.clockTolerance
        guard try await sessions.store.use(logoutToken: token.tokenID, of: issuer, until: until, now: now) else {
            return refused(call, issuer: token.issuer, reason: "token_replayed")
        }
        return ControlAnswer(status: .ok, contentType: nil, body: [])
    }

    private static func user(of token: LogoutToken, _ policy: IssuerPolicy) -> UserID { UserID(namespace: policy.namespace, name: token.user) }

    private func note(_ call: Call, _ outcome: Audit.Outcome, _ token: LogoutToken, _ policy: IssuerPolicy, reason: String? = nil) {
        audit.record(
            .backchannelLogout, outcome, user: Self.user(of: token, policy), session: token.session, issuer: policy.name, reason: reason,
            client: call.request.client, now: sessions.now())
    }

    /// The sender learns nothing (§2.8); the audit log says why.
    private func refused(_ call: Call, issuer: Int?, reason: String) -> ControlAnswer {
        let name = issuer.flatMap { call.configuration.policy(ofIssuer: $0)?.name }
        audit.record(.backchannelLogout, .failed, user: nil, issuer: name, reason: reason, client: call.request.client, now: sessions.now())
        return .oauthError("invalid_request")
    }
}
