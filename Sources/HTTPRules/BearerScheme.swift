// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// The scheme of Authorization fields that carry tokens.
package enum BearerScheme {
    /// Where in the value of the field its bearer token stands: after the scheme, in whatever case, and spaces (RFC 6750 §2.1, RFC 9110 §11.4).
    /// Nil when the scheme is another. Can be empty; what it is made of is the verifier's to judge.
    package static func token(in value: UnsafeRawBufferPointer) -> Range<Int>? {
        let scheme: StaticString = "bearer"
        var start = scheme.utf8CodeUnitCount
        guard startsIgnoringCase(value, with: scheme) else { return nil }
        guard start == value.count || value[start] == UInt8(ascii: " ") else { return nil }
        while start < value.count, value[start] == UInt8(ascii: " ") { start &+= 1 }
        return start..<value.count
    }
}
