// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import Tokens

/// The schemas that the calls name. Lengths of strings are in characters (JSON Schema), the limits of the program in bytes of UTF-8: where that differs, the
/// description says so.
extension OpenAPI {
    /// Those that the calls of the scope name, directly or through another.
    var schemas: JSONValue {
        let shared: [Named] = [problem, login, refreshTokenInBody, issuedSession, session, sessionList, revoked]
        let ofPublic: [Named] = [backchannelLogout, invalidRequest, keySet, openAPIDocument]
        let ofAdmin: [Named] = [newSession, registration, registered, token, introspection, revocationError, edges, health, ready, notReady]
        return JSONValue(members: shared + ofPublic + (scope == .everything ? ofAdmin : []))
    }

    private typealias Named = (String, JSONValue)

    // MARK: What is sent

    private static let bodyByteLimit = JSONValue.number(JSONNumber(Int64(ControlRequest.bodyByteLimit)))
    private static let noteByteLimit = JSONValue.number(JSONNumber(Int64(ControlRequest.noteByteLimit)))
    private static let identifierByteLimit = JSONValue.number(JSONNumber(Int64(IdentifierRules.byteLimit)))

    private static func note(_ text: String) -> JSONValue {
        ["type": ["string", "null"], "description": "\(text) What is over \(ControlRequest.noteByteLimit) bytes is cut off."]
    }

    private var login: Named {
        (
            "Login",
            [
                "type": "object", "required": ["username", "password"],
                "properties": [
                    "username": ["type": "string", "maxLength": Self.bodyByteLimit],
                    "password": ["type": "string", "maxLength": Self.bodyByteLimit, "format": "password"],
                    "device": Self.note("What the user knows the device by."),
                ],
                "example": ["username": "alice", "password": "the password", "device": "phone"],
            ]
        )
    }

    private var refreshTokenInBody: Named {
        (
            "RefreshTokenInBody",
            [
                "type": "object",
                "properties": [
                    "refresh_token": ["type": ["string", "null"], "maxLength": Self.bodyByteLimit, "description": "Absent or null: see the cookie."]
                ],
                "example": ["refresh_token": "pcr_…"],
            ]
        )
    }

    private var newSession: Named {
        let reserved = AccessToken.reservedClaims.sorted().map { JSONValue.string($0) }
        return (
            "NewSession",
            [
                "type": "object",
                "properties": [
                    "device": Self.note("What the user knows the device by."), "ip": Self.note("The client's address."),
                    "user_agent": Self.note("The client's `User-Agent`."),
                    "claims": [
                        "type": ["object", "null"], "propertyNames": ["not": ["enum": .array(reserved)]],
                        "description": "Put into each access token of the session, which must not become longer than `limits.token_bytes`.",
                    ],
                ],
                "example": ["device": "phone", "ip": "192.0.2.7", "user_agent": "ExampleApp/2.1", "claims": ["role": "editor"]],
            ]
        )
    }

    private var registration: Named {
        (
            "Registration",
            [
                "type": "object", "required": ["expires_at"],
                "properties": ["expires_at": ["type": "string", "format": "date-time", "description": "RFC 3339, in the future."]],
                "example": ["expires_at": "2099-01-31T12:34:56.789Z"],
            ]
        )
    }

    private var token: Named {
        (
            "Token",
            [
                "type": "object", "required": ["token"],
                "properties": [
                    "token": ["type": "string", "maxLength": Self.bodyByteLimit],
                    "token_type_hint": ["type": "string", "description": "Not needed, and not looked at."],
                ],
            ]
        )
    }

    private var backchannelLogout: Named {
        (
            "BackchannelLogout",
            ["type": "object", "required": ["logout_token"], "properties": ["logout_token": ["type": "string", "maxLength": Self.bodyByteLimit]]]
        )
    }

    // MARK: What is answered

    private static let time: JSONValue = [
        "type": "string", "format": "date-time", "pattern": #"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"#, "example": "2025-01-31T12:34:56.789Z",
    ]

    private static func orNull(_ schema: JSONValue, _ text: String) -> JSONValue {
        ["anyOf": [schema, ["type": "null"]], "description": .string(text)]
    }

    private static let identifier: JSONValue = ["type": "string", "minLength": 1, "maxLength": identifierByteLimit]
    private static let shownNote: JSONValue = ["type": ["string", "null"], "maxLength": noteByteLimit]

    private var problem: Named {
        (
            "Problem",
            [
                "type": "object", "description": "RFC 9457.", "required": ["type", "title", "status", "code", "request_id"],
                "properties": [
                    "type": ["const": "about:blank"], "title": ["type": "string", "minLength": 1],
                    "status": ["type": "integer", "minimum": 400, "maximum": 599],
                    "code": ["type": "string", "pattern": "^[a-z_]+$", "description": "Stable: what programs go by."],
                    "request_id": ["type": ["string", "null"], "description": "As the logs have it."],
                    "detail": ["type": "string", "description": "For people; never holds a value that was sent."],
                ],
                "example": [
                    "type": "about:blank", "title": "Unauthorized", "status": 401, "code": "session_revoked",
                    "request_id": "0c7d4b4f9f1e4f6c8a4b6d1e2f3a4b5c",
                ],
            ]
        )
    }

    private var issuedSession: Named {
        let tokenByteLimit = JSONValue.number(JSONNumber(Int64(tokenByteLimit)))
        return (
            "IssuedSession",
            [
                "type": "object", "required": ["token_type", "access_token", "expires_in", "refresh_token", "session_id", "user"],
                "properties": [
                    "token_type": ["const": "Bearer"],
                    "access_token": [
                        "type": "string", "maxLength": tokenByteLimit, "pattern": #"^[\w-]+\.[\w-]+\.[\w-]+$"#, "description": "A JWT.",
                    ],
                    "expires_in": ["type": "integer", "minimum": 0, "description": "Seconds until the access token expires."],
                    "refresh_token": ["type": "string", "pattern": "^pcr_[A-Za-z0-9_-]+$"],
                    "session_id": ["type": "string", "pattern": "^[A-Za-z0-9_-]{22}$", "description": "128 random bits."],
                    "user": Self.identifier,
                ],
                "example": [
                    "token_type": "Bearer", "access_token": "….….…", "expires_in": 300, "refresh_token": "pcr_…",
                    "session_id": "Q0V0c2x6b2J5N3VtYXJ2Yg", "user": "alice",
                ],
            ]
        )
    }

    private var session: Named {
        let reasons = RevokeReason.allCases.map { JSONValue.string($0.rawValue) } + [.null]
        return (
            "Session",
            [
                "type": "object",
                "required": [
                    "session_id", "current", "device", "ip", "user_agent", "created_at", "last_seen_at", "expires_at", "revoked", "revoked_at",
                    "revoke_reason",
                ],
                "properties": [
                    "session_id": Self.identifier, "current": ["type": "boolean", "description": "Whether it is the one that asks."],
                    "device": Self.shownNote, "ip": Self.shownNote, "user_agent": Self.shownNote,
                    "created_at": Self.orNull(Self.time, "Null where nobody has written it down."),
                    "last_seen_at": Self.orNull(Self.time, "Of the last login or refresh, or later."),
                    "expires_at": Self.orNull(Self.time, "When it ends by itself."), "revoked": ["type": "boolean"],
                    "revoked_at": Self.orNull(Self.time, "Null where another program ended it."), "revoke_reason": ["enum": .array(reasons)],
                ],
                "example": [
                    "session_id": "Q0V0c2x6b2J5N3VtYXJ2Yg", "current": true, "device": "phone", "ip": "192.0.2.7", "user_agent": "ExampleApp/2.1",
                    "created_at": "2025-01-31T12:34:56.789Z", "last_seen_at": "2025-01-31T12:40:00.000Z", "expires_at": "2025-03-02T12:40:00.000Z",
                    "revoked": false, "revoked_at": .null, "revoke_reason": .null,
                ],
            ]
        )
    }

    private var sessionList: Named {
        (
            "SessionList",
            ["type": "object", "required": ["sessions"], "properties": ["sessions": ["type": "array", "items": Self.reference("Session")]]]
        )
    }

    private var revoked: Named {
        (
            "Revoked",
            ["type": "object", "required": ["revoked"], "properties": ["revoked": ["type": "integer", "minimum": 0]], "example": ["revoked": 2]]
        )
    }

    private var registered: Named {
        (
            "Registered",
            [
                "type": "object", "required": ["session_id", "user", "expires_at"],
                "properties": ["session_id": Self.identifier, "user": Self.identifier, "expires_at": Self.time],
            ]
        )
    }

    private var edges: Named {
        let edge: JSONValue = [
            "type": "object", "required": ["id", "address", "version", "last_heartbeat_at", "staleness"],
            "properties": [
                "id": ["type": "string", "description": "Another one for each start of a process."],
                "address": ["type": "string", "description": "Where it listens; empty where it does not say."],
                "version": ["type": "string"], "last_heartbeat_at": ["type": ["string", "null"], "format": "date-time"],
                "staleness": ["type": ["number", "null"], "minimum": 0, "description": "Seconds since then: what it acts on is not older."],
            ],
        ]
        return ("Edges", ["type": "object", "required": ["edges"], "properties": ["edges": ["type": "array", "items": edge]]])
    }

    private var introspection: Named {
        (
            "Introspection",
            [
                "oneOf": [
                    ["type": "object", "required": ["active"], "properties": ["active": ["const": false]], "maxProperties": 1],
                    [
                        "type": "object", "required": ["active", "sub", "iss", "exp", "token_type"],
                        "properties": [
                            "active": ["const": true], "sub": Self.identifier, "sid": Self.identifier, "iss": ["type": "string"],
                            "exp": ["type": "integer", "description": "Unix seconds."], "token_type": ["enum": ["Bearer", "refresh_token"]],
                        ],
                    ],
                ]
            ]
        )
    }

    private var keySet: Named {
        (
            "KeySet",
            [
                "type": "object", "required": ["keys"],
                "properties": [
                    "keys": [
                        "type": "array",
                        "items": [
                            "type": "object", "required": ["kty", "kid", "alg", "use"],
                            "properties": [
                                "kty": ["enum": ["OKP", "EC", "RSA"]], "kid": ["type": "string", "minLength": 1], "alg": ["type": "string"],
                                "use": ["const": "sig"], "crv": ["type": "string"], "x": ["type": "string"], "y": ["type": "string"],
                                "n": ["type": "string"], "e": ["type": "string"],
                            ],
                            "not": ["anyOf": [["required": ["d"]], ["required": ["p"]], ["required": ["k"]]]],
                        ],
                    ]
                ],
            ]
        )
    }

    private var openAPIDocument: Named {
        (
            "Document",
            [
                "type": "object", "required": ["openapi", "info", "paths", "components"],
                "properties": ["openapi": ["type": "string", "pattern": #"^3\.1\."#]],
            ]
        )
    }

    private static func oauthError(_ name: String, _ errors: [JSONValue]) -> Named {
        (name, ["type": "object", "required": ["error"], "properties": ["error": ["enum": .array(errors)]]])
    }

    private var invalidRequest: Named { Self.oauthError("InvalidRequest", ["invalid_request"]) }
    private var revocationError: Named { Self.oauthError("RevocationError", ["invalid_request", "unsupported_token_type"]) }

    private static func status(_ name: String, _ members: [(String, JSONValue)]) -> Named {
        (name, ["type": "object", "required": .array(members.map { .string($0.0) }), "properties": JSONValue(members: members)])
    }

    private var health: Named { Self.status("Health", [("status", ["const": "ok"])]) }
    private var ready: Named { Self.status("Ready", [("status", ["const": "ready"])]) }
    private var notReady: Named {
        Self.status("NotReady", [("status", ["const": "not ready"]), ("reason", ["enum": ["draining", "store", "starting"]])])
    }
}
