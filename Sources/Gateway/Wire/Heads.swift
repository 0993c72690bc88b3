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

/// The fields that the gateway itself has to do with, recognised while scanning. Everything else passes by as `other`.
enum FieldKind: UInt8 {
    case other
    case host, contentLength, transferEncoding
    case connection, keepAlive, proxyConnection, te, trailer, upgrade, http2Settings, proxyAuthenticate, proxyAuthorization
    case expect, authorization, cookie, origin, accept, via, traceparent, xRequestID, date
    case xForwardedFor, xForwardedProto, xForwardedHost
    /// Any other field of which the contract says that it is dropped: `Forwarded`, `X-Forwarded-*`, `X-Original-*`, `X-Rewrite-URL`.
    case otherForwarding
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
