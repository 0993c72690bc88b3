// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc

/// The program's own code and constants in memory.
enum ProgramPages {
    /// Lets go of those pages of code and constants that were only needed to start, some 10 MiB: whatever is used again is mapped again from the
    /// system's file cache. Called once, some time after the start; does nothing where `/proc` is not mounted.
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
        while getline(&line, &capacity, maps) > 0, let text = line {
            if let found = range(text) {
                code = found
            } else if strncmp(text, "Anonymous:", 10) == 0 {
                if strtoul(text + 10, nil, 10) == 0, let code {
                    madvise(UnsafeMutableRawPointer(bitPattern: code.lowerBound), code.count, MADV_DONTNEED)
                }
                code = nil
            }
        }
    }

    /// Of a mapping's first line: `7f0000000000-7f0000001000 r-xp 00000000 08:01 1234   /path`. Nil for any other line or mapping.
    private static func range(_ line: UnsafeMutablePointer<CChar>) -> Range<UInt>? {
        var rest: UnsafeMutablePointer<CChar>?
        let first = strtoul(line, &rest, 16)
        guard let dash = rest, dash.pointee == CChar(UInt8(ascii: "-")) else { return nil }
        let last = strtoul(dash + 1, &rest, 16)
        guard let rights = rest, strncmp(rights, " r-xp ", 6) == 0, strchr(rights, Int32(UInt8(ascii: "/"))) != nil, first < last else { return nil }
        return first..<last
    }
}
