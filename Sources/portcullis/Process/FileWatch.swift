// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc

/// Tells when the configuration file has changed: also when it was replaced, or a link on the way to it was turned.
///
/// Looks at the file now and then instead of asking the kernel for events: those are lost on network and overlay file
/// systems, and on links that some orchestrators turn.
struct FileWatch {
    /// How often to look, and how long a changed file must be still before it is read, in nanoseconds.
    static let interval: UInt64 = 250_000_000
    static let stillness: UInt64 = 500_000_000

    private struct Mark: Equatable {
        var device: UInt
        var inode: UInt
        var size: Int
        var modified: (Int, Int)
        var changed: (Int, Int)

        init?(_ path: String) {
            var status = stat()
            guard stat(path, &status) == 0 else { return nil }
            device = UInt(status.st_dev)
            inode = UInt(status.st_ino)
            size = Int(status.st_size)
            modified = (status.st_mtim.tv_sec, status.st_mtim.tv_nsec)
            changed = (status.st_ctim.tv_sec, status.st_ctim.tv_nsec)
        }

        static func == (one: Mark, other: Mark) -> Bool {
            one.device == other.device && one.inode == other.inode && one.size == other.size && one.modified == other.modified
                && one.changed == other.changed
        }
    }

    private let path: String
    private var seen: Mark?
    private var told: Mark?
    private var since: UInt64 = 0

    init(_ path: String) {
        self.path = path
        seen = Mark(path)
        told = seen
    }

    /// True once for each change, when the file has been still for long enough. `now` in nanoseconds of any steady clock.
    mutating func hasChanged(now: UInt64) -> Bool {
        let mark = Mark(path)
        if mark != seen {
            seen = mark
            since = now
            return false
        }
        guard mark != told, now >= since + Self.stillness else { return false }
        told = mark
        return true
    }
}
