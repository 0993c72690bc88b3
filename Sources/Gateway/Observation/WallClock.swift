// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc

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
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        write(second: time.tv_sec, millisecond: time.tv_nsec / 1_000_000, to: room)
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
        let days = now >= 0 ? now / 86_400 : -((86_399 - now) / 86_400)
        let rest = now - days * 86_400
        let (year, month, day) = Self.civil(days)
        withUnsafeMutableBytes(of: &prefix) { room in
            Self.put(year, digits: 4, at: 0, in: room)
            Self.put(month, digits: 2, at: 5, in: room)
            Self.put(day, digits: 2, at: 8, in: room)
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

    /// The Gregorian date of a day since 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date algorithms").
    private static func civil(_ days: Int) -> (year: Int, month: Int, day: Int) {
        let shifted = days + 719_468
        let era = shifted >= 0 ? shifted / 146_097 : -((146_096 - shifted) / 146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let index = (5 * dayOfYear + 2) / 153
        let month = index < 10 ? index + 3 : index - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * index + 2) / 5 + 1)
    }
}

/// The time as logs spell it, for whoever writes lines beside the access log.
package enum ClockText {
    package static func now() -> String { WallClock.text() }
}
