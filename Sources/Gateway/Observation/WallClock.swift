// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import WallTime

/// The time of day as logs spell it: RFC 3339, UTC, milliseconds (`2026-01-31T12:34:56.789Z`). The part before the milliseconds is made once a
/// second. A value for one thread.
struct WallClock {
    /// The length of a spelled time, in bytes.
    static let length = 24

    /// The second that `prefix` spells, since 1970.
    private var second = Int.min
    private var prefix: InlineArray<20, UInt8> = .init(repeating: 0)

    /// Now.
    static func text() -> String {
        var clock = WallClock()
        return String(unsafeUninitializedCapacity: length) { room in
            clock.write(to: UnsafeMutableRawBufferPointer(room))
            return length
        }
    }

    /// Writes the time that it is now.
    mutating func write(to room: UnsafeMutableRawBufferPointer) {
        let time = Int(systemTime())
        write(second: time / 1000, millisecond: time % 1000, to: room)
    }

    /// Exactly `length` bytes. Years 1 to 9999; what is beyond has four digits nevertheless.
    mutating func write(second now: Int, millisecond: Int, to room: UnsafeMutableRawBufferPointer) {
        if now != second { spell(now) }
        withUnsafeBytes(of: prefix) { room.copyMemory(from: $0) }
        Self.put(millisecond, digits: 3, at: 20, in: room)
        room[23] = UInt8(ascii: "Z")
    }

    private mutating func spell(_ now: Int) {
        second = now
        let days = Int(floorDivide(Int64(now), 86_400))
        let rest = now - days * 86_400
        let date = CivilDate(daysSince1970: Int64(days))
        withUnsafeMutableBytes(of: &prefix) { room in
            Self.put(Int(date.year), digits: 4, at: 0, in: room)
            Self.put(Int(date.month), digits: 2, at: 5, in: room)
            Self.put(Int(date.day), digits: 2, at: 8, in: room)
            Self.put(rest / 3600, digits: 2, at: 11, in: room)
            Self.put(rest / 60 % 60, digits: 2, at: 14, in: room)
            Self.put(rest % 60, digits: 2, at: 17, in: room)
            room[4] = UInt8(ascii: "-")
            room[7] = UInt8(ascii: "-")
            room[10] = UInt8(ascii: "T")
            room[13] = UInt8(ascii: ":")
            room[16] = UInt8(ascii: ":")
            room[19] = UInt8(ascii: ".")
        }
    }

    private static func put(_ number: Int, digits: Int, at offset: Int, in room: UnsafeMutableRawBufferPointer) {
        var rest = number.magnitude
        for index in stride(from: offset + digits - 1, through: offset, by: -1) {
            room[index] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
    }
}

/// The time as logs spell it, for whoever writes lines beside the access log.
package enum ClockText {
    package static func now() -> String { WallClock.text() }
}
