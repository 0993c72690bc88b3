// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc

/// What a user's name and a session's id may be, wherever they come from: a claim, a path, a login.
///
/// They end in header fields, log lines and store keys, so they are bounded and have no control characters (Unicode
/// category Cc, which includes C1). A user has no blank at an end, because a field's value loses it on the way to the upstream
/// and would name somebody else there.
package enum IdentifierRules {
    /// Bytes of UTF-8.
    package static let byteLimit = 256

    package static func isUser(_ text: String) -> Bool {
        guard isSession(text), let first = text.unicodeScalars.first, let last = text.unicodeScalars.last else { return false }
        return !isBlank(first) && !isBlank(last)
    }

    package static func isSession(_ text: String) -> Bool {
        guard (1...byteLimit).contains(text.utf8.count) else { return false }
        // ASCII, as nearly all are, has no other control characters than those below the blank and DEL.
        if text.utf8.withContiguousStorageIfAvailable({ $0.allSatisfy { $0 &- 0x20 < 0x5F } }) == true { return true }
        return text.unicodeScalars.allSatisfy { !isControl($0) }
    }

    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
    }

    private static func isBlank(_ scalar: Unicode.Scalar) -> Bool {
        scalar == " " || (!scalar.isASCII && scalar.properties.isWhitespace)
    }
}

extension String {
    /// Whether both are the same bytes of UTF-8. `==` compares by Unicode's canonical equivalence, so that two names which
    /// a store keeps apart could pass for each other.
    package func isIdentical(to other: String) -> Bool {
        // Asked for every claim and member's name, and for most the lengths differ.
        guard utf8.count == other.utf8.count else { return false }
        let isSame = utf8.withContiguousStorageIfAvailable { mine in
            other.utf8.withContiguousStorageIfAvailable { others in
                guard let first = mine.baseAddress, let second = others.baseAddress else { return true }
                return memcmp(first, second, mine.count) == 0
            }
        }
        return (isSame ?? nil) ?? utf8.elementsEqual(other.utf8)
    }
}
