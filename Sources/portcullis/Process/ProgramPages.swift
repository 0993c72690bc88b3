// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc

/// The program's own code and constants in memory.
enum ProgramPages {
    /// Lets go of those pages of code and constants that were only needed to start, some 10 MiB: whatever is used again is mapped again from the
    /// system's file cache. Called once, after the start; does nothing where `/proc` is not mounted.
    ///
    /// Only mappings of files that are executable and have never been writable, so that nothing that was ever written can be lost.
    static func letGoOfStart() {
        guard let maps = fopen("/proc/self/maps", "re") else { return }
        defer { fclose(maps) }
        var line: UnsafeMutablePointer<CChar>?
        var capacity = 0
        defer { free(line) }
        while getline(&line, &capacity, maps) > 0, let text = line.map({ String(cString: $0) }) {
            // 7f0000000000-7f0000001000 r-xp 00000000 08:01 1234   /path
            let fields = text.split(whereSeparator: \.isWhitespace)
            guard fields.count >= 6, fields[1] == "r-xp", fields[5].hasPrefix("/") else { continue }
            let ends = fields[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
            guard ends.count == 2, ends[0] < ends[1] else { continue }
            madvise(UnsafeMutableRawPointer(bitPattern: ends[0]), Int(ends[1] - ends[0]), MADV_DONTNEED)
        }
    }
}
