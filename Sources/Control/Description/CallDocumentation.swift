// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import HTTPTypes
import Tokens

/// What is said of one call in the OpenAPI description: everything but its method and path, which `APICall` has.
struct CallDocumentation {
    /// `operationId`: what generated clients name it.
    let id: String
    let summary: String
    let text: String
    /// Alternatives, of which one is enough.
    var credentials: [Credential] = [.none]
    /// Beside those that stand in the path.
    var parameters: [JSONValue] = []
    var body: Body?
    /// By status, in the order of their writing; what refuses is in `problems`.
    var answers: [Answer]
    /// Codes of RFC 9457 problems by status.
    var problems: [Int: [String]] = [:]

    enum Credential {
        case none, accessToken, accessCookie, refreshCookie, adminToken
    }

    enum Body {
        case json(schema: String, isRequired: Bool)
        case form(schema: String)
    }

    struct Answer {
        let status: Int
        let text: String
        /// Media type and schema; nil for no body.
        var content: (type: String, schema: JSONValue)?
        var setsCookies = false

        static func json(_ status: Int, _ text: String, schema: String, setsCookies: Bool = false) -> Answer {
            Answer(status: status, text: text, content: ("application/json", OpenAPI.reference(schema)), setsCookies: setsCookies)
        }
    }

    /// The same with further problems: what whoever stands before the call refuses.
    func with(_ more: [Int: [String]]) -> CallDocumentation {
        var copy = self
        copy.problems.merge(more) { own, others in own + others.filter { !own.contains($0) } }
        return copy
    }
}

/// A call that can say what it is.
protocol DocumentedCall: APICall {
    var documentation: CallDocumentation { get }
}

extension CallDocumentation {
    /// Of an access token that is not good, or whose session is not.
    static let tokenRefusals = [
        "token_malformed", "token_algorithm", "token_key_unknown", "token_signature", "token_issuer", "token_audience", "token_expired",
        "token_not_yet_valid", "token_claims",
    ]

    /// What the data plane refuses on the public listener before the session API sees the call, or when it cannot reach it (contract §4).
    static let publicListener: [Int: [String]] = [
        400: ["bad_request"], 408: ["head_timeout"], 413: ["body_too_large"], 414: ["target_too_long"], 431: ["header_too_large"],
        500: ["internal"], 502: ["upstream_refused", "upstream_reset", "upstream_malformed"], 503: ["draining", "no_healthy_upstream"],
        504: ["upstream_timeout"],
    ]

    /// What the admin listener refuses whatever is called below `/v1`.
    static let adminListener: [Int: [String]] = [
        400: ["bad_request", "token_ambiguous"], 401: ["token_missing", "token_malformed"], 404: ["route_not_found"], 413: ["body_too_large"],
        500: ["internal"], 503: ["store_unavailable"],
    ]

    /// What each code of a problem means; the program's answers have no others.
    static let meanings: [String: String] = [
        "bad_request": "something in it is not as it has to be; `detail` says what, and names the member",
        "body_too_large": "the body is larger than 64 KiB, or than `limits.body_bytes`",
        "csrf": "a cookie alone authorises it, and no page of the same origin made it",
        "draining": "this gateway is about to end: another one takes it",
        "head_timeout": "the head took longer than `limits.head_timeout`",
        "header_too_large": "the head is larger than `limits.header_bytes`, or has more fields than `limits.header_count`",
        "internal": "the gateway failed, and it is not the caller's doing",
        "keys_unavailable": "the key set of the token's issuer has never been had",
        "login_failed": "user and password do not belong together",
        "no_healthy_upstream": "the session API cannot be reached",
        "rate_limited": "429: too many failed logins of this user, or from this address; 503: too many logins wait already",
        "refresh_reused": "the token had been replaced longer than `refresh_reuse_window` ago: the session has been revoked",
        "route_not_found": "this gateway is not configured for it",
        "session_not_found": "the user has no such session",
        "session_revoked": "the session is not active (any more)",
        "store_unavailable": "the session store did not do it: nobody knows, and nothing is to be taken for done",
        "target_too_long": "the target is longer than `limits.target_bytes`",
        "token_algorithm": "the issuer may not sign with the token's algorithm",
        "token_ambiguous": "two credentials, of which two readers could take different ones",
        "token_audience": "the token is for somebody else",
        "token_claims": "a claim that has to be there is missing or of a wrong type",
        "token_expired": "its time is over",
        "token_issuer": "nobody here trusts its issuer",
        "token_key_unknown": "its key is not in the issuer's key set",
        "token_malformed": "it is no token of ours",
        "token_missing": "there is none",
        "token_not_yet_valid": "its time has not begun",
        "token_signature": "its signature is not right",
        "upstream_malformed": "the session API, or the login endpoint that it asks, was not understood",
        "upstream_refused": "the session API, or the login endpoint that it asks, cannot be reached",
        "upstream_reset": "the session API, or the login endpoint that it asks, broke off",
        "upstream_timeout": "the session API, or the login endpoint that it asks, did not answer in time",
    ]
}
