// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// Brings a path into its one normal form, or refuses it as ambiguous (contract §4.2). What is matched against routes and what is
/// forwarded are both the normal form.
///
/// - Escapes of unreserved characters are decoded, the others get capital digits; what a path cannot hold (`" < > [ ] ^ ` { | }`)
///   is escaped; dot segments are removed (RFC 3986 §5.2.4, §6.2.2).
/// - Refused: bytes that are no visible ASCII, `#`, `?` and `\`; escapes that are none; `%00`, `%5C`; `%2F` and `//` unless allowed; a dot segment that is
///   spelled with escapes, or has parameters; what would become `.`, `/`, `\`, `%` or NUL if it were decoded twice; escapes of overlong
///   UTF-8 (RFC 3629 §3), in which some decoders find any of these.
/// - Where `%2F` is kept, any dot segment in the same path is refused: decoding it before or after their removal leads to different places.
///
/// The normal form of a normal form is itself. One normaliser serves all connections of a loop; confined to it.
final class PathNormaliser {
    enum Outcome: Equatable {
        /// The path is in its normal form.
        case unchanged
        /// Its normal form is in `output`.
        case rewritten
        /// With a reason for logs, never made of what was received.
        case refused(String)
    }

    private struct Ambiguous: Error {
        let reason: String
    }

    /// What the tables say of a byte in a path.
    private static let plain: UInt8 = 0
    private static let slash: UInt8 = 1
    private static let percent: UInt8 = 2
    private static let escaped: UInt8 = 3
    private static let refused: UInt8 = 4

    /// Room for escapes: each byte can become three.
    private static let growth = 3
    private static let initialCapacity = 4 << 10

    private let classes: UnsafeMutablePointer<UInt8>
    private var storage: UnsafeMutableRawBufferPointer
    private var count = 0
    /// Where the last segment begins in `storage`.
    private var segmentStart = 0
    /// The segment being read has a decoded dot.
    private var hasDecodedDot = false
    private var hasKeptSlash = false
    private var hasDotSegment = false

    init() {
        classes = .allocate(capacity: 256)
        for byte in 0..<256 { classes[byte] = Self.classify(UInt8(byte)) }
        storage = .allocate(byteCount: Self.initialCapacity, alignment: 1)
    }

    deinit {
        classes.deallocate()
        storage.deallocate()
    }

    private static func classify(_ byte: UInt8) -> UInt8 {
        switch byte {
        case UInt8(ascii: "/"): slash
        case UInt8(ascii: "%"): percent
        case UInt8(ascii: "\""), UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "["), UInt8(ascii: "]"), UInt8(ascii: "^"), UInt8(ascii: "`"),
            UInt8(ascii: "{")...UInt8(ascii: "}"):
            escaped
        case UInt8(ascii: "#"), UInt8(ascii: "?"), UInt8(ascii: "\\"), 0...0x20, 0x7f...0xff: refused
        default: plain
        }
    }

    /// The normal form of the path that was rewritten last. Valid until the next call.
    var output: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: storage[0..<count]) }

    /// - Parameters:
    ///   - path: without the query. Nothing at all means `/` (an absolute-form target may have no path).
    ///   - mergeSlashes: several slashes are one, before dot segments are removed; else they are refused.
    ///   - keepEncodedSlashes: `%2F` stays, and separates no segments; else it is refused.
    func normalise(_ path: UnsafeRawBufferPointer, mergeSlashes: Bool, keepEncodedSlashes: Bool) -> Outcome {
        if isNormal(path) { return .unchanged }
        reserve(Self.growth * path.count + 1)
        count = 0
        if path.isEmpty {
            append(UInt8(ascii: "/"))
            return .rewritten
        }
        do throws(Ambiguous) {
            try rewrite(path, mergeSlashes: mergeSlashes, keepEncodedSlashes: keepEncodedSlashes)
            try refuseDoubleEncoding()
            try refuseOverlong()
        } catch {
            return .refused(error.reason)
        }
        return output.elementsEqual(path) ? .unchanged : .rewritten
    }

    /// Whether the path has nothing that needs a closer look: nearly all paths have not.
    private func isNormal(_ path: UnsafeRawBufferPointer) -> Bool {
        guard path.count > 0, path[0] == UInt8(ascii: "/") else { return false }
        var previousIsSlash = false
        for byte in path {
            let kind = classes[Int(byte)]
            if kind > Self.slash { return false }
            if previousIsSlash, kind == Self.slash || byte == UInt8(ascii: ".") { return false }
            previousIsSlash = kind == Self.slash
        }
        return true
    }

    private func rewrite(_ path: UnsafeRawBufferPointer, mergeSlashes: Bool, keepEncodedSlashes: Bool) throws(Ambiguous) {
        guard path[0] == UInt8(ascii: "/") else { throw Ambiguous(reason: "path without a slash at its beginning") }
        append(UInt8(ascii: "/"))
        segmentStart = 1
        hasDecodedDot = false
        hasKeptSlash = false
        hasDotSegment = false
        var index = 1
        while index < path.count {
            let byte = path[index]
            switch classes[Int(byte)] {
            case Self.plain: append(byte)
            case Self.slash:
                if path[index - 1] == UInt8(ascii: "/") {
                    guard mergeSlashes else { throw Ambiguous(reason: "duplicate slashes") }
                } else {
                    try endSegment(isLast: false)
                }
            case Self.percent:
                guard index + 2 < path.count, let high = hexDigit(path[index + 1]), let low = hexDigit(path[index + 2]) else {
                    throw Ambiguous(reason: "% without two hexadecimal digits")
                }
                try appendDecoded(high << 4 | low, keepEncodedSlashes: keepEncodedSlashes)
                index += 2
            case Self.escaped: appendEscaped(byte)
            default: throw Ambiguous(reason: "byte that a path may not have")
            }
            index += 1
        }
        try endSegment(isLast: true)
        if hasKeptSlash, hasDotSegment { throw Ambiguous(reason: "encoded slash and dot segment") }
    }

    private func appendDecoded(_ byte: UInt8, keepEncodedSlashes: Bool) throws(Ambiguous) {
        switch byte {
        case 0, UInt8(ascii: "\\"):
            throw Ambiguous(reason: "encoded NUL or backslash")
        case UInt8(ascii: "/"):
            guard keepEncodedSlashes else { throw Ambiguous(reason: "encoded slash") }
            hasKeptSlash = true
            appendEscaped(byte)
        case UInt8(ascii: "."):
            hasDecodedDot = true
            append(byte)
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "~"):
            append(byte)
        default:
            appendEscaped(byte)
        }
    }

    // MARK: Segments

    /// Closes the segment that began at `segmentStart`: keeps it, or does what a dot segment says.
    private func endSegment(isLast: Bool) throws(Ambiguous) {
        switch try dots(from: segmentStart, to: count) {
        case 0:
            try judgePartsOfSegment()
            if !isLast { append(UInt8(ascii: "/")) }
        case 1:
            count = segmentStart
        default:
            count = segmentStart
            // Back over the slash and the segment before it; above the root there is nothing.
            if count > 1 {
                count -= 1
                while storage[count - 1] != UInt8(ascii: "/") { count -= 1 }
            }
        }
        segmentStart = count
        hasDecodedDot = false
    }

    /// How many dots the segment (or part of one) consists of: 0 if it is an ordinary one.
    private func dots(from start: Int, to end: Int) throws(Ambiguous) -> Int {
        var dots = 0
        while start + dots < end, storage[start + dots] == UInt8(ascii: ".") { dots += 1 }
        guard dots == 1 || dots == 2 else { return 0 }
        let rest = start + dots
        if rest == end {
            if hasDecodedDot { throw Ambiguous(reason: "encoded dot segment") }
            hasDotSegment = true
            return dots
        }
        if storage[rest] == UInt8(ascii: ";") || isEscape(at: rest, of: UInt8(ascii: "3"), UInt8(ascii: "B")) {
            throw Ambiguous(reason: "dot segment with parameters")
        }
        return 0
    }

    /// Between encoded slashes, too, nothing may look like a dot segment.
    private func judgePartsOfSegment() throws(Ambiguous) {
        guard hasKeptSlash else { return }
        var start = segmentStart
        for index in segmentStart..<count where isEscape(at: index, of: UInt8(ascii: "2"), UInt8(ascii: "F")) {
            _ = try dots(from: start, to: index)
            start = index + 3
        }
        if start > segmentStart { _ = try dots(from: start, to: count) }
    }

    private func isEscape(at index: Int, of high: UInt8, _ low: UInt8) -> Bool {
        index + 2 < count && storage[index] == UInt8(ascii: "%") && storage[index + 1] == high && storage[index + 2] == low
    }

    private func refuseDoubleEncoding() throws(Ambiguous) {
        var index = 0
        while index + 4 < count {
            if isEscape(at: index, of: UInt8(ascii: "2"), UInt8(ascii: "5")), let high = hexDigit(storage[index + 3]),
                let low = hexDigit(storage[index + 4])
            {
                switch high << 4 | low {
                case 0, UInt8(ascii: "."), UInt8(ascii: "/"), UInt8(ascii: "\\"), UInt8(ascii: "%"): throw Ambiguous(reason: "encoded twice")
                default: break
                }
            }
            index += 1
        }
    }

    private func refuseOverlong() throws(Ambiguous) {
        var index = 0
        while index + 5 < count {
            if let lead = escape(at: index), lead >= 0xc0, let next = escape(at: index + 3) {
                let overlong: ClosedRange<UInt8>? =
                    switch lead {
                    case 0xc0, 0xc1: 0x80...0xbf
                    case 0xe0: 0x80...0x9f
                    case 0xf0: 0x80...0x8f
                    case 0xf8: 0x80...0x87
                    case 0xfc: 0x80...0x83
                    default: nil
                    }
                if let overlong, overlong.contains(next) { throw Ambiguous(reason: "overlong UTF-8") }
            }
            index += 1
        }
    }

    /// The byte whose escape stands there.
    private func escape(at index: Int) -> UInt8? {
        guard storage[index] == UInt8(ascii: "%"), let high = hexDigit(storage[index + 1]), let low = hexDigit(storage[index + 2]) else { return nil }
        return high << 4 | low
    }

    // MARK: Storage

    private func reserve(_ capacity: Int) {
        guard storage.count < capacity else { return }
        storage.deallocate()
        storage = .allocate(byteCount: capacity, alignment: 1)
    }

    private func append(_ byte: UInt8) {
        storage[count] = byte
        count += 1
    }

    private func appendEscaped(_ byte: UInt8) {
        append(UInt8(ascii: "%"))
        append(Self.digit(byte >> 4))
        append(Self.digit(byte & 15))
    }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "A") + value - 10 }
}

@available(*, unavailable)
extension PathNormaliser: Sendable {}
