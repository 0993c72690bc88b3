// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// The cookies of one Cookie field (RFC 6265 §5.4), in order: separated by `;`, blanks around them left out, empty ones too.
struct Cookies: IteratorProtocol {
    struct Cookie {
        /// Name, `=` and value.
        var whole: ByteRange
        var name: ByteRange
        /// Empty also where there is no `=`.
        var value: ByteRange
    }

    private let bytes: UnsafeRawBufferPointer
    private var index: Int
    private let end: Int

    init(_ bytes: UnsafeRawBufferPointer, _ field: ByteRange) {
        self.bytes = bytes
        index = Int(field.start)
        end = Int(field.end)
    }

    mutating func next() -> Cookie? {
        while index < end {
            var stop = index
            while stop < end, bytes[stop] != UInt8(ascii: ";") { stop &+= 1 }
            let whole = trimmed(index, stop)
            index = stop &+ 1
            if !whole.isEmpty { return cookie(whole) }
        }
        return nil
    }

    private func cookie(_ whole: ByteRange) -> Cookie {
        var equals = Int(whole.start)
        while equals < Int(whole.end), bytes[equals] != UInt8(ascii: "=") { equals &+= 1 }
        let hasValue = equals < Int(whole.end)
        // Upstreams that are lenient about blanks before the "=" must not find a cookie that we did not.
        let name = trimmed(Int(whole.start), equals)
        return Cookie(whole: whole, name: name, value: hasValue ? trimmed(equals + 1, Int(whole.end)) : ByteRange(start: whole.end, end: whole.end))
    }

    private func trimmed(_ start: Int, _ end: Int) -> ByteRange {
        var start = start
        var end = end
        while start < end, ASCII.isBlank(bytes[start]) { start &+= 1 }
        while start < end, ASCII.isBlank(bytes[end &- 1]) { end &-= 1 }
        return ByteRange(start, end)
    }
}

/// The parameters of one query, separated by `&`, none left out.
struct QueryParameters: IteratorProtocol {
    struct Parameter {
        var whole: ByteRange
        var name: ByteRange
        var value: ByteRange
    }

    private let bytes: UnsafeRawBufferPointer
    private var index: Int
    private let end: Int

    init(_ bytes: UnsafeRawBufferPointer, _ query: ByteRange) {
        self.bytes = bytes
        index = Int(query.start)
        end = Int(query.end)
    }

    mutating func next() -> Parameter? {
        guard index <= end else { return nil }
        var stop = index
        while stop < end, bytes[stop] != UInt8(ascii: "&") { stop &+= 1 }
        let whole = ByteRange(index, stop)
        var equals = index
        while equals < stop, bytes[equals] != UInt8(ascii: "=") { equals &+= 1 }
        index = stop &+ 1
        return Parameter(whole: whole, name: ByteRange(Int(whole.start), equals), value: ByteRange(min(equals + 1, stop), stop))
    }

    /// Whether the name, its escapes decoded, is the given one: an upstream decodes them, too.
    static func isNamed(_ bytes: UnsafeRawBufferPointer, _ name: ByteRange, _ expected: [UInt8]) -> Bool {
        var index = Int(name.start)
        var matched = 0
        while index < Int(name.end) {
            var byte = bytes[index]
            if byte == UInt8(ascii: "%"), index + 2 < Int(name.end), let high = hexDigit(bytes[index + 1]), let low = hexDigit(bytes[index + 2]) {
                byte = high << 4 | low
                index += 2
            } else if byte == UInt8(ascii: "+") {
                byte = UInt8(ascii: " ")
            }
            guard matched < expected.count, byte == expected[matched] else { return false }
            matched += 1
            index += 1
        }
        return matched == expected.count
    }
}
