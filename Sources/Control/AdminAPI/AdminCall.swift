// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import HTTPTypes

/// The calls of the admin listener (contract §6). `AdminAPI.answer` does them, `documentation` describes them.
enum AdminCall: APICall {
    /// For everybody who reaches the listener.
    case health, readiness, metrics, describe
    /// With the admin token.
    case create, list, endAll, register, end, introspect, revoke, edges

    var method: HTTPRequest.Method {
        switch self {
        case .health, .readiness, .metrics, .describe, .list, .edges: .get
        case .create, .introspect, .revoke: .post
        case .register: .put
        case .endAll, .end: .delete
        }
    }

    var path: String {
        switch self {
        case .health: "/healthz"
        case .readiness: "/readyz"
        case .metrics: "/metrics"
        case .describe: "/openapi.json"
        case .create, .list, .endAll: "/v1/users/{user}/sessions"
        case .register, .end: "/v1/users/{user}/sessions/{sid}"
        case .introspect: "/v1/introspect"
        case .revoke: "/v1/revoke"
        case .edges: "/v1/edges"
        }
    }

    static let table = CallTable(allCases)
}
