// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc

/// Comparisons of bytes without a String in between. Letters are ASCII letters; every other byte is itself.
enum ASCII {
    static func equalIgnoringCase(_ one: UnsafeRawBufferPointer, _ other: [UInt8]) -> Bool {
        guard one.count == other.count else { return false }
        for index in 0..<one.count where lowercased(one[index]) != lowercased(other[index]) { return false }
        return true
    }

    /// The word is given in lower case.
    static func equalIgnoringCase(_ one: [UInt8], _ word: StaticString) -> Bool {
        guard one.count == word.utf8CodeUnitCount else { return false }
        for index in 0..<one.count where lowercased(one[index]) != word.utf8Start[index] { return false }
        return true
    }

    /// Both ranges are of the same bytes.
    static func equalIgnoringCase(_ bytes: UnsafeRawBufferPointer, _ one: ByteRange, _ other: ByteRange) -> Bool {
        guard one.count == other.count else { return false }
        for offset in 0..<one.count where lowercased(bytes[Int(one.start) + offset]) != lowercased(bytes[Int(other.start) + offset]) { return false }
        return true
    }

    static func equal(_ bytes: UnsafeRawBufferPointer, _ range: ByteRange, _ word: [UInt8]) -> Bool {
        guard range.count == word.count else { return false }
        for offset in 0..<word.count where bytes[Int(range.start) + offset] != word[offset] { return false }
        return true
    }

    /// Not in constant time: for bytes that are no secret to who sent them.
    static func equal(_ one: UnsafeRawBufferPointer, _ other: UnsafeRawBufferPointer) -> Bool {
        guard one.count == other.count else { return false }
        guard let first = one.baseAddress, let second = other.baseAddress else { return true }
        return memcmp(first, second, one.count) == 0
    }

    static func isBlank(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }

    static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        byte &- UInt8(ascii: "0") < 10 || (byte | 0x20) &- UInt8(ascii: "a") < 26
    }

    /// The digits of hexadecimal numbers, in lower case.
    static func hexDigit(_ value: UInt64) -> UInt8 {
        let nibble = UInt8(truncatingIfNeeded: value & 15)
        return nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "a") + nibble - 10
    }
}

extension UnsafeRawBufferPointer {
    @inline(__always)
    func slice(_ range: ByteRange) -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: self[Int(range.start)..<Int(range.end)]) }
}
