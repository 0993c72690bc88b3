// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// A mix of requests for the latency harness, read from a file of its own.
///
///     requests:
///       - path: /orders              # with its query
///         weight: 8                  # of all weights together; default 1
///         method: GET
///         headers: {Accept: application/json}
///         body: ''
///         token: true                # whether the token of its turn is sent along; never beside an Authorization of its own
package struct ScenarioSettings: Sendable {
    package struct Request: Sendable, Equatable {
        package var path: String
        package var weight = 1
        package var method = "GET"
        package var headers: [Header] = []
        package var body = ""
        package var sendsToken = true
    }

    package struct Header: Sendable, Equatable {
        package var name: String
        package var value: String
    }

    /// Those that the harness writes, and others that are of one connection, which HTTP/2 does not have (RFC 9113 §8.2.2).
    private static let connectionFields: Set = [
        "host", "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "te", "upgrade",
    ]

    package var requests: [Request]

    /// - Throws: all mistakes at once, in the order of the lines. No message holds what was read.
    package static func load(path: String, environment: [String: String] = [:]) throws(SettingsProblems) -> ScenarioSettings {
        let reader = SettingsReader(file: path, environment: environment)
        let requests = reader.readRoot().flatMap { root in
            defer { root.finish() }
            return root.require("requests", Self.requests)
        }
        guard let requests, reader.problems.isEmpty else {
            throw SettingsProblems(problems: reader.problems.inOrder, digest: reader.digest)
        }
        return ScenarioSettings(requests: requests)
    }

    private static func requests(_ value: Value) -> [Request]? {
        guard let elements = value.list() else { return nil }
        guard 1...SettingLimit.scenarioRequests ~= elements.count else {
            return value.wrong("must have 1 to \(SettingLimit.scenarioRequests) requests")
        }
        return elements.compactMap { element in
            guard let section = Section(element) else { return nil }
            defer { section.finish() }
            return request(section)
        }
    }

    private static func request(_ section: Section) -> Request? {
        let path = section.require("path", Self.path)
        var request = Request(path: path ?? "/")
        section.read("weight", into: &request.weight) { $0.integer(SettingLimit.scenarioWeight) }
        section.read("method", into: &request.method) { $0.method() }
        section.read("headers", into: &request.headers, Self.headers)
        section.read("body", into: &request.body) { $0.text() }
        section.read("token", into: &request.sendsToken) { $0.boolean() }
        if request.headers.contains(where: { $0.name.lowercased() == "authorization" }) { request.sendsToken = false }
        return path == nil ? nil : request
    }

    private static func path(_ value: Value) -> String? {
        guard let text = value.line() else { return nil }
        guard text.hasPrefix("/"), text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "#") }) else {
            return value.wrong("must begin with / and have blanks, # and what is not ASCII percent-encoded")
        }
        return text
    }

    private static func headers(_ value: Value) -> [Header]? {
        value.members()?.compactMap { member in
            let path = SettingPath.member(member.name, of: value.path)
            guard FieldNameRules.isToken(member.name) else {
                value.reader.report(path, "must be a field name: letters, digits and -", at: member.place)
                return nil
            }
            guard !connectionFields.contains(member.name.lowercased()) else {
                value.reader.report(path, "is a field of the connection, which the harness makes", at: member.place)
                return nil
            }
            return Value(member.value, path: path, reader: value.reader).line().map { Header(name: member.name, value: $0) }
        }
    }
}
