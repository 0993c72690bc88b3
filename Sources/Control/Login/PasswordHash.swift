// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import CCrypt
import Tokens

/// A password as a users file keeps it: a crypt(3) hash, which is also the setting (method, cost, salt) to hash an attempt with.
struct PasswordHash: Sendable {
    /// Longer than any method's output; libcrypt's own limit is 384.
    static let byteLimit = 383

    /// Without the closing NUL.
    let text: [UInt8]

    /// Nil where the text is none that the system's libcrypt understands.
    init?(_ text: [UInt8]) {
        guard !text.isEmpty, text.count <= Self.byteLimit, !text.contains(0) else { return nil }
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
    /// A password with a NUL is no match, as the C interface would see only what stands before it; it costs a hash all the same.
    func matches(_ password: [UInt8]) -> Bool {
        let hasNUL = password.contains(0)
        var output = [CChar](repeating: 0, count: Self.byteLimit + 1)
        let status = Self.withCString(hasNUL ? password.filter { $0 != 0 } : password) { phrase in
            Self.withCString(text) { setting in portcullis_crypt(phrase, setting, &output, output.count) }
        }
        guard status == 0 else { return false }
        let hash = output.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return Digest.constantTimeEquals(hash, text) && !hasNUL
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
