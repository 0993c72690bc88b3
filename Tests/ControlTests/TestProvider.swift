// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import Tokens

@testable import Control

/// Identity providers that share a key: `reg` and `rev` send logout tokens, `off` is not listened to, and nobody is asked about the sessions of `free`.
struct TestProvider {
    let key: SigningKey

    init() throws { key = try SigningKey.generate(.es256).key }

    var issuers: [(TrustedIssuer, IssuerPolicy)] {
        [("reg", .registered, true), ("rev", .revocable, true), ("off", .registered, false), ("free", .unchecked, false)].map {
            (name: String, sessions: IssuerSessions, sends: Bool) in
            let trusted = TrustedIssuer(
                name: name, issuer: "https://\(name).example", audiences: ["gate"], algorithms: [.es256], keys: KeySet(signingKeys: [key]),
                requiresSession: sessions != .unchecked, sendsLogoutTokens: sends)
            return (trusted, IssuerPolicy(name: name, namespace: name, sessions: sessions))
        }
    }

    /// A logout token that is good for two minutes from `time`.
    ///
    /// - Parameter issuedIn: seconds after `time`.
    func token(
        _ issuer: String, user: String? = "alice", session: String? = "s1", id: String? = nil, issuedIn: Int64 = 0, at time: UnixMilliseconds
    ) throws -> String {
        try sign(issuer, user: user, session: session, id: id, issuedAt: time / 1000 + issuedIn, end: time / 1000 + 120) { json in
            json.name("events")
            json.beginObject()
            json.member("http://schemas.openid.net/event/backchannel-logout", JSONObject())
            json.endObject()
        }
    }

    func accessToken(_ issuer: String, user: String = "alice", session: String? = "s1", at time: UnixMilliseconds) throws -> String {
        try sign(issuer, user: user, session: session, id: nil, issuedAt: time / 1000, end: time / 1000 + 120)
    }

    private func sign(
        _ issuer: String, user: String?, session: String?, id: String?, issuedAt: Int64, end: Int64, _ more: (inout JSONWriter) -> Void = { _ in }
    ) throws -> String {
        let claims = JSONWriter.object { json in
            json.member("iss", "https://\(issuer).example")
            json.member("aud", "gate")
            json.member("iat", issuedAt)
            json.member("exp", end)
            json.member("jti", id ?? Base64URL.encode(Digest.randomBytes(16)))
            if let user { json.member("sub", user) }
            if let session { json.member("sid", session) }
            more(&json)
        }
        return String(decoding: try key.sign(claims: claims), as: UTF8.self)
    }
}

extension ControlWorld {
    /// A form that is posted to the session API.
    func form(
        _ target: String, _ body: String, type: String = "application/x-www-form-urlencoded", fields: [(String, String)] = []
    ) async throws -> Reply {
        try await call(.POST, target, json: body, type: type, fields: fields)
    }
}
