// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// A stretch of bytes in the head that is being looked at; offsets count from the head's first byte.
struct ByteRange: Equatable {
    var start: Int32
    var end: Int32

    static let none = ByteRange(start: 0, end: 0)
    var count: Int { Int(end - start) }
    var isEmpty: Bool { end == start }
}

extension ByteRange {
    /// Heads are at most `HeadLimits.greatestHeaderBytes` long, so that offsets always fit.
    @inline(__always)
    init(_ start: Int, _ end: Int) { self.init(start: Int32(truncatingIfNeeded: start), end: Int32(truncatingIfNeeded: end)) }

    @inline(__always)
    init(_ range: Range<Int>) { self.init(range.lowerBound, range.upperBound) }

    @inline(__always)
    var range: Range<Int> { Int(start)..<Int(end) }
}

/// The fields that the gateway itself has to do with, recognised while scanning. Everything else passes by as `other`.
enum FieldKind: UInt8 {
    case other
    case host, contentLength, transferEncoding
    case connection, keepAlive, proxyConnection, te, trailer, upgrade, http2Settings, proxyAuthenticate, proxyAuthorization
    case expect, authorization, cookie, origin, accept, via, traceparent, xRequestID, date
    case xForwardedFor, xForwardedProto, xForwardedHost
    /// Any other field of which the contract says that it is dropped: `Forwarded`, `X-Forwarded-*`, `X-Original-*`, `X-Rewrite-URL`,
    /// and all forwarding fields in another spelling (`X_Forwarded_For`).
    case otherForwarding
    /// `Host`, `Content-Length` or `Transfer-Encoding` in another spelling (`Content_Length`): some upstream could take it for the
    /// real one, so it is always dropped.
    case otherSpelling
}

/// A set of kinds of fields.
struct FieldKinds: Equatable {
    var bits: UInt64 = 0

    @inline(__always)
    func contains(_ kind: FieldKind) -> Bool { bits & (1 << UInt64(kind.rawValue)) != 0 }

    @inline(__always)
    mutating func insert(_ kind: FieldKind) { bits |= 1 << UInt64(kind.rawValue) }
}

/// One field line of a head.
struct FieldLine {
    var name: ByteRange
    /// Without the white space around it.
    var value: ByteRange
    /// 32-bit FNV-1a over the name's ASCII letters (lower case) and digits, everything else left out: names that some
    /// upstream could take for the same have the same hash (contract §4.4).
    var aliasHash: UInt32
    var kind: FieldKind
}

/// The field lines of one head or trailer section. A plain value that points into its scanner's storage: valid until that
/// scanner's next scan.
struct FieldSection {
    let lines: UnsafeMutablePointer<FieldLine>
    fileprivate(set) var count: Int
    /// The kinds that occur, `other` left out.
    fileprivate(set) var seen: FieldKinds
    /// The kinds that occur more than once.
    fileprivate(set) var repeated: FieldKinds
    /// Where the first field of each kind is; meaningful for what is in `seen`.
    private let firsts: UnsafeMutablePointer<Int32>

    init(lines: UnsafeMutablePointer<FieldLine>, firsts: UnsafeMutablePointer<Int32>) {
        self.lines = lines
        self.firsts = firsts
        count = 0
        seen = FieldKinds()
        repeated = FieldKinds()
    }

    subscript(index: Int) -> FieldLine { lines[index] }

    @inline(__always)
    func first(_ kind: FieldKind) -> FieldLine? { seen.contains(kind) ? lines[Int(firsts[Int(kind.rawValue)])] : nil }

    /// The caller has made sure that there is room.
    @inline(__always)
    mutating func append(_ line: FieldLine) {
        lines[count] = line
        if line.kind != .other {
            if seen.contains(line.kind) {
                repeated.insert(line.kind)
            } else {
                seen.insert(line.kind)
                firsts[Int(line.kind.rawValue)] = Int32(truncatingIfNeeded: count)
            }
        }
        count &+= 1
    }
}

/// How a message's body is delimited (RFC 9112 §6).
enum BodyFraming: Equatable {
    case none
    case counted(Int64)
    case chunked
    /// Answers only: until the connection ends.
    case untilClose
}

enum TargetForm: UInt8 {
    case origin, absolute, asterisk
}

enum MethodKind: UInt8 {
    case get, head, post, put, delete, options, trace, patch, connect, other
}

/// What a head may be at most (contract §3, `limits`).
struct HeadLimits: Sendable, Equatable {
    /// Start line and fields together, line ends included, in bytes. Trailers may have as much once more.
    var headerBytes = 32 << 10
    /// Field lines, of the head and once more of the trailers.
    var headerCount = 100
    /// The request target, in bytes.
    var targetBytes = 8 << 10

    /// Offsets are 32 bits wide, and nothing sane comes near it.
    static let greatestHeaderBytes = 1 << 30
    /// The shortest field line: `a:` and its line end, in bytes.
    static let shortestLine = 4
}

/// Why a request's head, or its chunked body, is refused. The reason is for logs, never made of what was received.
enum HeadRefusal: Error, Equatable {
    case badRequest(String)
    case targetTooLong
    case headerTooLarge
}

/// A scanned request head. A plain value; ranges are offsets into the bytes that were scanned, `section` points into the
/// scanner's storage and is valid until its next scan.
struct RequestHead {
    /// The head's bytes, from an empty line before it (if there was one) to the empty line that ends it.
    var length = 0
    var method = ByteRange.none
    var methodKind = MethodKind.other
    /// As it was sent.
    var target = ByteRange.none
    /// `asterisk` is also what an OPTIONS for an absolute URI without path and query means (RFC 9112 §3.2.4).
    var targetForm = TargetForm.origin
    /// Scheme, authority and query stripped. Empty where there is none: `http://x` (which means `/`), and `asterisk`.
    var path = ByteRange.none
    /// Without the `?`. Nil where there is no `?`; empty where nothing follows it.
    var query: ByteRange?
    /// 0 or 1: the second number of the version, the first is always 1.
    var minorVersion = 1
    var section: FieldSection
    /// `none`, `counted` (which can be 0) or `chunked`.
    var framing = BodyFraming.none
    /// The value of the one Host field.
    var host = ByteRange.none
    /// Whether the client lets the connection go on after this exchange (RFC 9112 §9.3).
    var keepAlive = true
    /// `Expect` lists `100-continue`, which HTTP/1.0 does not know (RFC 9110 §10.1.1).
    var expectsContinue = false
    /// The one protocol that the single Upgrade field offers, where Connection names it. Nil in HTTP/1.0, and for lists.
    var upgrade: ByteRange?
    /// Connection names something beyond close, keep-alive, upgrade and te: see `ListElements`.
    var hasConnectionOptions = false
    /// `TE` lists `trailers`.
    var teTrailers = false

    var fields: UnsafeMutablePointer<FieldLine> { section.lines }
    var fieldCount: Int { section.count }
    var seen: FieldKinds { section.seen }
    var repeated: FieldKinds { section.repeated }
    func first(_ kind: FieldKind) -> FieldLine? { section.first(kind) }
}

/// A scanned response head; the same rules of validity as for `RequestHead`.
struct ResponseHead {
    var length = 0
    /// 100 to 599.
    var status = 0
    /// Can be empty.
    var reason = ByteRange.none
    var minorVersion = 1
    var section: FieldSection
    /// `none` for HEAD, 1xx, 204 and 304 whatever the fields say (RFC 9112 §6.3).
    var framing = BodyFraming.none
    /// Whether the upstream lets the connection go on. Never for `untilClose`.
    var keepAlive = true
    var upgrade: ByteRange?
    var hasConnectionOptions = false

    var fields: UnsafeMutablePointer<FieldLine> { section.lines }
    var fieldCount: Int { section.count }
    var seen: FieldKinds { section.seen }
    var repeated: FieldKinds { section.repeated }
    func first(_ kind: FieldKind) -> FieldLine? { section.first(kind) }
}
