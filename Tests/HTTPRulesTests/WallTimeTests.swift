// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc
import Testing
import WallTime

@testable import Control
@testable import Gateway

@Suite("The time of day")
struct WallTimeTests {
    @Test("A day's date leads back to the day, through four hundred years and around the year 1")
    func dates() {
        for days in Array(Int64(-60)...146_200) + Array(Int64(-719_530)...(-719_100)) {
            let date = CivilDate(daysSince1970: days)
            guard date.daysSince1970 == days else {
                Issue.record("\(days) is \(date)")
                return
            }
        }
    }

    @Test("A day's date is what the C library says that it is")
    func library() {
        for days in stride(from: Int64(-719_528), through: 2_932_896, by: 97) {
            var time = time_t(days * 86_400)
            var parts = tm()
            gmtime_r(&time, &parts)
            let theirs = CivilDate(year: Int64(parts.tm_year) + 1900, month: Int64(parts.tm_mon) + 1, day: Int64(parts.tm_mday))
            guard CivilDate(daysSince1970: days) == theirs else {
                Issue.record("day \(days) is \(theirs)")
                return
            }
        }
    }

    @Test(
        "The access log and the APIs spell a moment alike",
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (1, "1970-01-01T00:00:00.001Z"), (951_827_696_789, "2000-02-29T12:34:56.789Z"),
            (1_769_862_896_789, "2026-01-31T12:34:56.789Z"), (-1000, "1969-12-31T23:59:59.000Z"), (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] as [(Int64, String)])
    func spellings(time: Int64, spelling: String) {
        #expect(Timestamp.spelling(time) == spelling)
        var clock = WallClock()
        var room = [UInt8](repeating: 0, count: WallClock.length)
        let second = floorDivide(time, 1000)
        room.withUnsafeMutableBytes { clock.write(second: Int(second), millisecond: Int(time - second * 1000), to: $0) }
        #expect(String(decoding: room, as: UTF8.self) == spelling)
    }

    @Test("Milliseconds and seconds are of one clock, which is the system's")
    func clocks() {
        let before = systemTime(), seconds = systemSeconds(), after = systemTime(), library = Int64(time(nil))
        #expect(Double(before) / 1000 <= seconds)
        #expect(seconds < Double(after + 1) / 1000)
        #expect(abs(library - after / 1000) <= 2)
    }
}
