// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import HTTPTypes
import Hummingbird
import Tokens
import WallTime

/// What a call is answered with. Always small, always whole, never cached (contract §5).
struct ControlAnswer: Sendable {
    var status: HTTPResponse.Status
    var contentType: String?
    var body: [UInt8]
    /// Beside what `response` sets; may hold a name twice (`Set-Cookie`).
    var fields: [(name: HTTPField.Name, value: String)] = []

    static func json(_ body: [UInt8], status: HTTPResponse.Status = .ok) -> ControlAnswer {
        ControlAnswer(status: status, contentType: "application/json", body: body)
    }

    static func json(status: HTTPResponse.Status = .ok, _ body: (inout JSONWriter) -> Void) -> ControlAnswer {
        json(JSONWriter.object(body), status: status)
    }

    static let empty = ControlAnswer(status: .noContent, contentType: nil, body: [])

    init(status: HTTPResponse.Status, contentType: String?, body: [UInt8]) {
        self.status = status
        self.contentType = contentType
        self.body = body
    }

    /// `application/problem+json` (RFC 9457) with the challenge of RFC 6750 or `Retry-After`, in the shape of the data plane's rejections.
    init(_ refusal: Refusal, requestID: String?) {
        let status = refusal.status
        body = JSONWriter.object { json in
            json.member("type", "about:blank")
            json.member("title", status.reasonPhrase)
            json.member("status", Int64(status.code))
            json.member("code", refusal.code)
            json.member("request_id", requestID)
            if let detail = refusal.detail { json.member("detail", detail) }
        }
        self.status = status
        contentType = "application/problem+json"
        if status == .unauthorized || status == .forbidden || refusal == .tokenAmbiguous {
            let error = refusal.challengeError.map { ", error=\"\($0)\"" } ?? ""
            fields.append((.wwwAuthenticate, "Bearer realm=\"portcullis\"\(error)"))
        }
        if let seconds = refusal.retryAfter { fields.append((.retryAfter, String(seconds))) }
        if case .methodNotAllowed(let allowed) = refusal {
            fields.append((.allow, allowed.map(\.rawValue).joined(separator: ", ")))
        }
    }

    /// The answer of RFC 7662, RFC 7009 and OpenID Connect Back-Channel Logout 1.0 (§2.8) to a request that is none of theirs.
    static func oauthError(_ error: String) -> ControlAnswer {
        json(status: .badRequest) { $0.member("error", error) }
    }

    mutating func setCookies(_ cookies: [String]) {
        for cookie in cookies { fields.append((.setCookie, cookie)) }
    }

    func response(isHead: Bool) -> Response {
        var headers = HTTPFields()
        headers[.date] = Timestamp.httpDate(systemTime())
        headers[.cacheControl] = "no-store"
        if let contentType { headers[.contentType] = contentType }
        for field in fields { headers.append(HTTPField(name: field.name, value: field.value)) }
        if isHead {
            headers[.contentLength] = String(body.count)
            return Response(status: status, headers: headers)
        }
        return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: body)))
    }
}
