// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import HTTPTypes
import Sessions
import Tokens

/// The OpenAPI 3.1 description of both APIs (contract §5 and §6). It is made of the lists that calls are found by (`SessionCall`, `AdminCall`), so it has
/// each call that there is; what is configurable is filled in: `api_path`, the cookies' names, the longest token.
struct OpenAPI: Equatable {
    enum Scope {
        /// What the public listener answers.
        case publicCalls
        /// What both listeners answer, as the admin listener tells it.
        case everything
    }

    let scope: Scope
    /// `ControlConfiguration.apiPath`.
    let apiPath: String?
    let cookies: CookieRules
    /// `limits.token_bytes`.
    let tokenByteLimit: Int

    var document: JSONValue {
        JSONValue(members: [
            ("openapi", "3.1.0"),
            (
                "info",
                [
                    "title": "Portcullis", "version": "1", "license": ["name": "Apache-2.0", "identifier": "Apache-2.0"],
                    "description":
                        "Sessions that can be ended: log in, refresh, see your devices, log out here or everywhere. Members that are not described are ignored. Refusals are problems (RFC 9457) with a stable `code`.",
                ]
            ),
            ("servers", [["url": "/"]]),
            ("paths", paths),
            ("components", ["schemas": schemas, "securitySchemes": securitySchemes]),
        ])
    }

    static func reference(_ schema: String) -> JSONValue { ["$ref": "#/components/schemas/\(schema)"] }

    // MARK: Paths

    private var paths: JSONValue {
        var items: [(path: String, members: [(String, JSONValue)])] = []
        func add(_ path: String, _ call: some DocumentedCall, tag: String, servers: JSONValue?) {
            let operation = (call.method.rawValue.lowercased(), operation(call.documentation, path: path, tag: tag))
            guard let index = items.firstIndex(where: { $0.path == path }) else {
                items.append((path, (servers.map { [("servers", $0)] } ?? []) + [operation]))
                return
            }
            // With `api_path: /` both listeners have a description at one path: each tells its own.
            guard !items[index].members.contains(where: { $0.0 == operation.0 }) else { return }
            items[index].members.append(operation)
        }
        if scope == .everything {
            for call in AdminCall.allCases { add(call.path, call, tag: "admin listener", servers: nil) }
        }
        for call in SessionCall.allCases {
            let isBelow = call != .publishKeys
            guard let prefix = isBelow ? apiPath : "" else { continue }
            add(prefix + call.path, call, tag: "public listener", servers: scope == .everything ? Self.publicServers : nil)
        }
        return JSONValue(members: items.map { ($0.path, JSONValue(members: $0.members)) })
    }

    /// The gateway does not know by which names clients reach its public listener.
    private static let publicServers: JSONValue = [
        [
            "url": "{origin}", "description": "The public listener.",
            "variables": ["origin": ["default": "https://app.example", "description": "Scheme, host and port that clients use."]],
        ]
    ]

    private func operation(_ call: CallDocumentation, path: String, tag: String) -> JSONValue {
        var members: [(String, JSONValue)] = [
            ("operationId", .string(call.id)), ("tags", [.string(tag)]), ("summary", .string(call.summary)), ("description", .string(call.text)),
        ]
        let parameters = Self.pathParameters.filter { path.contains("{\($0.name)}") }.map(\.parameter) + call.parameters
        if !parameters.isEmpty { members.append(("parameters", .array(parameters))) }
        switch call.body {
        case .json(let schema, let isRequired):
            members.append(("requestBody", ["required": .boolean(isRequired), "content": ["application/json": ["schema": Self.reference(schema)]]]))
        case .form(let schema):
            let content: JSONValue = ["application/x-www-form-urlencoded": ["schema": Self.reference(schema)]]
            members.append(("requestBody", ["required": true, "content": content]))
        case nil: break
        }
        members.append(("responses", responses(call)))
        members.append(("security", .array(call.credentials.compactMap(requirement))))
        return JSONValue(members: members)
    }

    private static let pathParameters: [(name: String, parameter: JSONValue)] = [
        (
            "user",
            [
                "name": "user", "in": "path", "required": true, "example": "alice",
                "description":
                    "Percent-encoded, so that `%2F` is part of the name: 1 to 256 bytes of UTF-8, no control characters, no blank at an end, not `.` or `..`.",
                "schema": ["type": "string", "minLength": 1, "maxLength": 256],
            ]
        ),
        (
            "sid",
            [
                "name": "sid", "in": "path", "required": true, "example": "Q0V0c2x6b2J5N3VtYXJ2Yg",
                "description": "`session_id`, percent-encoded: 1 to 256 bytes of UTF-8, no control characters, not `.` or `..`.",
                "schema": ["type": "string", "minLength": 1, "maxLength": 256],
            ]
        ),
    ]

    // MARK: Credentials

    /// Nil for one that the configuration has switched off.
    private func requirement(_ credential: CallDocumentation.Credential) -> JSONValue? {
        switch credential {
        case .none: [:]
        case .accessToken: ["accessToken": []]
        case .accessCookie: cookies.enabled ? ["accessCookie": []] : nil
        case .refreshCookie: cookies.enabled ? ["refreshCookie": []] : nil
        case .adminToken: ["adminToken": []]
        }
    }

    private var securitySchemes: JSONValue {
        var schemes: [(String, JSONValue)] = [
            ("accessToken", ["type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "An access token of any trusted issuer."])
        ]
        if cookies.enabled {
            let origin =
                "A call that changes something and has no other credential says that it is of the same origin, by `Origin` or `Sec-Fetch-Site`."
            schemes.append(
                (
                    "accessCookie",
                    ["type": "apiKey", "in": "cookie", "name": .string(cookies.accessName), "description": "The access token. \(origin)"]
                ))
            schemes.append(
                (
                    "refreshCookie",
                    ["type": "apiKey", "in": "cookie", "name": .string(cookies.refreshName), "description": "The refresh token. \(origin)"]
                ))
        }
        if scope == .everything {
            schemes.append(
                (
                    "adminToken",
                    ["type": "http", "scheme": "bearer", "description": "`admin.token`. Where none is configured, all that needs it is 404."]
                ))
        }
        return JSONValue(members: schemes)
    }

    // MARK: Answers

    private func responses(_ call: CallDocumentation) -> JSONValue {
        let statuses = Set(call.answers.map(\.status)).union(call.problems.keys).sorted()
        return JSONValue(
            members: statuses.map { status in
                (String(status), response(call.answers.first { $0.status == status }, codes: call.problems[status] ?? [], status: status))
            })
    }

    private func response(_ answer: CallDocumentation.Answer?, codes: [String], status: Int) -> JSONValue {
        let texts = codes.map { code in "`\(code)`: \(CallDocumentation.meanings[code] ?? code)." }
        var members: [(String, JSONValue)] = [
            ("description", .string(((answer.map { [$0.text] } ?? []) + texts).joined(separator: "\n\n")))
        ]
        let headers = headers(answer, codes: codes, status: status)
        if !headers.isEmpty { members.append(("headers", JSONValue(members: headers))) }
        var content: [(String, JSONValue)] = []
        if let answer, let (type, schema) = answer.content { content.append((type, ["schema": schema])) }
        if !codes.isEmpty {
            let schema: JSONValue = [
                "allOf": [
                    Self.reference("Problem"),
                    ["properties": ["status": ["const": .number(JSONNumber(Int64(status)))], "code": ["enum": .array(codes.map { .string($0) })]]],
                ]
            ]
            content.append(("application/problem+json", ["schema": schema]))
        }
        if !content.isEmpty { members.append(("content", JSONValue(members: content))) }
        return JSONValue(members: members)
    }

    private func headers(_ answer: CallDocumentation.Answer?, codes: [String], status: Int) -> [(String, JSONValue)] {
        var headers: [(String, JSONValue)] = []
        if let answer, (200..<300).contains(status) {
            headers.append(("Cache-Control", ["required": true, "schema": ["const": "no-store"]]))
            if answer.setsCookies, cookies.enabled {
                headers.append(("Set-Cookie", ["description": "Both cookies, a field each.", "schema": ["type": "string"]]))
            }
        }
        if status == 401 || status == 403 {
            let schema: JSONValue = ["type": "string", "pattern": "^Bearer realm=\"portcullis\""]
            headers.append(("WWW-Authenticate", ["required": true, "description": "RFC 6750.", "schema": schema]))
        }
        if !codes.isEmpty, status == 429 || status == 503 {
            headers.append(("Retry-After", ["required": true, "description": "Seconds.", "schema": ["type": "integer", "minimum": 1]]))
        }
        return headers
    }
}
