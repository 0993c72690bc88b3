// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

extension ByteBuffer {
    /// A chunk's size and its line end (RFC 9112 §7.1), without making a string of it.
    mutating func writeChunkSize(_ size: Int) {
        var shift = size > 0 ? (Int.bitWidth - size.leadingZeroBitCount - 1) & ~3 : 0
        while shift >= 0 {
            let digit = UInt8(truncatingIfNeeded: (size >> shift) & 15)
            writeInteger(digit < 10 ? UInt8(ascii: "0") &+ digit : UInt8(ascii: "a") &+ digit &- 10)
            shift -= 4
        }
        writeStaticString("\r\n")
    }
}

extension UnsafeRawBufferPointer {
    /// The bytes of a range of the head, counted from zero again.
    subscript(range: ByteRange) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: self[Int(range.start)..<Int(range.end)])
    }
}
