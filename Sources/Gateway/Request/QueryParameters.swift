// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

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
