// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation

/// The system's list of TCP connections over IPv4: what a process still holds, whatever its peer can see of it.
package enum SocketTable {
    /// How many connections to a port are held by who opened them.
    package static func connections(to port: Int) throws -> Int { try rows().count { $0.remote == port } }

    /// How many connections that were accepted at a port are held by who accepted them.
    package static func connections(acceptedAt port: Int) throws -> Int { try rows().count { $0.local == port && $0.remote != 0 } }

    /// How many bytes lie in the system for connections that were accepted at a port, and are not read.
    package static func unread(at port: Int) throws -> Int { try rows().reduce(0) { $0 + ($1.local == port && $1.remote != 0 ? $1.unread : 0) } }

    /// Only those that have an inode: the rest belongs to no process any more.
    private static func rows() throws -> [(local: Int, remote: Int, unread: Int)] {
        // In pieces: the file says that it has no length, and Foundation's own reading of a whole one then stops after the first.
        guard let file = FileHandle(forReadingAtPath: "/proc/net/tcp") else { throw SocketError(call: "open") }
        var table = Data()
        while let piece = try file.read(upToCount: 65536), !piece.isEmpty { table += piece }
        return String(decoding: table, as: UTF8.self).split(separator: "\n").dropFirst().compactMap { line in
            let words = line.split(separator: " ")
            guard words.count > 9, words[9] != "0", let local = Int(words[1].suffix(4), radix: 16), let remote = Int(words[2].suffix(4), radix: 16)
            else { return nil }
            return (local, remote, Int(words[4].suffix(8), radix: 16) ?? 0)
        }
    }
}
