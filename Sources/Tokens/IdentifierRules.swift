// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

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
        let (mine, others) = (utf8, other.utf8)
        return mine.count == others.count && mine.elementsEqual(others)
    }
}
