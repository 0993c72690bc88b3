// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// The elements of a comma-separated list without quoted strings (RFC 9110 §5.6.1), white space around them and empty ones left out.
struct ListElements: IteratorProtocol {
    private let bytes: UnsafeRawBufferPointer
    private var index: Int
    private let end: Int

    init(_ bytes: UnsafeRawBufferPointer, _ range: ByteRange) {
        self.bytes = bytes
        index = Int(range.start)
        end = Int(range.end)
    }

    mutating func next() -> ByteRange? {
        while index < end {
            let start = index
            while index < end, bytes[index] != UInt8(ascii: ",") { index &+= 1 }
            let element = trimmed(start, index)
            index &+= 1
            if !element.isEmpty { return element }
        }
        return nil
    }

    private func trimmed(_ start: Int, _ end: Int) -> ByteRange {
        var start = start
        var end = end
        while start < end, isBlank(bytes[start]) { start &+= 1 }
        while start < end, isBlank(bytes[end &- 1]) { end &-= 1 }
        return ByteRange(start, end)
    }

    private func isBlank(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }
}

/// Whether the bytes in the range spell the word, ASCII letters compared without case. The word is given in lower case.
@inline(__always)
func equalIgnoringCase(_ bytes: UnsafeRawBufferPointer, _ range: ByteRange, _ word: StaticString) -> Bool {
    guard range.count == word.utf8CodeUnitCount else { return false }
    let start = Int(range.start)
    for index in 0..<range.count where lowercased(bytes[start &+ index]) != word.utf8Start[index] { return false }
    return true
}

@inline(__always)
func lowercased(_ byte: UInt8) -> UInt8 {
    byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte
}

@inline(__always)
func hexDigit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    default: nil
    }
}

/// What a message says of its body's length; nil where it says nothing. What two parsers could read differently is refused:
/// both ways at once, a length twice (even the same) or no plain number, codings other than exactly one `chunked`, and any
/// coding in HTTP/1.0 (RFC 9112 §6.1, §6.3).
func bodyLength(_ bytes: UnsafeRawBufferPointer, _ section: FieldSection, minorVersion: Int) throws(ScanStop) -> BodyFraming? {
    if section.repeated.contains(.contentLength) { throw .bad("more than one Content-Length") }
    if let coding = section.first(.transferEncoding) {
        if section.seen.contains(.contentLength) { throw .bad("both Content-Length and Transfer-Encoding") }
        if section.repeated.contains(.transferEncoding) { throw .bad("more than one Transfer-Encoding") }
        if minorVersion == 0 { throw .bad("Transfer-Encoding in HTTP/1.0") }
        guard equalIgnoringCase(bytes, coding.value, "chunked") else { throw .bad("Transfer-Encoding is not chunked") }
        return .chunked
    }
    guard let length = section.first(.contentLength) else { return nil }
    guard let count = decimal(bytes, length.value) else { throw .bad("Content-Length is no number, or too great") }
    return .counted(count)
}

/// Digits only, at least one, at most `Int64.max`.
private func decimal(_ bytes: UnsafeRawBufferPointer, _ range: ByteRange) -> Int64? {
    guard !range.isEmpty else { return nil }
    var number: Int64 = 0
    for index in Int(range.start)..<Int(range.end) {
        let digit = bytes[index] &- UInt8(ascii: "0")
        guard digit < 10 else { return nil }
        let (tens, tensOverflow) = number.multipliedReportingOverflow(by: 10)
        let (sum, sumOverflow) = tens.addingReportingOverflow(Int64(digit))
        if tensOverflow || sumOverflow { return nil }
        number = sum
    }
    return number
}

extension FieldLine {
    /// Whether it was written as one would: one space before the value, nothing after it. Other white space is allowed, but not every
    /// parser takes `chunked` and a tab for `chunked`: where that could tear two messages apart, the line is written anew.
    @inline(__always)
    func isPlain(_ bytes: UnsafeRawBufferPointer) -> Bool {
        value.start == name.end &+ 2 && bytes[Int(name.end) &+ 1] == UInt8(ascii: " ") && bytes[Int(value.end)] == carriageReturn
    }
}

/// What the Connection fields of a message say (RFC 9110 §7.6.1).
struct ConnectionOptions {
    private(set) var close = false
    private(set) var keepAlive = false
    private(set) var upgrade = false
    /// Names something besides these and `te`.
    private(set) var others = false

    init(_ bytes: UnsafeRawBufferPointer, _ section: FieldSection) throws(ScanStop) {
        guard let first = section.first(.connection) else { return }
        try add(bytes, first.value)
        guard section.repeated.contains(.connection) else { return }
        var isFirst = true
        for index in 0..<section.count where section[index].kind == .connection {
            if !isFirst { try add(bytes, section[index].value) }
            isFirst = false
        }
    }

    private mutating func add(_ bytes: UnsafeRawBufferPointer, _ value: ByteRange) throws(ScanStop) {
        var elements = ListElements(bytes, value)
        while let element = elements.next() {
            if equalIgnoringCase(bytes, element, "close") {
                close = true
            } else if equalIgnoringCase(bytes, element, "keep-alive") {
                keepAlive = true
            } else if equalIgnoringCase(bytes, element, "upgrade") {
                upgrade = true
            } else if !equalIgnoringCase(bytes, element, "te") {
                guard isToken(bytes, element) else { throw .bad("Connection names something that is no token") }
                others = true
            }
        }
    }

    /// RFC 9112 §9.3.
    func keepsAlive(minorVersion: Int) -> Bool { minorVersion == 0 ? keepAlive && !close : !close }

    /// The one protocol of the one Upgrade field, `token` or `token/token` (RFC 9110 §7.8), where Connection names it. HTTP/1.0 has none.
    func upgrade(_ bytes: UnsafeRawBufferPointer, _ section: FieldSection, minorVersion: Int) -> ByteRange? {
        guard upgrade, minorVersion == 1, !section.repeated.contains(.upgrade), let value = section.first(.upgrade)?.value else { return nil }
        var name = value
        if let slash = (Int(value.start)..<Int(value.end)).first(where: { bytes[$0] == UInt8(ascii: "/") }) {
            name.end = Int32(truncatingIfNeeded: slash)
            guard isToken(bytes, ByteRange(slash + 1, Int(value.end))) else { return nil }
        }
        return isToken(bytes, name) ? value : nil
    }
}

func isToken(_ bytes: UnsafeRawBufferPointer, _ range: ByteRange) -> Bool {
    for index in Int(range.start)..<Int(range.end) where !isTokenByte(bytes[index]) { return false }
    return !range.isEmpty
}
