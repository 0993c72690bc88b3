// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import Tokens

/// An access token that the gateway has signed.
struct AccessToken: Sendable {
    /// Claims that are the gateway's own: a session's claims cannot replace them.
    static let reservedClaims: Set<String> = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid"]

    let text: String
    /// Unix seconds.
    let expiresAt: Int64

    /// Signs; throws `badRequest` where the claims make it longer than `limits.token_bytes`.
    ///
    /// - Parameters:
    ///   - claims: the session's own, as stored; nil for none.
    ///   - sessionEnd: the token never outlives it.
    init(
        user: String, session: String, claims: [UInt8]?, sessionEnd: UnixMilliseconds, key: SigningKey, configuration: ControlConfiguration,
        now: UnixMilliseconds
    ) throws(Refusal) {
        // Rounded up, so that a lifetime of a second is one; never past the session's end.
        let expiresAt = min((now + configuration.accessTokenLifetime + 999) / 1000, sessionEnd / 1000)
        let own = claims.flatMap { try? JSONObject(parsing: $0) }
        let payload = JSONWriter.object { json in
            json.member("iss", configuration.issuer)
            json.member("aud", configuration.audience)
            json.member("sub", user)
            json.member("sid", session)
            json.member("iat", now / 1000)
            json.member("exp", expiresAt)
            json.member("jti", Base64URL.encode(Digest.randomBytes(16)))
            for member in own?.members ?? [] where !Self.reservedClaims.contains(member.name) { json.member(member.name, member.value) }
        }
        guard let token = try? key.sign(claims: payload) else { throw .internalFault }
        guard token.count <= configuration.tokenByteLimit else { throw .badRequest("claims make a token that is longer than limits.token_bytes") }
        text = String(decoding: token, as: UTF8.self)
        self.expiresAt = expiresAt
    }

    /// The claims of a session that is to begin, checked: an object, or absent. 400 with the reserved name.
    static func sessionClaims(_ value: JSONValue?) throws(Refusal) -> [UInt8]? {
        switch value {
        case nil, .null?: return nil
        case .object(let object)?:
            for member in object.members where reservedClaims.contains(member.name) { throw .badRequest("claims cannot have \(member.name)") }
            guard !object.isEmpty else { return nil }
            return JSONWriter.object { json in
                for member in object.members { json.member(member.name, member.value) }
            }
        default: throw .badRequest("claims has to be an object")
        }
    }
}
