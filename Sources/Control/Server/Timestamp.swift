// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import WallTime

/// Times as the APIs spell them: RFC 3339, UTC, milliseconds.
enum Timestamp {
    /// `2025-01-31T12:34:56.789Z`. Years 0 to 9999; what is beyond is shown as the nearest of them.
    static func spelling(_ time: UnixMilliseconds) -> String {
        let clamped = min(max(time, -62_167_219_200_000), 253_402_300_799_999)
        let days = floorDivide(clamped, 86_400_000)
        var rest = clamped - days * 86_400_000
        let date = CivilDate(daysSince1970: days)
        let milliseconds = rest % 1000
        rest /= 1000
        return pad(date.year, 4) + "-" + pad(date.month, 2) + "-" + pad(date.day, 2) + "T" + pad(rest / 3600, 2) + ":" + pad(rest / 60 % 60, 2) + ":"
            + pad(rest % 60, 2) + "."
            + pad(milliseconds, 3) + "Z"
    }

    /// `Fri, 31 Jan 2025 12:34:56 GMT`: a `Date` field (RFC 9110 §5.6.7).
    static func httpDate(_ time: UnixMilliseconds) -> String {
        let days = floorDivide(time, 86_400_000), seconds = (time - days * 86_400_000) / 1000
        let date = CivilDate(daysSince1970: days)
        let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][Int(days - floorDivide(days, 7) * 7)]
        let name = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][Int(date.month - 1)]
        let clock = "\(pad(seconds / 3600, 2)):\(pad(seconds / 60 % 60, 2)):\(pad(seconds % 60, 2))"
        return "\(weekday), \(pad(date.day, 2)) \(name) \(pad(date.year, 4)) \(clock) GMT"
    }

    /// RFC 3339 §5.6 with any offset and any number of fractional digits (those after the third are cut off); nil for what is none.
    static func parse(_ text: String) -> UnixMilliseconds? {
        var rest = Array(text.utf8)[...]
        func number(_ digits: Int) -> Int64? {
            guard rest.count >= digits, rest.prefix(digits).allSatisfy(isDigit) else { return nil }
            let value = rest.prefix(digits).reduce(Int64(0)) { $0 * 10 + Int64($1 - UInt8(ascii: "0")) }
            rest = rest.dropFirst(digits)
            return value
        }
        func skip(_ letters: String) -> Bool {
            guard let first = rest.first, letters.utf8.contains(first) else { return false }
            rest = rest.dropFirst()
            return true
        }
        guard let year = number(4), skip("-"), let month = number(2), skip("-"), let day = number(2), skip("Tt "),
            let hour = number(2), skip(":"), let minute = number(2), skip(":"), let second = number(2)
        else { return nil }
        guard (1...12).contains(month), (1...daysOf(month, in: year)).contains(day), hour < 24, minute < 60, second <= 60 else { return nil }
        var milliseconds: Int64 = 0
        if skip(".") {
            let digits = rest.prefix(while: isDigit)
            guard !digits.isEmpty else { return nil }
            rest = rest.dropFirst(digits.count)
            for (place, weight) in zip(digits, [100, 10, 1] as [Int64]) { milliseconds += Int64(place - UInt8(ascii: "0")) * weight }
        }
        var offset: Int64 = 0
        if !skip("Zz") {
            let sign: Int64 = rest.first == UInt8(ascii: "-") ? -1 : 1
            guard skip("+-"), let hours = number(2), skip(":"), let minutes = number(2), hours < 24, minutes < 60 else { return nil }
            offset = sign * (hours * 3600 + minutes * 60)
        }
        guard rest.isEmpty else { return nil }
        return (CivilDate(year: year, month: month, day: day).daysSince1970 * 86_400 + hour * 3600 + minute * 60 + second - offset) * 1000
            + milliseconds
    }

    private static func daysOf(_ month: Int64, in year: Int64) -> Int64 {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    private static func pad(_ value: Int64, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}
