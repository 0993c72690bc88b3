// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import HTTPRules
import NIOCore

/// What of a message goes on and what stays here (contract §4.4, §8; RFC 9110 §7.6): the rules, and requests. Responses and trailers
/// are in CleaningAnswers.swift.
///
/// Heads are written in one pass. Fields that stay are copied as bytes, in runs: order, spelling and blanks are the sender's.
final class Cleaning: Sendable {
    /// Fields that a Connection may name besides the known options. More is nobody's honest request, and would cost the square of it.
    private static let connectionOptionLimit = 64
    /// What the gateway writes itself beyond what it copies: names, line ends, addresses, ids.
    private static let ownBytes = 1024

    /// The names under `identity_headers`, on every route and whoever asks.
    let identity: FieldSet
    /// What the data plane tells the control plane: never a client's word.
    private let internals = FieldSet(["X-Portcullis-Client", "X-Portcullis-Scheme", "X-Portcullis-Host"])
    /// What is added on the way and cannot be removed by naming it in Connection.
    private let added = FieldSet([
        "Host", "Content-Length", "Transfer-Encoding", "X-Request-Id", "traceparent", "tracestate", "Via", "X-Forwarded-For", "X-Forwarded-Proto",
        "X-Forwarded-Host", "Expect",
    ])
    private let credentials: CredentialRules
    private let traceState = aliasHash(of: "tracestate".utf8)

    init(_ configuration: GatewayConfiguration, credentials: CredentialRules) {
        let own = configuration.identity
        var names = [own.user, own.session, own.issuer] + own.claims.map(\.field)
        if let assertion = own.assertion { names.append(assertion.field) }
        identity = FieldSet(names)
        self.credentials = credentials
    }

    // MARK: Connection

    /// A Connection that names one of ours would remove it on the way (contract §4.4): the request is refused.
    func judge(_ head: RequestHead, _ bytes: UnsafeRawBufferPointer) -> Rejection? {
        guard head.hasConnectionOptions else { return nil }
        var count = 0
        for index in 0..<head.fieldCount where head.fields[index].kind == .connection {
            var options = ListElements(bytes, head.fields[index].value)
            while let option = options.next() {
                count += 1
                if count > Self.connectionOptionLimit || identity.contains(bytes, option) { return .badRequest }
            }
        }
        return nil
    }

    /// Whether some Connection field of the section names this field.
    func isNamed(_ line: FieldLine, byConnectionOf section: FieldSection, _ bytes: UnsafeRawBufferPointer) -> Bool {
        for index in 0..<section.count where section[index].kind == .connection {
            var options = ListElements(bytes, section[index].value)
            var count = 0
            while let option = options.next(), count < Self.connectionOptionLimit {
                count += 1
                if ASCII.equalIgnoringCase(bytes, option, line.name) { return !added.contains(bytes, line.name, hash: line.aliasHash) }
            }
        }
        return false
    }

    // MARK: Fields

    /// What only the gateway may say, in any spelling.
    @inline(__always)
    func isOurs(_ line: FieldLine, _ bytes: UnsafeRawBufferPointer) -> Bool {
        identity.contains(bytes, line.name, hash: line.aliasHash) || internals.contains(bytes, line.name, hash: line.aliasHash)
    }

    /// What the gateway adds itself or takes credentials from, in any spelling.
    func isAdded(_ line: FieldLine, _ bytes: UnsafeRawBufferPointer) -> Bool {
        added.contains(bytes, line.name, hash: line.aliasHash) || credentials.isTokenField(bytes, line)
    }

    /// Whether a request's field goes on as it is. Cookies and what is only sometimes hop-by-hop are looked at by the writer.
    @inline(__always)
    private func goesOn(_ line: FieldLine, _ head: RequestHead, _ bytes: UnsafeRawBufferPointer, _ route: Route, _ trace: TraceParent) -> Bool {
        if isOurs(line, bytes) { return false }
        switch line.kind {
        case .other:
            if trace.isNew, line.aliasHash == traceState, equalIgnoringCase(bytes, line.name, "tracestate") { return false }
            if !route.forwardToken, credentials.isTokenField(bytes, line) { return false }
        case .host, .contentLength: return line.isPlain(bytes)
        case .transferEncoding: return line.isPlain(bytes) && ASCII.equal(bytes, line.value, Self.chunked)
        case .via: return true
        case .trailer, .origin, .accept, .date: break
        // HTTP/1.0 knows no expectations; those that nobody has defined are the upstream's to answer (RFC 9110 §10.1.1).
        case .expect: if head.minorVersion == 0 { return false }
        case .authorization: if !route.forwardToken { return false }
        case .cookie: if !route.forwardToken, credentials.holdsOurs(bytes, line.value) { return false }
        case .connection, .keepAlive, .proxyConnection, .te, .upgrade, .http2Settings, .proxyAuthenticate, .proxyAuthorization, .traceparent,
            .xRequestID, .xForwardedFor,
            .xForwardedProto, .xForwardedHost, .otherForwarding, .otherSpelling:
            return false
        }
        return !head.hasConnectionOptions || !isNamed(line, byConnectionOf: head.section, bytes)
    }

    // MARK: Requests

    /// Writes the head that the upstream gets.
    ///
    /// - Parameters:
    ///   - path: normalised: what was matched is what is forwarded.
    ///   - identity: whose request it is; nil for an anonymous one.
    ///   - assertion: a whole field line, if one is configured.
    ///   - carriesUpgrade: `Upgrade.isCarried`.
    func writeRequestHead(
        _ head: RequestHead, _ bytes: UnsafeRawBufferPointer, route: Route, path: UnsafeRawBufferPointer, identity: RememberedToken?,
        assertion: [UInt8]? = nil, client: ClientView, peer: PeerAddress, correlation: Correlation, carriesUpgrade: Bool,
        into buffer: inout ByteBuffer
    ) {
        // Copied at most once each: the head's fields (the chain of addresses and rewritten cookies are among them, and get no longer but for
        // the blanks of the chain, at most as many as its bytes), then the believed host twice.
        let limit =
            2 * head.length + path.count + 2 * client.host.count + (identity?.identityLines.count ?? 0) + (assertion?.count ?? 0) + Self.ownBytes
        HeadWriter.write(into: &buffer, limit: limit) { writer in
            writer.add(bytes, head.method)
            writer.add(byte: UInt8(ascii: " "))
            writeTarget(head, bytes, route: route, path: path, to: &writer)
            writer.add(" HTTP/1.1\r\n")
            writeFields(head, bytes, route, correlation.trace, to: &writer)
            if let identity { writer.add(identity.identityLines) }
            if let assertion { writer.add(assertion) }
            writeForwarding(head, bytes, route, client, peer, to: &writer)
            writer.add("X-Request-Id: ")
            writer.add(correlation.requestID)
            writer.add("\r\ntraceparent: ")
            writer.add(correlation.trace)
            writer.add(head.minorVersion == 0 ? "\r\nVia: 1.0 portcullis\r\n" : "\r\nVia: 1.1 portcullis\r\n")
            if carriesUpgrade, let offered = head.upgrade {
                writer.add(head.teTrailers ? "TE: trailers\r\nConnection: Upgrade, TE\r\nUpgrade: " : "Connection: Upgrade\r\nUpgrade: ")
                writer.add(bytes, offered)
                writer.add("\r\n")
            } else if head.teTrailers {
                writer.add("TE: trailers\r\nConnection: TE\r\n")
            }
            writer.add("\r\n")
        }
    }

    private func writeTarget(
        _ head: RequestHead, _ bytes: UnsafeRawBufferPointer, route: Route, path: UnsafeRawBufferPointer, to writer: inout HeadWriter
    ) {
        if route.strippedBytes > 0, route.strippedBytes <= path.count {
            let rest = UnsafeRawBufferPointer(rebasing: path[route.strippedBytes...])
            if rest.first != UInt8(ascii: "/") { writer.add(byte: UInt8(ascii: "/")) }
            writer.add(rest)
        } else {
            writer.add(path)
        }
        guard let query = head.query else { return }
        if credentials.hasParameters, !route.forwardToken, writeQueryWithoutTokens(query, bytes, to: &writer) { return }
        writer.add(byte: UInt8(ascii: "?"))
        writer.add(bytes, query)
    }

    /// False, and nothing written, where the query has none of our parameters: then it goes on byte for byte.
    private func writeQueryWithoutTokens(_ query: ByteRange, _ bytes: UnsafeRawBufferPointer, to writer: inout HeadWriter) -> Bool {
        var search = QueryParameters(bytes, query)
        var hasTokens = false
        while !hasTokens, let parameter = search.next() { hasTokens = credentials.isTokenParameter(bytes, parameter.name) }
        guard hasTokens else { return false }
        var separator = UInt8(ascii: "?")
        var all = QueryParameters(bytes, query)
        while let parameter = all.next() {
            if credentials.isTokenParameter(bytes, parameter.name) { continue }
            writer.add(byte: separator)
            writer.add(bytes, parameter.whole)
            separator = UInt8(ascii: "&")
        }
        return true
    }

    private func writeFields(_ head: RequestHead, _ bytes: UnsafeRawBufferPointer, _ route: Route, _ trace: TraceParent, to writer: inout HeadWriter)
    {
        var run = FieldRun()
        for index in 0..<head.fieldCount {
            let line = head.fields[index]
            if goesOn(line, head, bytes, route, trace) {
                run.extend(from: line)
            } else {
                run.end(before: line, bytes, to: &writer)
                switch line.kind {
                case .host, .contentLength, .transferEncoding: Self.writeAnew(line, bytes, to: &writer)
                case .cookie where !isOurs(line, bytes) && !(head.hasConnectionOptions && isNamed(line, byConnectionOf: head.section, bytes)):
                    writeCookies(line, bytes, to: &writer)
                default: break
                }
            }
        }
        run.end(at: head.length - 2, bytes, to: &writer)
    }

    private static let chunked = Array("chunked".utf8)

    /// A line that decides where the message ends or where it goes, as one would write it: not every parser reads `cHunked` or a tab
    /// before the value as this one does.
    static func writeAnew(_ line: FieldLine, _ bytes: UnsafeRawBufferPointer, to writer: inout HeadWriter) {
        writer.add(bytes, line.name)
        writer.add(": ")
        if line.kind == .transferEncoding { writer.add(chunked) } else { writer.add(bytes, line.value) }
        writer.add("\r\n")
    }

    /// A Cookie field without our cookies; nothing where nothing is left.
    private func writeCookies(_ line: FieldLine, _ bytes: UnsafeRawBufferPointer, to writer: inout HeadWriter) {
        var cookies = Cookies(bytes, line.value.range)
        var isFirst = true
        while let cookie = cookies.next() {
            if credentials.isOurs(bytes, cookie) { continue }
            if isFirst { writer.add(bytes, line.name) }
            writer.add(isFirst ? ": " : "; ")
            writer.add(bytes, ByteRange(cookie.whole))
            isFirst = false
        }
        if !isFirst { writer.add("\r\n") }
    }

    private func writeForwarding(
        _ head: RequestHead, _ bytes: UnsafeRawBufferPointer, _ route: Route, _ client: ClientView, _ peer: PeerAddress, to writer: inout HeadWriter
    ) {
        writer.add("X-Forwarded-For: ")
        if let chain = client.chain { writeChain(head, bytes, chain, to: &writer) }
        writer.add(peer.text)
        writer.add(client.isSecure ? "\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: " : "\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: ")
        writer.add(bytes, client.host)
        writer.add("\r\n")
        guard route.isSessionAPI else { return }
        writer.add("X-Portcullis-Client: ")
        if let text = client.addressText { writer.add(bytes, text) } else { writer.add(peer.text) }
        writer.add(client.isSecure ? "\r\nX-Portcullis-Scheme: https\r\nX-Portcullis-Host: " : "\r\nX-Portcullis-Scheme: http\r\nX-Portcullis-Host: ")
        writer.add(bytes, client.host)
        writer.add("\r\n")
    }

    /// The believed addresses, each with a comma and a blank after it.
    private func writeChain(
        _ head: RequestHead, _ bytes: UnsafeRawBufferPointer, _ chain: (line: Int, start: Int32), to writer: inout HeadWriter
    ) {
        for index in chain.line..<head.fieldCount where head.fields[index].kind == .xForwardedFor {
            var value = head.fields[index].value
            if index == chain.line { value.start = chain.start }
            var addresses = ListElements(bytes, value)
            while let address = addresses.next() {
                writer.add(bytes, address)
                writer.add(", ")
            }
        }
    }
}

/// Lines one after the other that go on: copied at once. A line ends where the next begins.
struct FieldRun {
    private var start: Int32 = -1

    @inline(__always)
    mutating func extend(from line: FieldLine) {
        if start < 0 { start = line.name.start }
    }

    @inline(__always)
    mutating func end(before line: FieldLine, _ bytes: UnsafeRawBufferPointer, to writer: inout HeadWriter) {
        end(at: Int(line.name.start), bytes, to: &writer)
    }

    @inline(__always)
    mutating func end(at offset: Int, _ bytes: UnsafeRawBufferPointer, to writer: inout HeadWriter) {
        guard start >= 0 else { return }
        writer.add(bytes, ByteRange(Int(start), offset))
        start = -1
    }
}
