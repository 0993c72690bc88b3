// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Tokens

/// Everything that the data plane refuses a request for, with the codes of the contract (§4). Absent, refused and unavailable are different
/// things: only what begins with 401 says that the client is not logged in.
enum Rejection: Error, Equatable, Sendable {
    case badRequest, tokenAmbiguous
    case tokenMissing, token(TokenRefusal), sessionRevoked
    case scopeMissing, claimMismatch, originMismatch
    case routeNotFound, methodNotAllowed(allow: String)
    case headTimeout, bodyTooLarge, targetTooLong, headerTooLarge
    /// In seconds.
    case rateLimited(retryAfter: Int)
    case upstreamRefused, upstreamReset, upstreamMalformed, upstreamTimeout, noHealthyUpstream
    case storeUnavailable, draining

    init(_ fault: UpstreamFault) {
        switch fault {
        case .refused: self = .upstreamRefused
        case .connectTimeout, .responseTimeout: self = .upstreamTimeout
        case .exhausted: self = .noHealthyUpstream
        case .reset, .brokenHead: self = .upstreamReset
        case .malformed: self = .upstreamMalformed
        }
    }

    init(_ refusal: HeadRefusal) {
        switch refusal {
        case .badRequest: self = .badRequest
        case .targetTooLong: self = .targetTooLong
        case .headerTooLarge: self = .headerTooLarge
        }
    }

    static let keysUnavailable = Rejection.token(.keysUnavailable)

    var status: Int {
        switch self {
        case .badRequest, .tokenAmbiguous: 400
        case .token(.keysUnavailable): 503
        case .tokenMissing, .token, .sessionRevoked: 401
        case .scopeMissing, .claimMismatch, .originMismatch: 403
        case .routeNotFound: 404
        case .methodNotAllowed: 405
        case .headTimeout: 408
        case .bodyTooLarge: 413
        case .targetTooLong: 414
        case .rateLimited: 429
        case .headerTooLarge: 431
        case .upstreamRefused, .upstreamReset, .upstreamMalformed: 502
        case .noHealthyUpstream, .storeUnavailable, .draining: 503
        case .upstreamTimeout: 504
        }
    }

    /// What is 401 here is anonymous on a route with `auth: optional`.
    var isUnauthenticated: Bool { status == 401 }

    /// Its place in `codes`.
    var ordinal: Int {
        switch self {
        case .badRequest: 0
        case .tokenAmbiguous: 1
        case .tokenMissing: 2
        case .token(let refusal):
            switch refusal {
            case .malformed: 3
            case .algorithm: 4
            case .keyUnknown: 5
            case .signature: 6
            case .issuer: 7
            case .audience: 8
            case .expired: 9
            case .notYetValid: 10
            case .claims: 11
            case .keysUnavailable: 12
            }
        case .sessionRevoked: 13
        case .scopeMissing: 14
        case .claimMismatch: 15
        case .originMismatch: 16
        case .routeNotFound: 17
        case .methodNotAllowed: 18
        case .headTimeout: 19
        case .bodyTooLarge: 20
        case .targetTooLong: 21
        case .headerTooLarge: 22
        case .rateLimited: 23
        case .upstreamRefused: 24
        case .upstreamReset: 25
        case .upstreamMalformed: 26
        case .upstreamTimeout: 27
        case .noHealthyUpstream: 28
        case .storeUnavailable: 29
        case .draining: 30
        }
    }

    /// All codes, by `ordinal`.
    static let codes: [StaticString] = [
        "bad_request", "token_ambiguous", "token_missing", "token_malformed", "token_algorithm", "token_key_unknown", "token_signature",
        "token_issuer",
        "token_audience", "token_expired", "token_not_yet_valid", "token_claims", "keys_unavailable", "session_revoked", "scope_missing",
        "claim_mismatch",
        "origin_mismatch", "route_not_found", "method_not_allowed", "head_timeout", "body_too_large", "target_too_long", "header_too_large",
        "rate_limited",
        "upstream_refused", "upstream_reset", "upstream_malformed", "upstream_timeout", "no_healthy_upstream", "store_unavailable", "draining",
    ]

    var code: StaticString { Self.codes[ordinal] }
}

// MARK: - The answer

extension Rejection {
    /// What `Retry-After` says where we do not know better, in seconds: a fault of ours is over, or another gateway found, by then.
    private static let retryAfter = 1

    /// Writes the whole answer: a problem document (RFC 9457), or, for a browser that is not logged in, the way to the login page.
    ///
    /// - Parameters:
    ///   - closes: the connection ends with this answer.
    ///   - redirect: where browsers log in; counts only where this is a 401.
    /// - Returns: the status that was written.
    @discardableResult
    func write(requestID: RequestID, isHead: Bool, closes: Bool, redirect: [UInt8]? = nil, into buffer: inout ByteBuffer) -> Int {
        if let redirect, isUnauthenticated {
            buffer.writeStaticString("HTTP/1.1 302 Found\r\nLocation: ")
            buffer.writeBytes(redirect)
            buffer.writeStaticString("\r\nCache-Control: no-store\r\nContent-Length: 0\r\n")
            Self.finishHead(closes: closes, requestID: requestID, into: &buffer)
            return 302
        }
        buffer.writeStaticString("HTTP/1.1 ")
        buffer.writeString(String(status))
        buffer.writeStaticString(" ")
        buffer.writeStaticString(title)
        buffer.writeStaticString("\r\nContent-Type: application/problem+json\r\nCache-Control: no-store\r\n")
        writeOwnFields(into: &buffer)
        buffer.writeStaticString("Content-Length: ")
        buffer.writeString(String(bodyLength(requestID)))
        buffer.writeStaticString("\r\n")
        Self.finishHead(closes: closes, requestID: requestID, into: &buffer)
        if !isHead { writeBody(requestID, into: &buffer) }
        return status
    }

    private static func finishHead(closes: Bool, requestID: RequestID, into buffer: inout ByteBuffer) {
        buffer.writeStaticString("X-Request-Id: ")
        _ = requestID.withBytes { buffer.writeBytes($0) }
        buffer.writeStaticString(closes ? "\r\nConnection: close\r\n\r\n" : "\r\n\r\n")
    }

    private func writeOwnFields(into buffer: inout ByteBuffer) {
        switch self {
        case .methodNotAllowed(let allow):
            buffer.writeStaticString("Allow: ")
            buffer.writeString(allow)
            buffer.writeStaticString("\r\n")
        case .rateLimited(let seconds):
            buffer.writeStaticString("Retry-After: ")
            buffer.writeString(String(max(1, seconds)))
            buffer.writeStaticString("\r\n")
        default:
            if let challenge { buffer.writeStaticString(challenge) }
            if status == 503 {
                buffer.writeStaticString("Retry-After: ")
                buffer.writeString(String(Self.retryAfter))
                buffer.writeStaticString("\r\n")
            }
        }
    }

    /// RFC 6750 §3: a request without any credential is told no error.
    private var challenge: StaticString? {
        switch status {
        case 401:
            self == .tokenMissing
                ? "WWW-Authenticate: Bearer realm=\"portcullis\"\r\n" : "WWW-Authenticate: Bearer realm=\"portcullis\", error=\"invalid_token\"\r\n"
        case 403: "WWW-Authenticate: Bearer realm=\"portcullis\", error=\"insufficient_scope\"\r\n"
        default: self == .tokenAmbiguous ? "WWW-Authenticate: Bearer realm=\"portcullis\", error=\"invalid_request\"\r\n" : nil
        }
    }

    private static let bodyStart: StaticString = "{\"type\":\"about:blank\",\"title\":\""
    private static let bodyStatus: StaticString = "\",\"status\":"
    private static let bodyCode: StaticString = ",\"code\":\""
    private static let bodyRequest: StaticString = "\",\"request_id\":\""
    private static let bodyEnd: StaticString = "\"}"

    private func bodyLength(_ requestID: RequestID) -> Int {
        let fixed = [Self.bodyStart, Self.bodyStatus, Self.bodyCode, Self.bodyRequest, Self.bodyEnd].reduce(0) { $0 + $1.utf8CodeUnitCount }
        return fixed + title.utf8CodeUnitCount + 3 + code.utf8CodeUnitCount + requestID.count
    }

    /// No text in it needs escapes: titles and codes are ours, and a request id is sane.
    private func writeBody(_ requestID: RequestID, into buffer: inout ByteBuffer) {
        buffer.writeStaticString(Self.bodyStart)
        buffer.writeStaticString(title)
        buffer.writeStaticString(Self.bodyStatus)
        buffer.writeString(String(status))
        buffer.writeStaticString(Self.bodyCode)
        buffer.writeStaticString(code)
        buffer.writeStaticString(Self.bodyRequest)
        _ = requestID.withBytes { buffer.writeBytes($0) }
        buffer.writeStaticString(Self.bodyEnd)
    }

    /// The status' own phrase, as RFC 9457 §4.2.1 wants it for `about:blank`.
    private var title: StaticString {
        switch status {
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 408: "Request Timeout"
        case 413: "Content Too Large"
        case 414: "URI Too Long"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 502: "Bad Gateway"
        case 503: "Service Unavailable"
        default: "Gateway Timeout"
        }
    }
}
