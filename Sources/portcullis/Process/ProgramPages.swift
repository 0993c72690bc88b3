// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc

/// The program's own code and constants in memory.
enum ProgramPages {
    /// Lets go of those pages of code and constants that were only needed to start, some 10 MiB: whatever is used again is mapped again from the
    /// system's file cache. Called once, after the start; does nothing where `/proc` is not mounted.
    ///
    /// Only mappings of files that may be executed and not written, and of which no page was written all the same (`Anonymous`, proc_pid_smaps(5)), as
    /// a debugger's or a tracer's breakpoints are: so that nothing is lost.
    static func letGoOfStart() {
        guard let maps = fopen("/proc/self/smaps", "re") else { return }
        defer { fclose(maps) }
        var line: UnsafeMutablePointer<CChar>?
        var capacity = 0
        defer { free(line) }
        var code: Range<UInt>?
        while getline(&line, &capacity, maps) > 0, let text = line.map({ String(cString: $0) }) {
            let fields = text.split(whereSeparator: \.isWhitespace)
            if let found = range(fields) {
                code = found
            } else if fields.count == 3, fields[0] == "Anonymous:" {
                if fields[1] == "0", let code { madvise(UnsafeMutableRawPointer(bitPattern: code.lowerBound), code.count, MADV_DONTNEED) }
                code = nil
            }
        }
    }

    /// Of a mapping's first line: `7f0000000000-7f0000001000 r-xp 00000000 08:01 1234   /path`. Nil for any other line or mapping.
    private static func range(_ fields: [Substring]) -> Range<UInt>? {
        guard fields.count >= 6, fields[1] == "r-xp", fields[5].hasPrefix("/") else { return nil }
        let ends = fields[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
        return ends.count == 2 && ends[0] < ends[1] ? ends[0]..<ends[1] : nil
    }
}
