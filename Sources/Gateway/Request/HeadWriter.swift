// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// Writes a head into memory that was reserved for it at once. Running out of it is a mistake in the reckoning of its caller and
/// ends the process: never a write beyond the end.
struct HeadWriter {
    private var next: UnsafeMutableRawPointer
    private var left: Int

    /// Lets `body` write into the buffer, at most `limit` bytes.
    @inline(__always)
    static func write(into buffer: inout ByteBuffer, limit: Int, _ body: (inout HeadWriter) -> Void) {
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: limit) { room in
            guard let start = room.baseAddress else { return 0 }
            var writer = HeadWriter(next: start, left: room.count)
            body(&writer)
            return room.count - writer.left
        }
    }

    @inline(__always)
    mutating func add(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress else { return }
        precondition(bytes.count <= left, "more was written than reserved")
        next.copyMemory(from: start, byteCount: bytes.count)
        next += bytes.count
        left -= bytes.count
    }

    @inline(__always)
    mutating func add(_ text: StaticString) {
        add(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    @inline(__always)
    mutating func add(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { add($0) }
    }

    @inline(__always)
    mutating func add(_ bytes: UnsafeRawBufferPointer, _ range: ByteRange) { add(bytes.slice(range)) }

    @inline(__always)
    mutating func add(byte: UInt8) {
        precondition(left > 0, "more was written than reserved")
        next.storeBytes(of: byte, as: UInt8.self)
        next += 1
        left -= 1
    }

    mutating func add(_ requestID: RequestID) { requestID.withBytes { add($0) } }

    mutating func add(_ trace: TraceParent) {
        precondition(TraceParent.length <= left, "more was written than reserved")
        trace.write(to: next)
        next += TraceParent.length
        left -= TraceParent.length
    }

    /// Three digits.
    mutating func add(status: Int) {
        add(byte: UInt8(ascii: "0") + UInt8(truncatingIfNeeded: status / 100 % 10))
        add(byte: UInt8(ascii: "0") + UInt8(truncatingIfNeeded: status / 10 % 10))
        add(byte: UInt8(ascii: "0") + UInt8(truncatingIfNeeded: status % 10))
    }
}
