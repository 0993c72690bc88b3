// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import Tokens

/// Introspection (RFC 7662) and revocation (RFC 7009) of access and refresh tokens. `token_type_hint` is not needed: the two look different.
extension AdminAPI {
    private static let inactive = ControlAnswer.json { $0.member("active", false) }

    /// Changes nothing, whatever it is asked about.
    func introspect(_ call: Call) async throws -> ControlAnswer {
        guard let text = call.request.formParameter("token") else { return .oauthError("invalid_request") }
        let configuration = call.configuration
        if let refresh = RefreshToken(text) {
            let user = UserID(name: refresh.user)
            guard let record = try await sessions.store.record(refresh.session, of: user, currentHash: refresh.hash), record.active,
                let end = record.expiresAt, end > sessions.now()
            else { return Self.inactive }
            return .json { json in
                json.member("active", true)
                json.member("sub", refresh.user)
                json.member("sid", refresh.session)
                json.member("iss", configuration.issuer)
                json.member("exp", end / 1000)
                json.member("token_type", "refresh_token")
            }
        }
        guard let token = try verified(text, call), let policy = configuration.policy(of: token) else { return Self.inactive }
        if let kind = policy.sessions.kind {
            guard let session = token.session else { return Self.inactive }
            let user = UserID(namespace: policy.namespace, name: token.user)
            guard try await sessions.store.answer(session, of: user, kind: kind, issuedAt: token.issuedSecond) else { return Self.inactive }
        }
        return .json { json in
            json.member("active", true)
            json.member("sub", token.user)
            if let session = token.session { json.member("sid", session) }
            json.member("iss", configuration.verifier.issuers[token.issuer].issuer)
            json.member("exp", Int64(min(token.expiresAt, 9e15)))
            json.member("token_type", "Bearer")
        }
    }

    /// 200 also for a token that means nothing here (RFC 7009 §2.2).
    func revoke(_ call: Call) async throws -> ControlAnswer {
        guard let text = call.request.formParameter("token") else { return .oauthError("invalid_request") }
        let configuration = call.configuration
        let done = ControlAnswer(status: .ok, contentType: nil, body: [])
        if let refresh = RefreshToken(text) {
            let user = UserID(name: refresh.user)
            if !refresh.isProven(by: configuration.allKeys) {
                guard try await sessions.store.record(refresh.session, of: user, currentHash: refresh.hash) != nil else { return done }
            }
            _ = try await sessions.end(refresh.session, of: user, kind: .registered, reason: .revoked, configuration: configuration)
            record(.adminRevokeToken, call, user, refresh.session)
            return done
        }
        guard let token = try verified(text, call), let policy = configuration.policy(of: token) else { return done }
        guard let kind = policy.sessions.kind, let session = token.session else { return .oauthError("unsupported_token_type") }
        let user = UserID(namespace: policy.namespace, name: token.user)
        _ = try await sessions.end(session, of: user, kind: kind, reason: .revoked, tokenEnd: token.acceptUntil, configuration: configuration)
        record(.adminRevokeToken, call, user, session)
        return done
    }

    /// Nil for a token that is not accepted; throws where that cannot be known.
    private func verified(_ text: String, _ call: Call) throws(Refusal) -> VerifiedToken? {
        do {
            return try call.configuration.verified(text, now: sessions.now(), keyUnknown: keyUnknown)
        } catch .token(.keysUnavailable) {
            throw .token(.keysUnavailable)
        } catch {
            return nil
        }
    }
}
