// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// What a chunked body's next bytes are. Offsets count from the first byte that was given.
enum ChunkStep: Equatable {
    /// Some of the body. The next call begins after it.
    case data(offset: Int, count: Int)
    /// More bytes are needed. The next call begins after those that are consumed.
    case needMore(consumed: Int)
    /// The body has ended. The section is empty where there are no trailer fields; else it is their lines and the empty line that
    /// ends them, every one of them well-formed.
    case trailers(section: ByteRange, consumed: Int)
    case refused(HeadRefusal)
}

/// Finds the data in a chunked body (RFC 9112 §7.1), in whatever pieces it comes.
///
///     size line ──▶ data ──▶ its line end ──▶ size line …
///         └─ size 0 ──▶ trailer lines ──▶ done
///
/// Enforced: sizes of at most `sizeDigits` hexadecimal digits and nothing else; extensions by the grammar of §7.1.1, then ignored; CRLF and
/// only CRLF; trailer lines by the rules for field lines, within `headerBytes` and `headerCount` of their own. A value of a few bytes;
/// it holds no bytes of the message.
struct ChunkedDecoder {
    /// 60 bits of size: more than anyone sends, and nothing can overflow. Leading zeros count.
    private static let sizeDigits = 15
    /// A size line with its extensions, in bytes: signatures of chunks (the longest that are in use) are about a hundred.
    private static let lineLimit = 4 << 10

    private enum Phase {
        case size, data, dataEnd, trailers, done
    }

    private var phase = Phase.size
    /// What is left of the current chunk, in bytes.
    private var left = 0
    /// How far the unfinished line at the front, or in the trailers, has been searched for its end.
    private var searched = 0
    /// The checked trailer lines at the front: their bytes and their number.
    private var checked = 0
    private var lineCount = 0
    private let headerBytes: Int
    private let headerCount: Int

    init(limits: HeadLimits = HeadLimits()) {
        headerBytes = max(0, min(limits.headerBytes, HeadLimits.greatestHeaderBytes))
        headerCount = limits.headerCount
    }

    /// - Parameter bytes: what has come and is not consumed yet.
    mutating func next(_ bytes: UnsafeRawBufferPointer) -> ChunkStep {
        guard let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count > 0 else { return .needMore(consumed: 0) }
        var index = 0
        do throws(ScanStop) {
            while true {
                switch phase {
                case .size:
                    index = try readSizeLine(base, index, bytes.count)
                case .data:
                    let count = min(left, bytes.count - index)
                    guard count > 0 else { throw .short }
                    left -= count
                    if left == 0 { phase = .dataEnd }
                    return .data(offset: index, count: count)
                case .dataEnd:
                    guard index < bytes.count else { throw .short }
                    index = try endOfLine(base, index, bytes.count)
                    phase = .size
                case .trailers:
                    let end = try readTrailers(base, index, bytes.count)
                    phase = .done
                    return .trailers(section: lineCount == 0 ? .none : ByteRange(index, end), consumed: end)
                case .done:
                    throw .bad("the body has ended")
                }
            }
        } catch {
            switch error {
            case .short: return .needMore(consumed: index)
            case .refused(let refusal): return .refused(refusal)
            }
        }
    }

    // MARK: Size lines

    private mutating func readSizeLine(_ bytes: UnsafePointer<UInt8>, _ start: Int, _ end: Int) throws(ScanStop) -> Int {
        guard start < end else { throw .short }
        guard hexDigit(bytes[start]) != nil else { throw .bad("chunk without a size") }
        let lineEnd = try findLineEnd(
            bytes, start, min(end, start + Self.lineLimit), isWhole: end - start >= Self.lineLimit, .bad("chunk size line too long"))
        var index = start
        var size = 0
        while let digit = hexDigit(bytes[index]) {
            guard index - start < Self.sizeDigits else { throw .bad("chunk size too great") }
            size = size << 4 | Int(digit)
            index += 1
        }
        index = try skipExtensions(bytes, index, lineEnd)
        let next = try endOfLine(bytes, index, lineEnd + 1)
        left = size
        phase = size == 0 ? .trailers : .data
        return next
    }

    /// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`. Every step ends at the line feed at the latest, as that is
    /// no byte of anything in here.
    private func skipExtensions(_ bytes: UnsafePointer<UInt8>, _ start: Int, _ lineFeedIndex: Int) throws(ScanStop) -> Int {
        var index = start
        while bytes[index] != carriageReturn {
            index = skipBlanks(bytes, index)
            guard bytes[index] == UInt8(ascii: ";") else { throw .bad("chunk size line has something that is no extension") }
            index = skipBlanks(bytes, index + 1)
            index = try skipToken(bytes, index)
            let afterName = skipBlanks(bytes, index)
            guard bytes[afterName] == UInt8(ascii: "=") else { continue }
            index = skipBlanks(bytes, afterName + 1)
            index = bytes[index] == UInt8(ascii: "\"") ? try skipQuoted(bytes, index + 1) : try skipToken(bytes, index)
        }
        return index
    }

    private func skipBlanks(_ bytes: UnsafePointer<UInt8>, _ start: Int) -> Int {
        var index = start
        while bytes[index] == UInt8(ascii: " ") || bytes[index] == UInt8(ascii: "\t") { index += 1 }
        return index
    }

    private func skipToken(_ bytes: UnsafePointer<UInt8>, _ start: Int) throws(ScanStop) -> Int {
        var index = start
        while isTokenByte(bytes[index]) { index += 1 }
        guard index > start else { throw .bad("chunk extension is no token") }
        return index
    }

    /// RFC 9110 §5.6.4; returns where the closing quote is over.
    private func skipQuoted(_ bytes: UnsafePointer<UInt8>, _ start: Int) throws(ScanStop) -> Int {
        var index = start
        while bytes[index] != UInt8(ascii: "\"") {
            if bytes[index] == UInt8(ascii: "\\") { index += 1 }
            guard bytes[index] == UInt8(ascii: "\t") || (bytes[index] >= 0x20 && bytes[index] != 0x7f) else {
                throw .bad("control character in a chunk extension")
            }
            index += 1
        }
        return index + 1
    }

    // MARK: Trailers

    private mutating func readTrailers(_ bytes: UnsafePointer<UInt8>, _ start: Int, _ end: Int) throws(ScanStop) -> Int {
        let limit = min(end, start + headerBytes)
        let isWhole = end - start >= headerBytes
        while true {
            let lineStart = start + checked
            if lineStart < limit, bytes[lineStart] == carriageReturn, lineStart + 1 < limit { return try endOfLine(bytes, lineStart, limit) }
            let lineEnd = try findLineEnd(bytes, lineStart, limit, isWhole: isWhole, .refused(.headerTooLarge), base: start)
            guard lineCount < headerCount else { throw .refused(.headerTooLarge) }
            checked = try checkLine(bytes, from: lineStart, to: lineEnd + 1) - start
            lineCount += 1
        }
    }

    /// The next line feed. Bytes in which there was none are not searched again when more have come.
    /// - Parameters:
    ///   - isWhole: no more bytes may come before it: then its absence is `refusal`.
    ///   - base: what `searched` counts from, and what the next call's bytes begin with.
    private mutating func findLineEnd(
        _ bytes: UnsafePointer<UInt8>, _ start: Int, _ end: Int, isWhole: Bool, _ refusal: ScanStop, base: Int? = nil
    ) throws(ScanStop) -> Int {
        let base = base ?? start
        var index = max(start, base + searched)
        while index < end {
            if bytes[index] == lineFeed {
                searched = 0
                return index
            }
            index += 1
        }
        if isWhole { throw refusal }
        searched = max(0, end - base)
        throw .short
    }
}

/// Scans a trailer section that a `ChunkedDecoder` has found, so that what must not be forwarded can be left out. One for each loop;
/// what it finds is valid until its next scan.
final class TrailerScanner {
    private let fields: FieldScanner

    init(limits: HeadLimits) { fields = FieldScanner(limits: limits) }

    /// Nil if it is no well-formed section within the limits, which the decoder's never is.
    func scan(_ section: UnsafeRawBufferPointer) -> FieldSection? {
        guard let base = section.baseAddress else { return nil }
        do throws(ScanStop) {
            _ = try fields.scan(base.assumingMemoryBound(to: UInt8.self), from: 0, to: section.count)
            return fields.section
        } catch {
            return nil
        }
    }
}

@available(*, unavailable)
extension TrailerScanner: Sendable {}
