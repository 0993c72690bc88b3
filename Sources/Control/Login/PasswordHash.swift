// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import CCrypt
import Tokens

/// A password as a users file keeps it: a crypt(3) hash, which is also the setting (method, cost, salt) to hash an attempt with.
struct PasswordHash: Sendable {
    /// Longer than any method's output; libcrypt's own limit is 384.
    static let byteLimit = 383

    /// Of a password that can match, in bytes: libcrypt's `CRYPT_MAX_PASSPHRASE_SIZE` without the closing NUL.
    static let passwordByteLimit = 511

    /// Without the closing NUL.
    let text: [UInt8]

    /// Characters of the shortest digest of a method that is accepted (MD5).
    private static let shortestDigest = 22

    /// What an unknown user is hashed with where a file has no hash to take the cost from. It has no digest: nothing matches it.
    static let decoy = PasswordHash(setting: Array("$6$portcullis.decoy$".utf8))

    /// Nil where the text is no whole hash that the system's libcrypt understands. The methods without `$` are refused: they look at eight characters,
    /// and take a password that somebody wrote down as it is for a hash.
    init?(_ text: [UInt8]) {
        let dollar = UInt8(ascii: "$")
        guard text.first == dollar, text.suffix(Self.shortestDigest).count == Self.shortestDigest, !text.suffix(Self.shortestDigest).contains(dollar)
        else { return nil }
        self.init(setting: text)
    }

    private init?(setting text: [UInt8]) {
        guard text.count <= Self.byteLimit, !text.contains(0) else { return nil }
        let understood = Self.withCString(text) { portcullis_crypt_understands($0) != 0 }
        guard understood else { return nil }
        self.text = text
    }

    /// Method and cost, without salt and digest: hashes with the same kind take the same time. (`$id$param$salt$digest`; what has no `$` is one kind.)
    var kind: ArraySlice<UInt8> {
        let dollar = UInt8(ascii: "$")
        guard text.first == dollar else { return [] }
        let fields = text.split(separator: dollar, omittingEmptySubsequences: false)  // "", id, param or salt, …
        guard fields.count > 2 else { return text[...] }
        // bcrypt and yescrypt always have a cost here; sha256crypt and sha512crypt only as `rounds=N`.
        let isCost =
            fields[1].first.map { $0 == UInt8(ascii: "2") || $0 == UInt8(ascii: "y") || $0 == UInt8(ascii: "g") || $0 == UInt8(ascii: "7") } ?? false
        return isCost || fields[2].starts(with: Array("rounds=".utf8)) ? text[..<fields[2].endIndex] : text[..<fields[1].endIndex]
    }

    /// Hashes `password` and compares in constant time. Milliseconds to seconds of CPU time: never on an event loop.
    ///
    /// A password with a NUL is no match, as the C interface would see only what stands before it, nor is one of more than `passwordByteLimit`,
    /// which libcrypt does not take; each costs a hash all the same.
    func matches(_ password: [UInt8]) -> Bool {
        let phrase = password.filter { $0 != 0 }.prefix(Self.passwordByteLimit)
        var output = [CChar](repeating: 0, count: Self.byteLimit + 1)
        let status = Self.withCString(Array(phrase)) { phrase in
            Self.withCString(text) { setting in portcullis_crypt(phrase, setting, &output, output.count) }
        }
        guard status == 0 else { return false }
        let hash = output.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return Digest.constantTimeEquals(hash, text) && phrase.count == password.count
    }

    private static func withCString<Result>(_ bytes: [UInt8], _ body: (UnsafePointer<CChar>) -> Result) -> Result {
        (bytes + [0]).withUnsafeBufferPointer { buffer in
            buffer.withMemoryRebound(to: CChar.self) { characters in
                guard let start = characters.baseAddress else { preconditionFailure("an array with a NUL is not empty") }
                return body(start)
            }
        }
    }
}
