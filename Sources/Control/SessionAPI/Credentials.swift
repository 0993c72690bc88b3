// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import HTTPRules
import HTTPTypes
import Sessions
import Tokens

/// What a request to the session API presents, before anything of it is verified.
struct Credentials: Sendable {
    /// Of `Authorization: Bearer`.
    var bearer: String?
    /// Of the JSON body.
    var bodyRefresh: String?
    var accessCookie: String?
    var refreshCookie: String?

    /// Two fields or cookies of one kind are 400: two readers could take different ones. An empty cookie of our name is one.
    init(_ request: ControlRequest, body: JSONObject, cookies: CookieRules) throws(Refusal) {
        bearer = try Self.bearer(request.fields)
        bodyRefresh = try body.optionalString("refresh_token")
        guard cookies.enabled else { return }
        accessCookie = try Self.cookie(cookies.accessName, request.fields)
        refreshCookie = try Self.cookie(cookies.refreshName, request.fields)
    }

    /// The one access token; a header beside a cookie is two (contract §4.5).
    func accessToken() throws(Refusal) -> (text: String, isCookie: Bool) {
        switch (bearer, accessCookie) {
        case (let bearer?, nil): return (bearer, false)
        case (nil, let cookie?): return (cookie, true)
        case (nil, nil): throw .tokenMissing
        case (_?, _?): throw .tokenAmbiguous
        }
    }

    /// The one refresh token; a body and a cookie may say the same.
    func refreshToken() throws(Refusal) -> (text: String, isCookie: Bool) {
        switch (bodyRefresh, refreshCookie) {
        case (let body?, nil): return (body, false)
        case (nil, let cookie?): return (cookie, true)
        case (nil, nil): throw .badRequest("refresh_token is missing")
        case (let body?, let cookie?):
            guard body.isIdentical(to: cookie) else { throw .tokenAmbiguous }
            return (body, false)
        }
    }

    /// Nil where there is none, or another scheme.
    static func bearer(_ fields: HTTPFields) throws(Refusal) -> String? {
        let values = fields[values: .authorization]
        guard values.count <= 1 else { throw .tokenAmbiguous }
        guard var value = values.first else { return nil }
        return value.withUTF8 { text in
            let bytes = UnsafeRawBufferPointer(text)
            return BearerScheme.token(in: bytes).map { String(decoding: bytes[$0], as: UTF8.self) }
        }
    }

    private static func cookie(_ name: String, _ fields: HTTPFields) throws(Refusal) -> String? {
        let found = fields[values: .cookie].flatMap { cookies(name, in: $0) }
        guard found.count <= 1 else { throw .tokenAmbiguous }
        return found.first
    }

    /// The values of all cookies of the name.
    private static func cookies(_ name: String, in field: String) -> [String] {
        var field = field
        return field.withUTF8 { text in
            let bytes = UnsafeRawBufferPointer(text)
            var cookies = Cookies(bytes, 0..<bytes.count)
            var values: [String] = []
            while let cookie = cookies.next() {
                if bytes[cookie.name].elementsEqual(name.utf8) { values.append(String(decoding: bytes[cookie.value], as: UTF8.self)) }
            }
            return values
        }
    }
}

/// Who calls, by a verified access token.
struct Caller: Sendable {
    let token: VerifiedToken
    let user: UserID
    let session: String
    let kind: SessionKind
    let isCookie: Bool

    var issuedAt: Int64? { token.issuedSecond }
}

extension VerifiedToken {
    /// `iat` rounded down, Unix seconds. A signer may write any finite number: what is beyond 16 digits is the nearest that is not.
    var issuedSecond: Int64? { issuedAt.map { Int64(min(max($0, -9e15), 9e15).rounded(.down)) } }
}
