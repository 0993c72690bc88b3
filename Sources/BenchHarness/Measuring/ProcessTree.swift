// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc

/// A process and all that descend from it, as `/proc` shows them (proc(5)).
package struct ProcessTree: Sendable {
    package struct Usage: Sendable, Equatable {
        /// User and system time, of ended children too; the kernel counts in hundredths.
        package var cpuSeconds: Double
        /// Of all that live; memory that they share counts for each.
        package var residentBytes: Int
    }

    package let root: pid_t

    package init(root: pid_t) { self.root = root }

    /// Nil where the process is not there.
    package func usage() -> Usage? {
        guard let first = Self.read(root) else { return nil }
        var usage = Usage(cpuSeconds: 0, residentBytes: 0)
        // A child that ends between two of these looks counts in its parent's children's time from then on.
        var entries = [first]
        var todo = [root]
        while let process = todo.popLast() {
            for child in Self.children(of: process) {
                guard let entry = Self.read(child) else { continue }
                entries.append(entry)
                todo.append(child)
            }
        }
        let tick = Double(sysconf(Int32(_SC_CLK_TCK)))
        let page = sysconf(Int32(_SC_PAGESIZE))
        for entry in entries {
            usage.cpuSeconds += Double(entry.ticks) / tick
            usage.residentBytes += entry.pages * page
        }
        return usage
    }

    private static func read(_ process: pid_t) -> (ticks: Int, pages: Int)? {
        // The name of the program stands in brackets and may hold anything: what follows the last one counts.
        guard let text = text("/proc/\(process)/stat"), let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: end)...].split(separator: " ")
        // Fields 14 to 17 (utime, stime, cutime, cstime) and 24 (rss), of which the third is the first here.
        guard fields.count > 21, let pages = Int(fields[21]) else { return nil }
        return (fields[11...14].reduce(0) { $0 + (Int($1) ?? 0) }, pages)
    }

    private static func children(of process: pid_t) -> [pid_t] {
        var children: [pid_t] = []
        guard let folder = opendir("/proc/\(process)/task") else { return [] }
        defer { closedir(folder) }
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            guard let thread = pid_t(name), let text = text("/proc/\(process)/task/\(thread)/children") else { continue }
            children += text.split { $0 == " " || $0 == "\n" }.compactMap { pid_t($0) }
        }
        return children
    }

    private static func text(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while case let count = Glibc.read(descriptor, &chunk, chunk.count), count > 0 { bytes += chunk[..<count] }
        return String(decoding: bytes, as: UTF8.self)
    }
}
