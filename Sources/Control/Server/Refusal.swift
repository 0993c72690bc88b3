// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import HTTPTypes
import Sessions
import Tokens

/// Why a call is not done. Each case has one status and one code (contract §4, table); `ControlAnswer.init(_:requestID:)` is where they become answers.
enum Refusal: Error, Equatable {
    /// `detail` says what is wrong, without any value that was sent.
    case badRequest(_ detail: String)
    case tokenAmbiguous
    case tokenMissing
    case token(TokenRefusal)
    /// A refresh token that cannot be one of ours, or whose time is over.
    case refreshMalformed, refreshExpired, refreshReused
    case sessionRevoked
    /// PUT of a session id that was revoked: 409.
    case registrationRevoked
    case loginFailed
    case crossSite
    case adminToken(presented: Bool)
    case notFound
    case sessionNotFound
    case methodNotAllowed(_ allowed: [HTTPRequest.Method])
    case bodyTooLarge
    case rateLimited
    /// Too many logins wait already.
    case busy
    /// The gateway ends.
    case draining
    /// The login endpoint did not do it.
    case upstream(UpstreamFault)
    case storeUnavailable
    /// The gateway cannot do it, and it is not the caller's doing.
    case internalFault

    /// Every store failure is ours, whatever the call (contract §1): never a 401.
    init(_: StoreUnavailable) { self = .storeUnavailable }

    var status: HTTPResponse.Status {
        switch self {
        case .badRequest, .tokenAmbiguous: .badRequest
        case .token(.keysUnavailable): .serviceUnavailable
        case .tokenMissing, .token, .refreshMalformed, .refreshExpired, .refreshReused, .sessionRevoked, .loginFailed, .adminToken: .unauthorized
        case .crossSite: .forbidden
        case .notFound, .sessionNotFound: .notFound
        case .methodNotAllowed: .methodNotAllowed
        case .registrationRevoked: .conflict
        case .bodyTooLarge: .contentTooLarge
        case .rateLimited: .tooManyRequests
        case .busy, .draining, .storeUnavailable: .serviceUnavailable
        case .upstream(.timeout): .gatewayTimeout
        case .upstream: .badGateway
        case .internalFault: .internalServerError
        }
    }

    var code: String {
        switch self {
        case .badRequest: "bad_request"
        case .tokenAmbiguous: "token_ambiguous"
        case .tokenMissing, .adminToken(presented: false): "token_missing"
        case .adminToken(presented: true): TokenRefusal.malformed.code
        case .token(let refusal): refusal.code
        case .refreshMalformed: TokenRefusal.malformed.code
        case .refreshExpired: TokenRefusal.expired.code
        case .refreshReused: "refresh_reused"
        case .sessionRevoked, .registrationRevoked: "session_revoked"
        case .loginFailed: "login_failed"
        case .crossSite: "csrf"
        case .notFound: "route_not_found"
        case .sessionNotFound: "session_not_found"
        case .methodNotAllowed: "method_not_allowed"
        case .bodyTooLarge: "body_too_large"
        case .rateLimited, .busy: "rate_limited"
        case .draining: "draining"
        case .upstream(let fault): "upstream_\(fault.rawValue)"
        case .storeUnavailable: "store_unavailable"
        case .internalFault: "internal"
        }
    }

    /// Of `WWW-Authenticate` (RFC 6750 §3.1); nil where the challenge has none, as nothing was presented.
    var challengeError: String? {
        switch self {
        case .token, .refreshMalformed, .refreshExpired, .refreshReused, .sessionRevoked, .adminToken(presented: true): "invalid_token"
        case .crossSite: "insufficient_scope"
        case .tokenAmbiguous: "invalid_request"
        default: nil
        }
    }

    /// Seconds.
    var retryAfter: Int? {
        switch self {
        case .rateLimited: Int(LoginThrottle.rules.window / 1000)
        case .busy, .draining, .storeUnavailable, .token(.keysUnavailable): 1
        default: nil
        }
    }

    var detail: String? {
        switch self {
        case .badRequest(let detail): detail
        case .busy: "too many logins are waiting"
        default: nil
        }
    }
}
