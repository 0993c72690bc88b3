// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// Names of fields of which every spelling counts: compared by their ASCII letters and digits alone, without case (contract §4.4), because some
/// upstream will take `X_Auth_User` or `XAuthUser` for `X-Auth-User`.
///
/// A look-up of a name that is not in it costs a shift; names are told apart by their bytes, never by a hash alone.
struct FieldSet: Sendable {
    /// A bit for each of the hashes' lower six bits.
    private var filter: UInt64 = 0
    private var hashes: [UInt32] = []
    /// Letters and digits in lower case.
    private var letters: [[UInt8]] = []

    init(_ names: [String]) {
        for name in names {
            let own = Self.letters(of: name)
            guard !letters.contains(own) else { continue }
            let hash = aliasHash(of: name.utf8)
            filter |= 1 << UInt64(hash & 63)
            hashes.append(hash)
            letters.append(own)
        }
    }

    private static func letters(of name: String) -> [UInt8] {
        name.utf8.filter { ASCII.isLetterOrDigit($0) }.map { lowercased($0) }
    }

    @inline(__always)
    func contains(_ bytes: UnsafeRawBufferPointer, _ name: ByteRange, hash: UInt32) -> Bool {
        if filter >> UInt64(hash & 63) & 1 == 0 { return false }
        return isOne(bytes, name, hash)
    }

    /// A name that no scanner has hashed.
    func contains(_ bytes: UnsafeRawBufferPointer, _ name: ByteRange) -> Bool {
        contains(bytes, name, hash: aliasHash(of: bytes.slice(name)))
    }

    private func isOne(_ bytes: UnsafeRawBufferPointer, _ name: ByteRange, _ hash: UInt32) -> Bool {
        for index in hashes.indices where hashes[index] == hash && Self.spells(bytes, name, letters[index]) { return true }
        return false
    }

    private static func spells(_ bytes: UnsafeRawBufferPointer, _ name: ByteRange, _ letters: [UInt8]) -> Bool {
        var matched = 0
        for index in Int(name.start)..<Int(name.end) where ASCII.isLetterOrDigit(bytes[index]) {
            guard matched < letters.count, lowercased(bytes[index]) == letters[matched] else { return false }
            matched += 1
        }
        return matched == letters.count
    }
}
