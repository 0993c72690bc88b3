// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// Why a scan ends before what it scans.
enum ScanStop: Error {
    /// All is well so far, but the bytes end.
    case short
    case refused(HeadRefusal)

    static func bad(_ reason: String) -> ScanStop { .refused(.badRequest(reason)) }
}

let carriageReturn = UInt8(ascii: "\r")
let lineFeed = UInt8(ascii: "\n")
private let space = UInt8(ascii: " ")
private let tab = UInt8(ascii: "\t")

/// Scans field lines (RFC 9112 §5) into storage of its own, up to the empty line that ends them. Used for requests, responses and
/// trailers alike. Refused are folded lines, line ends other than CRLF, names that are no token, white space before the
/// colon, and control characters other than HTAB in values; bytes above ASCII in values pass (RFC 9110 §5.5 `obs-text`).
///
/// Confined to its loop.
final class FieldScanner {
    let names = FieldNames()
    private let lines: UnsafeMutablePointer<FieldLine>
    private let firsts: UnsafeMutablePointer<Int32>
    private let capacity: Int
    /// What the last scan found, also if it stopped early.
    private(set) var section: FieldSection

    /// - Parameter limits: `headerBytes` bounds how many lines there can be at all, however large `headerCount` is.
    init(limits: HeadLimits) {
        capacity = max(0, min(limits.headerCount, limits.headerBytes / HeadLimits.shortestLine))
        lines = .allocate(capacity: max(capacity, 1))
        firsts = .allocate(capacity: Int(FieldKind.otherSpelling.rawValue) + 1)
        firsts.initialize(repeating: 0, count: Int(FieldKind.otherSpelling.rawValue) + 1)
        section = FieldSection(lines: lines, firsts: firsts)
    }

    deinit {
        lines.deallocate()
        firsts.deallocate()
    }

    /// Scans from `start`, where a line begins, and returns where the bytes after the empty line are.
    func scan(_ bytes: UnsafePointer<UInt8>, from start: Int, to end: Int) throws(ScanStop) -> Int {
        var section = FieldSection(lines: lines, firsts: firsts)
        defer { self.section = section }
        var index = start
        while true {
            guard index < end else { throw .short }
            if bytes[index] == carriageReturn { return try endOfLine(bytes, index, end) }
            guard section.count < capacity else { throw .refused(.headerTooLarge) }
            index = try scanLine(bytes, from: index, to: end, names) { line in section.append(line) }
        }
    }
}

@available(*, unavailable)
extension FieldScanner: Sendable {}

/// Scans one field line and returns where the next begins.
@inline(__always)
func scanLine(
    _ bytes: UnsafePointer<UInt8>, from start: Int, to end: Int, _ names: FieldNames, _ found: (FieldLine) -> Void
) throws(ScanStop) -> Int {
    let classes = names.classes
    var index = start
    var hash = FieldNames.hashStart
    while true {
        guard index < end else { throw .short }
        let counted = classes[Int(bytes[index])]
        if counted == FieldNames.invalid { break }
        let mixed = (hash ^ UInt32(counted)) &* FieldNames.hashPrime
        hash = counted == FieldNames.uncounted ? hash : mixed
        index &+= 1
    }
    guard bytes[index] == UInt8(ascii: ":"), index > start else { throw refusalOfName(bytes, start, index) }
    let nameEnd = index
    let kind = names.kind(bytes + start, nameEnd &- start, hash)
    index &+= 1
    while index < end, bytes[index] == space || bytes[index] == tab { index &+= 1 }
    let valueStart = index
    index = endOfText(bytes, index, end)
    guard index < end else { throw .short }
    var valueEnd = index
    index = try endOfLine(bytes, index, end)
    while valueEnd > valueStart, bytes[valueEnd &- 1] == space || bytes[valueEnd &- 1] == tab { valueEnd &-= 1 }
    found(FieldLine(name: ByteRange(start, nameEnd), value: ByteRange(valueStart, valueEnd), aliasHash: hash, kind: kind))
    return index
}

/// Checks one field line without keeping it, and returns where the next begins.
func checkLine(_ bytes: UnsafePointer<UInt8>, from start: Int, to end: Int) throws(ScanStop) -> Int {
    var index = start
    while index < end, isTokenByte(bytes[index]) { index &+= 1 }
    guard index < end else { throw .short }
    guard bytes[index] == UInt8(ascii: ":"), index > start else { throw refusalOfName(bytes, start, index) }
    index = endOfText(bytes, index &+ 1, end)
    guard index < end else { throw .short }
    return try endOfLine(bytes, index, end)
}

private func refusalOfName(_ bytes: UnsafePointer<UInt8>, _ start: Int, _ index: Int) -> ScanStop {
    switch bytes[index] {
    case space, tab: .bad(index == start ? "folded field line, or white space before the first" : "white space in a field name or before its colon")
    case UInt8(ascii: ":"): .bad("empty field name")
    case carriageReturn, lineFeed: .bad("field line without a colon, or bare CR or LF")
    default: .bad("field name is no token")
    }
}

/// Where the line that ends at `index` is over; anything but CRLF there is refused.
@inline(__always)
func endOfLine(_ bytes: UnsafePointer<UInt8>, _ index: Int, _ end: Int) throws(ScanStop) -> Int {
    guard bytes[index] == carriageReturn else { throw .bad(bytes[index] == lineFeed ? "bare LF" : "control character") }
    guard index &+ 1 < end else { throw .short }
    guard bytes[index &+ 1] == lineFeed else { throw .bad("bare CR") }
    return index &+ 2
}

/// The first byte that field values and reason phrases may not have, or `end`. Sixteen bytes a step while all is well.
@inline(__always)
func endOfText(_ bytes: UnsafePointer<UInt8>, _ start: Int, _ end: Int) -> Int {
    var index = start
    while index &+ 16 <= end {
        let first = controlsAndDelete(bytes + index)
        if first | controlsAndDelete(bytes + index + 8) == 0 {
            index &+= 16
            continue
        }
        index &+= first == 0 ? 8 : first.trailingZeroBitCount &>> 3
        guard first == 0 || bytes[index] == tab else { return index }
        if first != 0 { index &+= 1 }
    }
    while index < end, (bytes[index] >= 0x20 && bytes[index] != 0x7f) || bytes[index] == tab { index &+= 1 }
    return index
}

/// The high bit of each of the eight bytes that is below 0x20 or 0x7F. A borrow can only set wrong bits above the first right one, so
/// only the lowest counts.
@inline(__always)
private func controlsAndDelete(_ bytes: UnsafePointer<UInt8>) -> UInt64 {
    let word = UInt64(littleEndian: UnsafeRawPointer(bytes).loadUnaligned(as: UInt64.self))
    let controls = (word &- 0x2020_2020_2020_2020) & ~word
    let deletes = word ^ 0x7f7f_7f7f_7f7f_7f7f
    return (controls | ((deletes &- 0x0101_0101_0101_0101) & ~deletes)) & 0x8080_8080_8080_8080
}

/// RFC 9110 §5.6.2 `tchar`, as two sets of 64 bits.
@inline(__always)
func isTokenByte(_ byte: UInt8) -> Bool {
    let set: UInt64 = byte < 64 ? 0x03ff_6cfa_0000_0000 : 0x57ff_ffff_c7ff_fffe
    return byte < 128 && (set &>> UInt64(byte & 63)) & 1 != 0
}
