// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import HTTPRules

/// The request line (RFC 9112 §3): a token, one space, a target, one space, `HTTP/1.0` or `HTTP/1.1`, CRLF.
///
/// A target is visible ASCII without `#`. Bytes above ASCII are refused, in the query too: they are no URI, and what they mean
/// differs from parser to parser. All else about the path is the normaliser's.
extension RequestHead {
    /// Reads the line that begins at `start` and returns where the fields begin.
    mutating func readRequestLine(_ bytes: UnsafePointer<UInt8>, from start: Int, to end: Int, targetLimit: Int) throws(ScanStop) -> Int {
        var index = start
        // Seven letters are the longest method that has a kind; of a longer one the first letters fall out at the top.
        var letters: UInt64 = 0
        while index < end, isTokenByte(bytes[index]) {
            letters = letters &<< 8 | UInt64(bytes[index])
            index &+= 1
        }
        guard index < end else { throw .short }
        guard bytes[index] == UInt8(ascii: " "), index > start else { throw .bad("method is no token") }
        method = ByteRange(start, index)
        methodKind = method.count <= 7 ? MethodKind(letters: letters) : .other
        if methodKind == .connect { throw .bad("CONNECT") }

        index &+= 1
        let targetStart = index
        let targetEnd = min(end, targetStart &+ targetLimit &+ 1)
        var queryStart = -1
        while index < targetEnd {
            let byte = bytes[index]
            if byte <= 0x20 || byte >= 0x7f || byte == UInt8(ascii: "#") { break }
            if byte == UInt8(ascii: "?"), queryStart < 0 { queryStart = index &+ 1 }
            index &+= 1
        }
        guard index &- targetStart <= targetLimit else { throw .refused(.targetTooLong) }
        guard index < end else { throw .short }
        guard bytes[index] == UInt8(ascii: " "), index > targetStart else { throw .bad("target is empty or has a byte that it may not have") }
        target = ByteRange(targetStart, index)
        path = target
        if queryStart >= 0 {
            query = ByteRange(queryStart, index)
            path.end = Int32(truncatingIfNeeded: queryStart &- 1)
        }
        try classifyTarget(bytes)
        return try readVersion(bytes, from: index &+ 1, to: end)
    }

    private mutating func classifyTarget(_ bytes: UnsafePointer<UInt8>) throws(ScanStop) {
        let first = bytes[Int(target.start)]
        if first == UInt8(ascii: "/") { return }
        if first == UInt8(ascii: "*"), target.count == 1 {
            guard methodKind == .options else { throw .bad("* is a target for OPTIONS only") }
            path = .none
            targetForm = .asterisk
            return
        }
        targetForm = .absolute
        guard let authority = authority(bytes) else { throw .bad("target is neither a path nor an http or https URI") }
        guard validHost(UnsafeRawBufferPointer(start: bytes + Int(authority.start), count: authority.count)) else {
            throw .bad("target has no valid host")
        }
        path.start = authority.end
        if methodKind == .options, path.isEmpty, query == nil {
            path = .none
            targetForm = .asterisk
        }
    }

    /// Where the authority of an absolute-form target is; nil if the target is no http or https URI.
    func authority(_ bytes: UnsafePointer<UInt8>) -> ByteRange? {
        guard let scheme = schemeLength(bytes) else { return nil }
        let start = Int(target.start) + scheme
        var end = start
        while end < Int(target.end), bytes[end] != UInt8(ascii: "/"), bytes[end] != UInt8(ascii: "?") { end += 1 }
        return ByteRange(start, end)
    }

    /// The port that an absolute-form target without one means.
    func defaultPort(_ bytes: UnsafePointer<UInt8>) -> Int { schemeLength(bytes) == 8 ? 443 : 80 }

    private func schemeLength(_ bytes: UnsafePointer<UInt8>) -> Int? {
        let raw = UnsafeRawBufferPointer(start: bytes, count: Int(target.end))
        let start = Int(target.start)
        if target.count >= 7, equalIgnoringCase(raw, ByteRange(start, start + 7), "http://") { return 7 }
        if target.count >= 8, equalIgnoringCase(raw, ByteRange(start, start + 8), "https://") { return 8 }
        return nil
    }

    private mutating func readVersion(_ bytes: UnsafePointer<UInt8>, from start: Int, to end: Int) throws(ScanStop) -> Int {
        minorVersion = try readHTTPVersion(bytes, from: start, to: end)
        guard start &+ 8 < end else { throw .short }
        return try endOfLine(bytes, start &+ 8, end)
    }
}

/// Reads `HTTP/1.0` or `HTTP/1.1` and returns the last digit. What cannot become one of them is refused at its first wrong byte.
@inline(__always)
func readHTTPVersion(_ bytes: UnsafePointer<UInt8>, from start: Int, to end: Int) throws(ScanStop) -> Int {
    if start &+ 8 <= end {
        // "HTTP/1.1" and "HTTP/1.0" as they are in memory, the last byte highest.
        switch UInt64(littleEndian: UnsafeRawPointer(bytes + start).loadUnaligned(as: UInt64.self)) {
        case 0x312e_312f_5054_5448: return 1
        case 0x302e_312f_5054_5448: return 0
        default: throw .bad("version is neither HTTP/1.1 nor HTTP/1.0")
        }
    }
    let expected: StaticString = "HTTP/1."
    for index in 0..<max(0, min(end - start, expected.utf8CodeUnitCount)) where bytes[start + index] != expected.utf8Start[index] {
        throw .bad("version is neither HTTP/1.1 nor HTTP/1.0")
    }
    throw .short
}

extension MethodKind {
    /// Of at most seven letters, the last one lowest. Methods are case-sensitive (RFC 9110 §9.1).
    fileprivate init(letters: UInt64) {
        switch letters {
        case 0x47_4554: self = .get
        case 0x4845_4144: self = .head
        case 0x504f_5354: self = .post
        case 0x50_5554: self = .put
        case 0x4445_4c45_5445: self = .delete
        case 0x4f_5054_494f_4e53: self = .options
        case 0x54_5241_4345: self = .trace
        case 0x50_4154_4348: self = .patch
        case 0x43_4f4e_4e45_4354: self = .connect
        default: self = .other
        }
    }
}
