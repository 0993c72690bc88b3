// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Tokens

/// Who can log in: lines of `user:crypt(3) hash`, as `htpasswd -B` and `mkpasswd` write them. Empty lines and lines that begin with `#` are skipped;
/// a hash that begins with `!` or `*` is a locked user, as in shadow(5).
package struct UsersFile: Sendable {
    /// Keyed by the name's bytes: two spellings of one letter are two users.
    private let hashes: [[UInt8]: PasswordHash]
    /// What an unknown user's password is hashed with, so that it takes as long as a known one's: a hash of the file's most frequent kind.
    private let decoy: PasswordHash?

    package init(parsing bytes: [UInt8]) throws(UsersFileProblem) {
        var hashes: [[UInt8]: PasswordHash] = [:]
        var locked: Set<[UInt8]> = []
        for (index, line) in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            let line = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
            guard let first = line.first, first != UInt8(ascii: "#") else { continue }
            func problem(_ reason: UsersFileProblem.Reason) -> UsersFileProblem { UsersFileProblem(line: index + 1, reason: reason) }
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { throw problem(.noColon) }
            let name = Array(line[..<colon])
            guard let text = String(validating: name, as: UTF8.self), IdentifierRules.isUser(text) else { throw problem(.noUser) }
            guard hashes[name] == nil, !locked.contains(name) else { throw problem(.repeated) }
            let hash = Array(line[(colon + 1)...])
            if let mark = hash.first, mark == UInt8(ascii: "!") || mark == UInt8(ascii: "*") {
                locked.insert(name)
                continue
            }
            guard let hash = PasswordHash(hash) else { throw problem(.noHash) }
            hashes[name] = hash
        }
        self.hashes = hashes
        // It may be some user's: what matches it authenticates nobody (`authenticates`).
        let frequent = Dictionary(grouping: hashes.values, by: \.kind).values.max { $0.count < $1.count }
        decoy = frequent?.first ?? PasswordHash.decoy
    }

    /// Whether `password` is the user's. Takes the time of one hash whether there is such a user or not; blocks, see `PasswordHash.matches`.
    func authenticates(_ user: String, password: String) -> Bool {
        let known = hashes[Array(user.utf8)]
        let matches = (known ?? decoy)?.matches(Array(password.utf8)) ?? false
        return matches && known != nil
    }

    /// Whether there is such a user, for the audit log: a name that is none may be a password in the wrong field.
    func knows(_ user: String) -> Bool { hashes[Array(user.utf8)] != nil }
}

/// Why a users file cannot be used; never holds a word of the file.
package struct UsersFileProblem: Error, Sendable, Equatable, CustomStringConvertible {
    enum Reason: String, Sendable {
        case noColon = "has no colon, user:hash is needed"
        case noUser = "has no usable user name (1 to 256 bytes of UTF-8, no control characters, no blank at an end)"
        case repeated = "names a user again"
        case noHash = "has no hash that the system's crypt(3) understands (htpasswd -B and mkpasswd write such hashes)"
    }

    /// Counted from 1.
    package let line: Int
    let reason: Reason

    package var description: String { "line \(line) \(reason.rawValue)" }
}
