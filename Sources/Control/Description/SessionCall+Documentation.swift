// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

extension SessionCall: DocumentedCall {
    var documentation: CallDocumentation { own.with(CallDocumentation.publicListener) }

    private static let issuedText = "The tokens, in the body for programs and in two cookies for browsers."

    private var own: CallDocumentation {
        switch self {
        case .login: login
        case .refresh: refresh
        case .logout: logout
        case .logoutAll: logoutAll
        case .list: list
        case .endFromList: endFromList
        case .current: current
        case .backchannelLogout: backchannelLogout
        case .describe: describe
        case .publishKeys: publishKeys
        }
    }

    private var login: CallDocumentation {
        CallDocumentation(
            id: "login", summary: "Log in",
            text: "Begins a session. Failures are counted for all gateways, by user and by client address; after too many the password is not "
                + "looked at. Says the caller where it comes from (`Origin`, `Sec-Fetch-Site`), it has to be a page of the same origin.",
            body: .json(schema: "Login", isRequired: true),
            answers: [.json(200, Self.issuedText, schema: "IssuedSession", setsCookies: true)],
            problems: [
                401: ["login_failed"], 403: ["csrf"], 404: ["route_not_found"], 429: ["rate_limited"], 503: ["rate_limited", "store_unavailable"],
            ])
    }

    private var refresh: CallDocumentation {
        CallDocumentation(
            id: "refresh", summary: "Get new tokens for a refresh token",
            text:
                "The refresh token, from the body or its cookie (from both only if they are the same), is replaced by the one in the answer. Inside "
                + "`refresh_reuse_window` the replaced one gets the same successor again; used after it, it revokes the session.",
            credentials: [.refreshCookie, .none], body: .json(schema: "RefreshTokenInBody", isRequired: false),
            answers: [.json(200, Self.issuedText, schema: "IssuedSession", setsCookies: true)],
            problems: [
                400: ["bad_request", "token_ambiguous"], 401: ["token_malformed", "token_expired", "session_revoked", "refresh_reused"],
                403: ["csrf"],
                404: ["route_not_found"], 503: ["store_unavailable"],
            ])
    }

    private var logout: CallDocumentation {
        CallDocumentation(
            id: "logout", summary: "Log out here",
            text:
                "Ends the session of the presented token, be it an access or a refresh token, also of one that has ended already. Tokens in header and "
                + "body count before cookies; a stale access cookie beside a good refresh cookie is no obstacle. When this has been answered, no "
                + "gateway forwards another request of the session.",
            credentials: [.accessToken, .accessCookie, .refreshCookie, .none], body: .json(schema: "RefreshTokenInBody", isRequired: false),
            answers: [CallDocumentation.Answer(status: 204, text: "The session has ended; both cookies are removed.", setsCookies: true)],
            problems: [
                400: ["bad_request", "token_ambiguous"], 401: ["token_missing"] + CallDocumentation.tokenRefusals, 403: ["csrf"],
                503: ["store_unavailable", "keys_unavailable"],
            ])
    }

    /// What each call refuses that is made in the name of an active session.
    private static let callerProblems: [Int: [String]] = [
        400: ["bad_request", "token_ambiguous"], 401: ["token_missing"] + CallDocumentation.tokenRefusals + ["session_revoked"],
        503: ["store_unavailable", "keys_unavailable"],
    ]

    private var logoutAll: CallDocumentation {
        CallDocumentation(
            id: "logoutAll", summary: "Log out everywhere",
            text: "Ends all sessions of the user in one operation of the store, however many they are.",
            credentials: [.accessToken, .accessCookie],
            answers: [.json(200, "How many sessions have ended; both cookies are removed.", schema: "Revoked", setsCookies: true)],
            problems: [403: ["csrf"]]
        ).with(Self.callerProblems)
    }

    private var list: CallDocumentation {
        CallDocumentation(
            id: "listSessions", summary: "The user's sessions",
            text: "Active ones, and those that were ended within `retain_revoked`, with when and why. What ended by time is not listed.",
            credentials: [.accessToken, .accessCookie], answers: [.json(200, "The sessions.", schema: "SessionList")], problems: Self.callerProblems)
    }

    private var endFromList: CallDocumentation {
        CallDocumentation(
            id: "endSession", summary: "Log out one of the user's sessions",
            text: "Also one that has ended and is remembered. Ending the current one is a logout.",
            credentials: [.accessToken, .accessCookie],
            answers: [
                CallDocumentation.Answer(
                    status: 204, text: "The session has ended; both cookies are removed if it was the current one.", setsCookies: true)
            ],
            problems: [403: ["csrf"], 404: ["session_not_found"]]
        ).with(Self.callerProblems)
    }

    private var current: CallDocumentation {
        CallDocumentation(
            id: "currentSession", summary: "The current session", text: "A session that another program registered may have nothing but its id.",
            credentials: [.accessToken, .accessCookie], answers: [.json(200, "The session.", schema: "Session")], problems: Self.callerProblems)
    }

    private var backchannelLogout: CallDocumentation {
        CallDocumentation(
            id: "backchannelLogout", summary: "OpenID Connect Back-Channel Logout 1.0",
            text:
                "For identity providers whose issuer has `backchannel_logout: true`: the logout token is the credential. With `sid` one session ends, "
                + "with `sub` alone all of the user. A token counts once, for all gateways; after a 503 the same one works.",
            body: .form(schema: "BackchannelLogout"),
            answers: [
                CallDocumentation.Answer(status: 200, text: "The sessions have ended."),
                .json(400, "The logout token is not accepted, or has been used.", schema: "InvalidRequest"),
            ],
            problems: [404: ["route_not_found"], 503: ["store_unavailable", "keys_unavailable"]])
    }

    private var describe: CallDocumentation {
        CallDocumentation(
            id: "describeSessionAPI", summary: "This description", text: "The calls of the public listener. The same for everybody.",
            answers: [.json(200, "An OpenAPI 3.1 document.", schema: "Document")])
    }

    private var publishKeys: CallDocumentation {
        CallDocumentation(
            id: "publishedKeys", summary: "The keys that the gateway's tokens are verified with",
            text: "A JWK Set (RFC 7517): the signing key, and those before it that are still good.",
            answers: [.json(200, "Public keys.", schema: "KeySet")])
    }
}
