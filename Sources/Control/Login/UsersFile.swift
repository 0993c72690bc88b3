// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Tokens

/// Who can log in: lines of `user:crypt(3) hash`, as `htpasswd -B` and `mkpasswd` write them. Empty lines and lines that begin with `#` are skipped;
/// a hash that begins with `!` or `*` is a locked user, as in shadow(5).
package struct UsersFile: Sendable {
    /// Keyed by the name's bytes: two spellings of one letter are two users.
    private let hashes: [[UInt8]: PasswordHash]
    private let decoys: Decoys

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
        decoys = Decoys(Array(hashes.values))
    }

    /// Whether `password` is the user's. Takes the time of one hash whether there is such a user or not (`Decoys`); blocks, see
    /// `PasswordHash.matches`.
    func authenticates(_ user: String, password: String) -> Bool {
        let (hash, isUser) = hash(of: user)
        // A decoy may be some user's hash: what matches it authenticates nobody.
        let matches = hash?.matches(Array(password.utf8)) ?? false
        return matches && isUser
    }

    /// What a password of that name is hashed with; nil where libcrypt has not even the method of `PasswordHash.decoy`.
    func hash(of user: String) -> (hash: PasswordHash?, isUser: Bool) {
        let name = Array(user.utf8)
        guard let hash = hashes[name] else { return (decoys.hash(for: name), false) }
        return (hash, true)
    }

    /// Whether there is such a user, for the audit log: a name that is none may be a password in the wrong field.
    func knows(_ user: String) -> Bool { hashes[Array(user.utf8)] != nil }
}

/// What the passwords of unknown and of locked users are hashed with.
///
/// A file may have hashes of several kinds (method and cost), each with a time of its own. An unknown name gets one of them, each kind as often as
/// the users have it, and always the same one: so neither the time of an answer nor that of the next tells whether there is such a user.
private struct Decoys {
    /// By kind, the one with the smallest spelling first; each with how many users have it or one before it.
    private let kinds: [(hash: PasswordHash, upTo: UInt64)]
    /// Which name gets which must be nobody else's to know, and the same in the whole fleet and after a restart: so it comes from the file.
    private let key: [UInt8]

    init(_ hashes: [PasswordHash]) {
        var upTo: UInt64 = 0
        let groups = Dictionary(grouping: hashes, by: \.kind).sorted { $0.key.lexicographicallyPrecedes($1.key) }
        kinds = groups.map { _, group in
            upTo += UInt64(group.count)
            return (group[0], upTo)
        }
        // One hash alone, so that most changes of the file leave the choice as it is.
        key = hashes.map(\.text).min { $0.lexicographicallyPrecedes($1) } ?? []
    }

    func hash(for name: [UInt8]) -> PasswordHash? {
        guard let count = kinds.last?.upTo else { return PasswordHash.decoy }
        let number = Digest.sha256(Digest.sha256(key) + name).prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        // A share of the users rather than a remainder: one user more moves few names.
        let place = number.multipliedFullWidth(by: count).high
        return kinds.first { place < $0.upTo }?.hash
    }
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
