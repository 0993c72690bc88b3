// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc

/// A text that is the same as another only when its bytes are, as in Redis; Swift's `==` also takes different spellings of one text for the same
/// (see `UserID`), and session ids of other issuers may be any text.
struct ExactText: Hashable, Sendable {
    let text: String

    init(_ text: String) { self.text = text }

    static func == (one: ExactText, other: ExactText) -> Bool {
        guard one.text.utf8.count == other.text.utf8.count else { return false }
        let isSame = one.text.utf8.withContiguousStorageIfAvailable { one in
            other.text.utf8.withContiguousStorageIfAvailable { other in
                guard let first = one.baseAddress, let second = other.baseAddress else { return true }
                return memcmp(first, second, one.count) == 0
            }
        }
        return (isSame ?? nil) ?? one.text.utf8.elementsEqual(other.text.utf8)
    }

    /// All bytes at once, wherever they are: one at a time would be a call for each.
    func hash(into hasher: inout Hasher) {
        hasher.combine(text.utf8.count)
        if text.utf8.withContiguousStorageIfAvailable({ hasher.combine(bytes: UnsafeRawBufferPointer($0)) }) == nil {
            Array(text.utf8).withUnsafeBytes { hasher.combine(bytes: $0) }
        }
    }
}

extension Dictionary where Key == ExactText {
    subscript(text: String) -> Value? {
        get { self[ExactText(text)] }
        set { self[ExactText(text)] = newValue }
    }
}
