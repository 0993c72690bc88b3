// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import Tokens

/// A token that this loop has verified, with everything that can be known from it once and for all: made once, used for every request that
/// brings the same bytes, under the same snapshot.
///
/// Confined to its loop.
final class RememberedToken {
    /// Index into the verifier's issuers.
    let issuer: Int
    let user: UserID
    /// Nil only where the issuer requires none.
    let session: String?
    /// `exp` and the issuer's leeway, Unix seconds: it counts before this moment.
    let acceptUntil: Double
    /// What the session lookup is asked; nil where nobody is: `unchecked` issuers, and tokens without a session.
    let reference: SessionReference?
    /// `nbf` less the issuer's leeway, Unix seconds: matters again when the clock is set back.
    let acceptFrom: Double
    /// Those that some route asks for (`IdentityRules.askedClaims`).
    let claims: JSONObject
    /// Streams end with the token, not with the session (contract §4.10).
    let endsWithToken: Bool
    /// Whole field lines, ready to be copied: who it is, in whose words, and the configured claims.
    let identityLines: [UInt8]
    /// `"user":"…","session":"…"` for the access log, the session's first characters alone. Made when something is logged.
    private(set) lazy var logMembers = Self.logMembers(user, session)
    /// The exact bytes that were verified.
    let token: [UInt8]
    /// Routes (the first 64) whose scopes and claims it has been found to have.
    var passedRoutes: UInt64 = 0

    /// What it occupies, in bytes, roughly.
    let byteCount: Int

    fileprivate init(
        _ verified: VerifiedToken, token: [UInt8], user: UserID, reference: SessionReference?, acceptFrom: Double, claims: JSONObject,
        endsWithToken: Bool, identityLines: [UInt8]
    ) {
        issuer = verified.issuer
        session = verified.session
        acceptUntil = verified.acceptUntil
        self.token = token
        self.user = user
        self.reference = reference
        self.acceptFrom = acceptFrom
        self.claims = claims
        self.endsWithToken = endsWithToken
        self.identityLines = identityLines
        let names = 2 * user.name.utf8.count + (session?.utf8.count ?? 0)
        byteCount =
            token.count + identityLines.capacity + claims.estimatedByteCount + names + Self.overhead
            + (reference == nil ? 0 : Self.referenceOverhead + Self.namesInQuestions * names)
    }

    /// The object, its arrays' and texts' headers, its place in the cache, and what is logged but for the user's name.
    private static let overhead = 640
    /// The session reference, what the loop knows of its user, and prepared questions; as if no other token asked the same.
    private static let referenceOverhead = 512
    /// Keys have user and session with escapes (contract §7), once for each question.
    private static let namesInQuestions = 6
    /// Characters of a session id that are shown.
    private static let shownSessionCharacters = 8

    private static func logMembers(_ user: UserID, _ session: String?) -> [UInt8] {
        var json = JSONWriter()
        json.member("user", user.display)
        json.member("session", session.map { String($0.prefix(shownSessionCharacters)) })
        return json.bytes
    }

    /// Whether it still counts, to be asked on every use (Unix seconds).
    func isAccepted(at now: Double) -> Bool { acceptFrom <= now && now < acceptUntil }
}

@available(*, unavailable)
extension RememberedToken: Sendable {}

/// How a verified token becomes an identity: whose it is, whether its session is asked for, and what the upstream is told (contract §8).
final class IdentityRules: Sendable {
    /// How long an assertion counts, in seconds.
    private static let assertionLifetime = 60.0

    /// How the lines begin: `X-Auth-User: ` and so on.
    private struct LineStarts {
        let user, session: [UInt8]
        let claims: [(start: [UInt8], claim: ClaimName)]

        init(_ fields: IdentityConfiguration) {
            func start(_ field: String) -> [UInt8] { Array("\(field): ".utf8) }
            (user, session) = (start(fields.user), start(fields.session))
            claims = fields.claims.map { (start($0.field), ClaimName($0.claim)) }
        }
    }

    /// What of an issuer's configuration counts here.
    private struct Issuer {
        let name, namespace: String
        let sessions: SessionPolicy
        let leeway: Double
        /// The whole field line.
        let line: [UInt8]

        init(_ issuer: IssuerConfiguration, _ fields: IdentityConfiguration) {
            (name, namespace, sessions, leeway) = (issuer.name, issuer.namespace, issuer.sessions, issuer.trusted.leeway)
            var line: [UInt8] = []
            IdentityRules.add(Array("\(fields.issuer): ".utf8), issuer.name.utf8, to: &line)
            self.line = line
        }
    }

    private let fields: IdentityConfiguration
    private let starts: LineStarts
    private let issuers: [Issuer]
    /// All namespaces but the gateway's own, each with the slash that follows it in `X-Auth-User`.
    private let prefixes: [String]
    /// Of the routes. Values are made of them once: a request that is refused for what they say costs no more than another one.
    private let askedClaims: [ClaimName]

    init(_ configuration: GatewayConfiguration) {
        fields = configuration.identity
        starts = LineStarts(configuration.identity)
        issuers = configuration.issuers.map { Issuer($0, configuration.identity) }
        prefixes = Set(configuration.issuers.map(\.namespace)).filter { !$0.isEmpty }.map { $0 + "/" }.sorted()
        askedClaims = Authorisation.claimNames(of: configuration.routes)
    }

    /// - Throws: `claims` for a user that would arrive at the upstream under another's name; `issuer` for one that is not configured.
    func remember(_ verified: VerifiedToken, token: UnsafeRawBufferPointer, lookup: SessionLookup) throws(TokenRefusal) -> RememberedToken {
        guard issuers.indices.contains(verified.issuer) else { throw .issuer }
        let issuer = issuers[verified.issuer]
        let user = UserID(namespace: issuer.namespace, name: verified.user)
        guard !isMistakable(user) else { throw .claims }
        let reference = verified.session.flatMap { session -> SessionReference? in
            switch issuer.sessions {
            case .registered: lookup.reference(user: user, session: session, kind: .registered, issuedAt: verified.issuedAtSecond)
            case .revocable: lookup.reference(user: user, session: session, kind: .revocable, issuedAt: verified.issuedAtSecond)
            case .unchecked: nil
            }
        }
        // Without anybody to ask there is no answer that would let it pass.
        guard reference != nil || issuer.sessions == .unchecked else { throw .claims }
        return RememberedToken(
            verified, token: Array(token), user: user, reference: reference,
            acceptFrom: verified.notBefore.map { $0 - issuer.leeway } ?? -.infinity, claims: verified.claims.object(of: askedClaims),
            endsWithToken: issuer.sessions != .registered, identityLines: lines(for: verified, user: user, issuer: issuer))
    }

    /// Whether the user's name at the upstream reads like a user of another, deeper namespace.
    private func isMistakable(_ user: UserID) -> Bool {
        if prefixes.isEmpty { return false }
        let name = Array(user.display.utf8)
        let own = user.namespace.isEmpty ? 0 : user.namespace.utf8.count + 1
        return prefixes.contains { $0.utf8.count > own && name.starts(with: $0.utf8) }
    }

    // MARK: Fields

    private func lines(for verified: VerifiedToken, user: UserID, issuer: Issuer) -> [UInt8] {
        var lines: [UInt8] = []
        lines.reserveCapacity(Self.linesCapacity)
        Self.add(starts.user, user.display.utf8, to: &lines)
        if let session = verified.session { Self.add(starts.session, session.utf8, to: &lines) }
        lines += issuer.line
        for (start, claim) in starts.claims {
            if let value = verified.claims[claim], let text = Self.text(of: value) { Self.add(start, text, to: &lines) }
        }
        return lines
    }

    /// Strings as they are, numbers and booleans in their JSON spelling, arrays of these joined with commas; nothing else has a text.
    private static func text(of value: JSONValue) -> [UInt8]? {
        if let text = value.scalarText { return Array(text.utf8) }
        guard let elements = value.array, !elements.isEmpty else { return nil }
        var joined: [UInt8] = []
        for (index, element) in elements.enumerated() {
            guard let text = element.scalarText else { return nil }
            if index > 0 { joined.append(UInt8(ascii: ",")) }
            for byte in text.utf8 {
                if byte == UInt8(ascii: ",") { joined += Array("%2C".utf8) } else { joined.append(byte) }
            }
        }
        return joined
    }

    /// What the lines of most tokens fit in, bytes.
    private static let linesCapacity = 192

    /// One line; control characters (C0, DEL and C1) are percent-encoded, byte by byte.
    private static func add(_ start: [UInt8], _ value: some Sequence<UInt8>, to lines: inout [UInt8]) {
        lines += start
        defer { lines += "\r\n".utf8 }
        // Most values have nothing to encode, and are copied as they are.
        let isDone = value.withContiguousStorageIfAvailable { value in
            guard !value.contains(where: { $0 < 0x20 || $0 == 0x7f || $0 == 0xc2 }) else { return false }
            lines += value
            return true
        }
        if isDone == true { return }
        var previous: UInt8 = 0
        for byte in value {
            if previous == 0xc2, byte & 0xe0 == 0x80 {
                // U+0080 to U+009F: two bytes, of which the first has been written.
                lines.removeLast()
                addEscape(of: previous, to: &lines)
                addEscape(of: byte, to: &lines)
            } else if byte < 0x20 || byte == 0x7f {
                addEscape(of: byte, to: &lines)
            } else {
                lines.append(byte)
            }
            previous = byte
        }
    }

    private static func addEscape(of byte: UInt8, to lines: inout [UInt8]) {
        let digits = Array("0123456789ABCDEF".utf8)
        lines += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
    }

    // MARK: Assertion

    /// The field line with a JWT in which the gateway itself tells the upstream who this is; nil when none is configured, or it could not
    /// be signed. Costs a signature.
    func assertion(for token: RememberedToken, route: Route, now: Double) -> [UInt8]? {
        guard let assertion = fields.assertion, issuers.indices.contains(token.issuer) else { return nil }
        let issuedAt = Int64(now)
        let claims = JSONWriter.object { json in
            json.member("iss", assertion.issuer)
            json.member("sub", token.user.display)
            json.member("aud", route.upstreamName)
            if let session = token.session { json.member("sid", session) }
            json.member("idp", issuers[token.issuer].name)
            json.member("iat", issuedAt)
            json.member("exp", issuedAt + Int64(Self.assertionLifetime))
        }
        guard let signed = try? assertion.key.sign(type: "assertion+jwt", claims: claims) else { return nil }
        return Array("\(assertion.field): ".utf8) + signed + Array("\r\n".utf8)
    }
}

// MARK: - authenticate: the slow way

extension Exchange {
    /// A token that this loop does not remember.
    ///
    /// `hash`: of these bytes, by this loop's cache.
    func verify(_ token: UnsafeRawBufferPointer, hash: UInt64, now: Double) -> Result<RememberedToken, Rejection> {
        switch snapshot.verifier.judge(token, now: now, headers: loop.tokens.headers) {
        case .verified(let verified):
            do throws(TokenRefusal) {
                let result = try snapshot.identity.remember(verified, token: token, lookup: loop.lookup)
                loop.counters.tokenVerified(nil, source: .signature)
                loop.tokens.insert(result, hash: hash)
                return .success(result)
            } catch {
                loop.counters.tokenVerified(error, source: .signature)
                return .failure(.token(error))
            }
        case .refused(let refusal, let issuer):
            loop.counters.tokenVerified(refusal, source: .signature)
            if let issuer, refusal == .keyUnknown || refusal == .keysUnavailable {
                loop.shared.keyIsMissing(issuer: snapshot.configuration.issuers[issuer].name)
            }
            return .failure(refusal == .keysUnavailable ? .keysUnavailable : .token(refusal))
        }
    }
}
