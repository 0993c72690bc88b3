// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import HTTPTypes

/// The calls of the session API (contract §5), on the public listener. `SessionAPI.answer` does them, `documentation` describes them.
enum SessionCall: APICall {
    case login, refresh, logout, logoutAll, list, endFromList, current, backchannelLogout, describe
    /// Not below `sessions.api_path`.
    case publishKeys

    var method: HTTPRequest.Method {
        switch self {
        case .login, .refresh, .logout, .logoutAll, .backchannelLogout: .post
        case .list, .current, .describe, .publishKeys: .get
        case .endFromList: .delete
        }
    }

    /// Below `sessions.api_path`, but for `publishKeys`.
    var path: String {
        switch self {
        case .login: "/login"
        case .refresh: "/refresh"
        case .logout: "/logout"
        case .logoutAll: "/logout-all"
        case .list: "/sessions"
        case .endFromList: "/sessions/{sid}"
        case .current: "/session"
        case .backchannelLogout: "/backchannel-logout"
        case .describe: "/openapi.json"
        case .publishKeys: "/.well-known/jwks.json"
        }
    }

    /// Those below `sessions.api_path`.
    static let belowAPIPath = CallTable(allCases.filter { $0 != .publishKeys })
    static let elsewhere = CallTable([publishKeys])
}
