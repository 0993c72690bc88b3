// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import HTTPRules

/// Where a credential came from.
enum CredentialSource: UInt8, Sendable {
    case authorization, cookie, query, field
}

/// What a request has by way of credentials. Two are not better than one: nobody can say which of them counts.
enum Credential: Equatable {
    case none
    case ambiguous
    /// Where it stands in the head's bytes. Can be empty, which is no token either.
    case token(ByteRange, CredentialSource)
}

/// Where credentials are looked for (contract §3 `token_sources`, §4.5), and which cookies, fields and parameters are therefore ours.
final class CredentialRules: Sendable {
    private let usesAuthorization: Bool
    private let usesCookie: Bool
    private let accessCookie: [UInt8]
    private let refreshCookie: [UInt8]
    /// Lower case.
    private let fields: [[UInt8]]
    private let fieldHashes: [UInt32]
    private let parameters: [[UInt8]]

    init(_ configuration: GatewayConfiguration) {
        var fields: [String] = []
        var parameters: [String] = []
        for source in configuration.tokenSources {
            switch source {
            case .authorization, .cookie: continue
            case .field(let name): fields.append(name)
            case .query(let name): parameters.append(name)
            }
        }
        usesAuthorization = configuration.tokenSources.contains(.authorization)
        usesCookie = configuration.tokenSources.contains(.cookie)
        accessCookie = Array(configuration.accessCookie.utf8)
        refreshCookie = Array(configuration.refreshCookie.utf8)
        self.fields = fields.map { Array($0.lowercased().utf8) }
        fieldHashes = fields.map { aliasHash(of: $0.utf8) }
        self.parameters = parameters.map { Array($0.utf8) }
    }

    /// Collects what is found; a second one makes it ambiguous.
    private struct Finding {
        var credential = Credential.none

        mutating func add(_ range: ByteRange, _ source: CredentialSource) {
            credential = credential == .none ? .token(range, source) : .ambiguous
        }
    }

    /// The one credential of the request. Another scheme than Bearer is none; an empty cookie of our name is one.
    func find(_ head: RequestHead, _ bytes: UnsafeRawBufferPointer) -> Credential {
        // Whatever they say, and wherever we look: no two parsers agree on which one counts (RFC 9110 §5.3).
        if head.repeated.contains(.authorization) { return .ambiguous }
        var finding = Finding()
        if usesAuthorization, let line = head.first(.authorization), let token = BearerScheme.token(in: bytes.slice(line.value)) {
            let start = Int(line.value.start)
            finding.add(ByteRange(start + token.lowerBound, start + token.upperBound), .authorization)
        }
        if usesCookie, head.seen.contains(.cookie) { findCookies(head, bytes, &finding) }
        if !fields.isEmpty { findFields(head, bytes, &finding) }
        if !parameters.isEmpty, let query = head.query { findParameters(query, bytes, &finding) }
        return finding.credential
    }

    private func findCookies(_ head: RequestHead, _ bytes: UnsafeRawBufferPointer, _ finding: inout Finding) {
        for index in 0..<head.fieldCount where head.fields[index].kind == .cookie {
            var cookies = Cookies(bytes, head.fields[index].value.range)
            while let cookie = cookies.next() {
                if ASCII.equal(bytes, ByteRange(cookie.name), accessCookie) { finding.add(ByteRange(cookie.value), .cookie) }
            }
        }
    }

    private func findFields(_ head: RequestHead, _ bytes: UnsafeRawBufferPointer, _ finding: inout Finding) {
        for index in 0..<head.fieldCount where isTokenField(bytes, head.fields[index]) { finding.add(head.fields[index].value, .field) }
    }

    private func findParameters(_ query: ByteRange, _ bytes: UnsafeRawBufferPointer, _ finding: inout Finding) {
        var all = QueryParameters(bytes, query)
        while let parameter = all.next() {
            if isTokenParameter(bytes, parameter.name) { finding.add(parameter.value, .query) }
        }
    }

    // MARK: What of a request is ours, for cleaning

    var hasParameters: Bool { !parameters.isEmpty }

    @inline(__always)
    func isTokenField(_ bytes: UnsafeRawBufferPointer, _ line: FieldLine) -> Bool {
        if fields.isEmpty { return false }
        for index in fields.indices where fieldHashes[index] == line.aliasHash && ASCII.equalIgnoringCase(bytes.slice(line.name), fields[index]) {
            return true
        }
        return false
    }

    func isTokenParameter(_ bytes: UnsafeRawBufferPointer, _ name: ByteRange) -> Bool {
        for parameter in parameters where QueryParameters.isNamed(bytes, name, parameter) { return true }
        return false
    }

    func isOurs(_ bytes: UnsafeRawBufferPointer, _ cookie: Cookies.Cookie) -> Bool {
        let name = ByteRange(cookie.name)
        return ASCII.equal(bytes, name, accessCookie) || ASCII.equal(bytes, name, refreshCookie)
    }

    func holdsOurs(_ bytes: UnsafeRawBufferPointer, _ field: ByteRange) -> Bool {
        var cookies = Cookies(bytes, field.range)
        while let cookie = cookies.next() {
            if isOurs(bytes, cookie) { return true }
        }
        return false
    }
}
