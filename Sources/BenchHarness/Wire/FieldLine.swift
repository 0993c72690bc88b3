// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// One field line of an answer (RFC 9112 §5), checked. Borrows the bytes that it was made of.
struct FieldLine {
    let name: UnsafeBufferPointer<UInt8>
    /// Without the blanks around it.
    let value: UnsafeBufferPointer<UInt8>

    /// Nil for what is none: no colon, a name that is no token, a folded line, a control character.
    init?(_ line: UnsafeBufferPointer<UInt8>) {
        var colon = 0
        while colon < line.count, isTokenByte(line[colon]) { colon &+= 1 }
        guard colon > 0, colon < line.count, line[colon] == UInt8(ascii: ":"), isText(line, from: colon) else { return nil }
        var start = colon &+ 1
        var end = line.count
        while start < end, isBlank(line[start]) { start &+= 1 }
        while end > start, isBlank(line[end &- 1]) { end &-= 1 }
        name = UnsafeBufferPointer(rebasing: line[..<colon])
        value = UnsafeBufferPointer(rebasing: line[start..<end])
    }
}

@inline(__always)
private func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

/// RFC 9110 §5.6.2 `tchar`, as two sets of 64 bits.
@inline(__always)
private func isTokenByte(_ byte: UInt8) -> Bool {
    let set: UInt64 = byte < 64 ? 0x03ff_6cfa_0000_0000 : 0x57ff_ffff_c7ff_fffe
    return byte < 128 && (set &>> UInt64(byte & 63)) & 1 != 0
}

/// Whether no control character but HTAB follows.
@inline(__always)
func isText(_ line: UnsafeBufferPointer<UInt8>, from start: Int) -> Bool {
    var index = start
    while index < line.count {
        let byte = line[index]
        guard byte >= 0x20 && byte != 0x7f || byte == 0x09 else { return false }
        index &+= 1
    }
    return true
}

/// - Parameter word: in lower case; letters of the other are compared without case.
@inline(__always)
func equals(_ text: UnsafeBufferPointer<UInt8>, _ word: StaticString) -> Bool {
    guard text.count == word.utf8CodeUnitCount else { return false }
    for index in 0..<text.count {
        let byte = text[index]
        let lower = byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte
        guard lower == word.utf8Start[index] else { return false }
    }
    return true
}

/// The members of a comma-separated list of tokens (RFC 9110 §5.6.1), without blanks around them; empty ones are left out.
/// False where one is no token.
@inline(__always)
func forEachToken(_ value: UnsafeBufferPointer<UInt8>, _ body: (UnsafeBufferPointer<UInt8>) -> Void) -> Bool {
    var start = 0
    while start < value.count {
        var end = start
        while end < value.count, value[end] != UInt8(ascii: ",") { end &+= 1 }
        var first = start
        var last = end
        while first < last, isBlank(value[first]) { first &+= 1 }
        while last > first, isBlank(value[last &- 1]) { last &-= 1 }
        let member = UnsafeBufferPointer(rebasing: value[first..<last])
        guard member.allSatisfy(isTokenByte) else { return false }
        if !member.isEmpty { body(member) }
        start = end &+ 1
    }
    return true
}

/// Nil for anything but digits, and for too many of them.
func decimal(_ text: UnsafeBufferPointer<UInt8>) -> Int? {
    guard !text.isEmpty, text.count <= ResponseParser.lengthDigits else { return nil }
    var number = 0
    for byte in text {
        let digit = byte &- 0x30
        guard digit < 10 else { return nil }
        number = number &* 10 &+ Int(digit)
    }
    return number
}

@inline(__always)
func hexadecimalDigit(_ byte: UInt8) -> Int? {
    if byte &- 0x30 < 10 { return Int(byte &- 0x30) }
    let letter = (byte | 0x20) &- UInt8(ascii: "a")
    return letter < 6 ? Int(letter) &+ 10 : nil
}
