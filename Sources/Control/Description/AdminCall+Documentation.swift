// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Tokens

extension AdminCall: DocumentedCall {
    var documentation: CallDocumentation {
        switch self {
        case .health: health
        case .readiness: readiness
        case .metrics: metrics
        case .describe: describe
        case .create: create.with(CallDocumentation.adminListener)
        case .list: list.with(CallDocumentation.adminListener)
        case .endAll: endAll.with(CallDocumentation.adminListener)
        case .register: register.with(CallDocumentation.adminListener)
        case .end: end.with(CallDocumentation.adminListener)
        case .introspect: introspect.with(CallDocumentation.adminListener)
        case .revoke: revoke.with(CallDocumentation.adminListener)
        case .edges: edges.with(CallDocumentation.adminListener)
        }
    }

    // MARK: For everybody who reaches the listener

    private var health: CallDocumentation {
        CallDocumentation(
            id: "health", summary: "Whether the process is alive", text: "Needs no token.",
            answers: [.json(200, "It is.", schema: "Health")])
    }

    private var readiness: CallDocumentation {
        CallDocumentation(
            id: "readiness", summary: "Whether requests should be sent here",
            text:
                "Not before the gateway can answer for a session for the first time, and not while it drains; a later outage of the store does not change "
                + "it. Needs no token.",
            answers: [.json(200, "They should.", schema: "Ready"), .json(503, "They should not.", schema: "NotReady")])
    }

    private var metrics: CallDocumentation {
        CallDocumentation(
            id: "metrics", summary: "Metrics for Prometheus", text: "Needs no token.",
            answers: [CallDocumentation.Answer(status: 200, text: "Text format 0.0.4.", content: ("text/plain", ["type": "string"]))])
    }

    private var describe: CallDocumentation {
        CallDocumentation(
            id: "describe", summary: "This description",
            text:
                "The calls of both listeners. Needs no token: it says nothing that the documentation does not say, and a tool that reads it has none.",
            answers: [.json(200, "An OpenAPI 3.1 document.", schema: "Document")])
    }

    // MARK: Sessions of a user

    private static let namespace: JSONValue = [
        "name": "namespace", "in": "query", "description": "`namespace` of the issuer whose user it is; absent or empty: the gateway's own.",
        "schema": ["type": "string", "maxLength": 256],
    ]

    private var create: CallDocumentation {
        CallDocumentation(
            id: "createSession", summary: "Begin a session for a user whom the caller has authenticated",
            text: "For login services. Of the gateway's own users alone; an own user whose name begins with another namespace is refused.",
            credentials: [.adminToken], parameters: [Self.namespace], body: .json(schema: "NewSession", isRequired: false),
            answers: [.json(201, "The tokens.", schema: "IssuedSession")])
    }

    private var list: CallDocumentation {
        CallDocumentation(
            id: "listUserSessions", summary: "A user's sessions", text: "As the user sees them; none of them is `current`.",
            credentials: [.adminToken], parameters: [Self.namespace], answers: [.json(200, "The sessions.", schema: "SessionList")])
    }

    private var endAll: CallDocumentation {
        CallDocumentation(
            id: "endUserSessions", summary: "Log a user out everywhere", text: "One operation of the store, however many sessions there are.",
            credentials: [.adminToken], parameters: [Self.namespace], answers: [.json(200, "How many sessions have ended.", schema: "Revoked")])
    }

    private var register: CallDocumentation {
        CallDocumentation(
            id: "registerSession", summary: "Register a session id that another issuer made",
            text: "Again: moves its end. The session ends at `expires_at`, at most 2 s late.",
            credentials: [.adminToken], parameters: [Self.namespace], body: .json(schema: "Registration", isRequired: true),
            answers: [.json(201, "It is registered.", schema: "Registered")], problems: [409: ["session_revoked"]])
    }

    private var end: CallDocumentation {
        CallDocumentation(
            id: "endUserSession", summary: "Log out one session of a user",
            text: "Where the user's issuer is `revocable` also one that nobody here knows.",
            credentials: [.adminToken], parameters: [Self.namespace],
            answers: [CallDocumentation.Answer(status: 204, text: "The session has ended.")], problems: [404: ["session_not_found"]])
    }

    // MARK: The fleet

    private var edges: CallDocumentation {
        CallDocumentation(
            id: "edges", summary: "The gateways of the fleet", text: "Those that a logout waits for now: each has a heartbeat in the store.",
            credentials: [.adminToken], answers: [.json(200, "All of them.", schema: "Edges")], problems: [503: ["store_unavailable"]])
    }

    // MARK: Tokens

    private var introspect: CallDocumentation {
        CallDocumentation(
            id: "introspect", summary: "What a token is worth (RFC 7662)",
            text: "Of access tokens of all issuers, and of refresh tokens, which are active while they are the current one. Changes nothing.",
            credentials: [.adminToken], body: .form(schema: "Token"),
            answers: [
                .json(200, "What it is; of one that is not active nothing else is said.", schema: "Introspection"),
                .json(400, "The form has no `token`, or has it twice.", schema: "InvalidRequest"),
            ],
            problems: [503: ["keys_unavailable"]])
    }

    private var revoke: CallDocumentation {
        CallDocumentation(
            id: "revoke", summary: "End the session of a token (RFC 7009)", text: "Also 200 for a token that means nothing here.",
            credentials: [.adminToken], body: .form(schema: "Token"),
            answers: [
                CallDocumentation.Answer(status: 200, text: "The token is worth nothing any more."),
                .json(400, "The form has no `token`, or has it twice; or the token's issuer has no sessions here.", schema: "RevocationError"),
            ],
            problems: [503: ["keys_unavailable"]])
    }
}
