// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import NIOEmbedded
import Sessions
import Testing
import Tokens

@testable import Gateway

/// A head as a client sends it, for the stages that come after the scanner.
struct StageRequest {
    var line = "GET /orders HTTP/1.1"
    var fields: [(String, String)] = []
    var host = "app.example"

    init(_ line: String = "GET /orders HTTP/1.1", host: String = "app.example", _ fields: [(String, String)] = []) {
        self.line = line
        self.fields = fields
        self.host = host
    }

    init(_ fields: [(String, String)], host: String = "app.example") {
        self.fields = fields
        self.host = host
    }

    var bytes: [UInt8] {
        let lines = ["Host: \(host)"] + fields.map { "\($0): \($1)" }
        return Array("\(line)\r\n\(lines.joined(separator: "\r\n"))\r\n\r\n".utf8)
    }

    func with<Result>(_ body: (RequestHead, UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        let scanner = RequestScanner(limits: HeadLimits())
        let bytes = bytes
        return try bytes.withUnsafeBytes { raw in
            try #require(scanner.scan(raw) == .head)
            return try body(scanner.head, raw)
        }
    }
}

/// What reaches the other side, read back.
struct SentHead {
    let first: String
    let fields: [(name: String, value: String)]
    let text: String

    init(_ buffer: ByteBuffer) {
        text = String(buffer: buffer)
        let lines = text.components(separatedBy: "\r\n")
        first = lines[0]
        fields = lines.dropFirst().filter { !$0.isEmpty }.map { line in
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            return (String(parts[0]), parts.count > 1 ? String(parts[1]).trimmed : "")
        }
    }

    func all(_ name: String) -> [String] { fields.filter { $0.name.lowercased() == name.lowercased() }.map(\.value) }
}

extension String {
    fileprivate var trimmed: String {
        let blanks: Set<Character> = [" ", "\t"]
        return String(drop { blanks.contains($0) }.reversed().drop { blanks.contains($0) }.reversed())
    }

    fileprivate func components(separatedBy separator: String) -> [String] {
        var parts: [String] = []
        var rest = Array(utf8)[...]
        let end = Array(separator.utf8)
        var part: [UInt8] = []
        while let byte = rest.first {
            if rest.starts(with: end) {
                parts.append(String(decoding: part, as: UTF8.self))
                part = []
                rest = rest.dropFirst(end.count)
            } else {
                part.append(byte)
                rest = rest.dropFirst()
            }
        }
        return parts + [String(decoding: part, as: UTF8.self)]
    }
}

/// A gateway's rules, and tokens that it believes.
final class StageWorld {
    static let now = 1_800_000_000.0

    private(set) var configuration = GatewayConfiguration()
    private let key: SigningKey
    let lookup = SessionLookup(eventLoop: EmbeddedEventLoop())
    var ids = CorrelationSource()

    init(routes: [RouteConfiguration] = [StageWorld.route("/")], change: (inout GatewayConfiguration) -> Void = { _ in }) throws {
        key = try SigningKey.generate(.eddsa).key
        configuration.upstreams = [
            UpstreamConfiguration(name: "app", endpoints: [Endpoint(address: .inet(host: "127.0.0.1", port: 9), name: "127.0.0.1:9")])
        ]
        configuration.routes = routes
        configuration.issuers = [issuer("portcullis", namespace: "", isOwn: true), issuer("idp", namespace: "idp")]
        change(&configuration)
    }

    static func route(_ path: String, _ change: (inout RouteConfiguration) -> Void = { _ in }) -> RouteConfiguration {
        var route = RouteConfiguration(path: path, upstream: "app")
        change(&route)
        return route
    }

    func issuer(_ name: String, namespace: String, sessions: SessionPolicy = .registered, isOwn: Bool = false) -> IssuerConfiguration {
        let trusted = TrustedIssuer(
            name: name, issuer: name, anyAudience: true, algorithms: [.eddsa], keys: KeySet(signingKeys: [key]),
            requiresSession: sessions != .unchecked)
        return IssuerConfiguration(trusted: trusted, name: name, namespace: namespace, sessions: sessions, isOwn: isOwn)
    }

    var snapshot: Snapshot { Snapshot(configuration) }

    /// `claims`: further members of the JSON object, each with a comma before it.
    func token(user: String = "alice", session: String? = "session-1", issuer: String = "portcullis", expiresIn: Int = 300, _ claims: String = "")
        throws -> [UInt8]
    {
        let sid = session.map { ",\"sid\":\"\($0)\"" } ?? ""
        let payload = "{\"iss\":\"\(issuer)\",\"sub\":\"\(user)\",\"exp\":\(Int(Self.now) + expiresIn)\(sid)\(claims)}"
        return try key.sign(claims: Array(payload.utf8))
    }

    func remembered(_ token: [UInt8], in snapshot: Snapshot? = nil) throws -> RememberedToken {
        let snapshot = snapshot ?? self.snapshot
        let verified = try snapshot.verifier.verify(token, now: Self.now)
        return try token.withUnsafeBytes { raw in
            try snapshot.identity.remember(verified, token: raw, lookup: lookup)
        }
    }

    /// The head that the upstream gets. The path is taken as normal.
    func forward(
        _ request: StageRequest, route: Int = 0, identity: RememberedToken? = nil, peer: String = "192.0.2.1", isSecure: Bool = false
    ) throws -> SentHead {
        let snapshot = snapshot
        let peer = try PeerAddress(SocketAddress(ipAddress: peer, port: 1))
        return try request.with { head, bytes in
            var buffer = ByteBuffer()
            let correlation = ids.correlate(head, bytes)
            snapshot.cleaning.writeRequestHead(
                head, bytes, route: snapshot.routes[route], path: bytes.slice(head.path), identity: identity,
                client: snapshot.view(head, bytes, peer: peer, isSecure: isSecure), peer: peer, correlation: correlation,
                carriesUpgrade: Upgrade.isCarried(head, bytes), into: &buffer)
            return SentHead(buffer)
        }
    }
}
