// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// The cookies of one Cookie field (RFC 6265 §5.4), in order: separated by `;`, blanks around them left out, empty ones too.
///
/// Ranges count in the bytes that were given, which must stay where they are as long as this is used.
package struct Cookies {
    package struct Cookie {
        /// Name, `=` and value.
        package let whole: Range<Int>
        package let name: Range<Int>
        /// Empty also where there is no `=`.
        package let value: Range<Int>
    }

    private let bytes: UnsafeRawBufferPointer
    private var index: Int
    private let end: Int

    /// - Parameter field: where in `bytes` the field's value stands.
    package init(_ bytes: UnsafeRawBufferPointer, _ field: Range<Int>) {
        self.bytes = bytes
        index = field.lowerBound
        end = field.upperBound
    }

    package mutating func next() -> Cookie? {
        while index < end {
            var stop = index
            while stop < end, bytes[stop] != UInt8(ascii: ";") { stop &+= 1 }
            let whole = trimmed(index, stop)
            index = stop &+ 1
            if !whole.isEmpty { return cookie(whole) }
        }
        return nil
    }

    private func cookie(_ whole: Range<Int>) -> Cookie {
        var equals = whole.lowerBound
        while equals < whole.upperBound, bytes[equals] != UInt8(ascii: "=") { equals &+= 1 }
        let hasValue = equals < whole.upperBound
        // Upstreams that are lenient about blanks before the "=" must not find a cookie that we did not.
        return Cookie(
            whole: whole, name: trimmed(whole.lowerBound, equals),
            value: hasValue ? trimmed(equals &+ 1, whole.upperBound) : whole.upperBound..<whole.upperBound)
    }

    private func trimmed(_ start: Int, _ end: Int) -> Range<Int> {
        var start = start
        var end = end
        while start < end, isBlank(bytes[start]) { start &+= 1 }
        while start < end, isBlank(bytes[end &- 1]) { end &-= 1 }
        return start..<end
    }
}
