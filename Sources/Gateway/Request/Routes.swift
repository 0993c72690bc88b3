// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// One route as requests meet it: names resolved to indices, texts to bytes.
final class Route: Sendable {
    let index: Int
    /// What metrics and logs call it: its path, with what tells it from others of the same path. Nothing of a request is in it.
    let name: String
    let upstream: Int
    let upstreamName: String
    let auth: AuthRequirement
    let forwardToken: Bool
    /// How many bytes of the path `strip_prefix` takes away.
    let strippedBytes: Int
    let loginRedirect: [UInt8]?
    let whenUnavailable: WhenUnavailable
    let rateLimit: RateLimitConfiguration?
    let scopes: [String]
    let claims: [(claim: String, values: [String])]
    let retries: Int
    let responseTimeout: TimeAmount
    /// The session API and the gateway's keys: the control plane is told whom it talks to.
    let isSessionAPI: Bool
    /// By the verifier's index; empty: all.
    private let issuers: [Bool]

    init(
        _ configuration: RouteConfiguration, index: Int, name: String, upstream: Int, _ upstreamConfiguration: UpstreamConfiguration?,
        issuers: [Bool], revocation: RevocationConfiguration, isSessionAPI: Bool = false
    ) {
        self.index = index
        self.name = name
        self.upstream = upstream
        upstreamName = configuration.upstream
        auth = configuration.auth
        forwardToken = configuration.forwardToken
        strippedBytes = configuration.stripPrefix ? RouteTable.withoutEnd(configuration.path).count : 0
        loginRedirect = configuration.loginRedirect.map { Array($0.utf8) }
        whenUnavailable = configuration.whenUnavailable ?? revocation.whenUnavailable
        rateLimit = configuration.rateLimit
        scopes = configuration.scopes
        claims = configuration.claims
        retries = upstreamConfiguration?.retries ?? 0
        responseTimeout = upstreamConfiguration?.responseTimeout ?? .seconds(30)
        self.isSessionAPI = isSessionAPI
        self.issuers = issuers
    }

    func acceptsIssuer(_ issuer: Int) -> Bool { issuers.isEmpty || (issuers.indices.contains(issuer) && issuers[issuer]) }
}

enum RouteMatch: Equatable {
    case route(Int)
    case notFound
    /// What the routes of this host and path allow, for the answer's Allow field.
    case methodNotAllowed(allow: String)
}

/// Finds the route of a request: the first that matches path, host and method (contract §4.3).
///
/// All texts lie in one array of bytes and the entries are plain numbers, so that going through them counts no references.
final class RouteTable: Sendable {
    private struct Text {
        var start: Int32
        var count: Int32
    }

    private struct Entry {
        var route: Int32
        /// Without a slash at its end: the root is empty.
        var path: Text
        var isExact: Bool
        var hosts: Range<Int32>
        var methods: Range<Int32>
    }

    static let keySetPath = "/.well-known/jwks.json"

    private let bytes: [UInt8]
    private let texts: [Text]
    private let entries: [Entry]

    /// The session API, where there is one, comes before all routes.
    init(_ routes: [RouteConfiguration], sessionAPI: SessionAPIConfiguration?) {
        var builder = Builder()
        if let sessionAPI {
            var reserved = RouteConfiguration(path: Self.keySetPath, upstream: "")
            reserved.exact = true
            builder.add(reserved, route: routes.count)
            if let path = sessionAPI.path { builder.add(RouteConfiguration(path: path, upstream: ""), route: routes.count) }
        }
        for (index, route) in routes.enumerated() { builder.add(route, route: index) }
        bytes = builder.bytes
        texts = builder.texts
        entries = builder.entries
    }

    /// A configured path in the form in which requests' paths are matched. One that cannot be brought into it never matches.
    private static func normal(_ path: String) -> [UInt8] {
        let normaliser = PathNormaliser()
        return Array(path.utf8).withUnsafeBytes { raw in
            switch normaliser.normalise(raw, mergeSlashes: false, keepEncodedSlashes: true) {
            case .unchanged, .refused: Array(raw)
            case .rewritten: Array(normaliser.output)
            }
        }
    }

    static func withoutEnd(_ path: String) -> [UInt8] {
        var path = normal(path)
        while path.last == UInt8(ascii: "/") { path.removeLast() }
        return path
    }

    private struct Builder {
        var bytes: [UInt8] = []
        var texts: [Text] = []
        var entries: [Entry] = []

        mutating func add(_ route: RouteConfiguration, route index: Int) {
            let path = store(route.exact ? normal(route.path) : withoutEnd(route.path))
            let hosts = store(route.hosts.map { Array($0.lowercased().utf8) })
            let methods = store(route.methods.map { Array($0.utf8) })
            entries.append(Entry(route: Int32(index), path: path, isExact: route.exact, hosts: hosts, methods: methods))
        }

        private mutating func store(_ text: [UInt8]) -> Text {
            defer { bytes += text }
            return Text(start: Int32(bytes.count), count: Int32(text.count))
        }

        private mutating func store(_ several: [[UInt8]]) -> Range<Int32> {
            let start = Int32(texts.count)
            for text in several { texts.append(store(text)) }
            return start..<Int32(texts.count)
        }
    }

    // MARK: Matching

    /// - Parameters:
    ///   - path: normalised. Segments are separated by `/` alone: an escaped slash is part of one.
    ///   - host: Host as sent, perhaps with a port, which does not count.
    func match(path: UnsafeRawBufferPointer, host: UnsafeRawBufferPointer, method: UnsafeRawBufferPointer) -> RouteMatch {
        let found: Int? = bytes.withUnsafeBytes { bytes in
            texts.withUnsafeBufferPointer { texts in
                let host = Self.withoutPort(host)
                var isElsewhere = false
                for entry in entries where covers(entry, path, bytes) && accepts(entry, host: host, texts, bytes) {
                    if accepts(entry, method: method, texts, bytes) { return Int(entry.route) }
                    isElsewhere = true
                }
                return isElsewhere ? -1 : nil
            }
        }
        switch found {
        case nil: return .notFound
        case .some(-1): return .methodNotAllowed(allow: allowed(path: path, host: host))
        case .some(let route): return .route(route)
        }
    }

    @inline(__always)
    private func covers(_ entry: Entry, _ path: UnsafeRawBufferPointer, _ bytes: UnsafeRawBufferPointer) -> Bool {
        let own = Self.slice(bytes, entry.path)
        guard path.count >= own.count, Self.begins(path, with: own) else { return false }
        if entry.isExact { return path.count == own.count }
        return path.count == own.count ? !own.isEmpty : path[own.count] == UInt8(ascii: "/")
    }

    private func accepts(_ entry: Entry, host: UnsafeRawBufferPointer, _ texts: UnsafeBufferPointer<Text>, _ bytes: UnsafeRawBufferPointer) -> Bool {
        if entry.hosts.isEmpty { return true }
        for index in entry.hosts where Self.isHost(host, Self.slice(bytes, texts[Int(index)])) { return true }
        return false
    }

    private func accepts(_ entry: Entry, method: UnsafeRawBufferPointer, _ texts: UnsafeBufferPointer<Text>, _ bytes: UnsafeRawBufferPointer) -> Bool
    {
        if entry.methods.isEmpty { return true }
        for index in entry.methods {
            let own = Self.slice(bytes, texts[Int(index)])
            if own.count == method.count, Self.begins(method, with: own) { return true }
        }
        return false
    }

    /// `*.example.com` covers what is below it, at any depth, and not itself.
    private static func isHost(_ host: UnsafeRawBufferPointer, _ pattern: UnsafeRawBufferPointer) -> Bool {
        if pattern.count > 2, pattern[0] == UInt8(ascii: "*"), pattern[1] == UInt8(ascii: ".") {
            let suffix = UnsafeRawBufferPointer(rebasing: pattern[1...])
            guard host.count > suffix.count else { return false }
            return equalLowercased(UnsafeRawBufferPointer(rebasing: host[(host.count - suffix.count)...]), suffix)
        }
        return equalLowercased(host, pattern)
    }

    private static func equalLowercased(_ text: UnsafeRawBufferPointer, _ lowercase: UnsafeRawBufferPointer) -> Bool {
        guard text.count == lowercase.count else { return false }
        for index in 0..<text.count where lowercased(text[index]) != lowercase[index] { return false }
        return true
    }

    /// The host has been found valid, so that a colon outside of brackets begins a port.
    private static func withoutPort(_ host: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        var index = host.count
        while index > 0, host[index - 1] &- UInt8(ascii: "0") < 10 { index -= 1 }
        guard index > 0, host[index - 1] == UInt8(ascii: ":") else { return host }
        return UnsafeRawBufferPointer(rebasing: host[..<(index - 1)])
    }

    @inline(__always)
    private static func slice(_ bytes: UnsafeRawBufferPointer, _ text: Text) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[Int(text.start)..<Int(text.start + text.count)])
    }

    @inline(__always)
    private static func begins(_ text: UnsafeRawBufferPointer, with prefix: UnsafeRawBufferPointer) -> Bool {
        for index in 0..<prefix.count where text[index] != prefix[index] { return false }
        return true
    }

    /// All methods of the routes that match but for the method, each once, in the routes' order.
    private func allowed(path: UnsafeRawBufferPointer, host: UnsafeRawBufferPointer) -> String {
        var methods: [String] = []
        bytes.withUnsafeBytes { bytes in
            texts.withUnsafeBufferPointer { texts in
                for entry in entries where covers(entry, path, bytes) && accepts(entry, host: Self.withoutPort(host), texts, bytes) {
                    for index in entry.methods {
                        let method = String(decoding: Self.slice(bytes, texts[Int(index)]), as: UTF8.self)
                        if !methods.contains(method) { methods.append(method) }
                    }
                }
            }
        }
        return methods.joined(separator: ", ")
    }
}

extension PathConfiguration {
    /// Whether a request can have this path, so that a route for it can match. Escapes may be spelled as they like.
    package func canBeRequested(_ path: String) -> Bool {
        guard let normal = normalForm(of: path) else { return false }
        // A dot segment that is removed takes a slash with it.
        return normal.count { $0 == UInt8(ascii: "/") } == path.utf8.count { $0 == UInt8(ascii: "/") }
    }

    /// Whether it is what it would become.
    package func isNormal(_ path: String) -> Bool { normalForm(of: path).map { $0.elementsEqual(path.utf8) } ?? false }

    private func normalForm(of path: String) -> [UInt8]? {
        let normaliser = PathNormaliser()
        return Array(path.utf8).withUnsafeBytes { raw in
            switch normaliser.normalise(raw, mergeSlashes: false, keepEncodedSlashes: keepEncodedSlashes) {
            case .unchanged: Array(raw)
            case .rewritten: Array(normaliser.output)
            case .refused: nil
            }
        }
    }
}
