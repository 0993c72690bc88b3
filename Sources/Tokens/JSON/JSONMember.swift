// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// One member of a JSON object.
package struct JSONMember: Sendable {
    package let name: String
    package let value: JSONValue
    private let mark: NameMark

    package init(name: String, value: JSONValue) {
        self.init(name: name, mark: NameMark(name), value: value)
    }

    /// `mark` is that of the name.
    init(name: String, mark: NameMark, value: JSONValue) {
        self.name = name
        self.value = value
        self.mark = mark
    }

    /// Whether both have the same name, byte for byte.
    func isNamesake(of other: JSONMember) -> Bool {
        mark == other.mark && (mark.isWhole || name.isIdentical(to: other.name))
    }

    /// `mark` is that of the name.
    func isNamed(_ name: String, _ mark: NameMark) -> Bool {
        self.mark == mark && (mark.isWhole || self.name.isIdentical(to: name))
    }
}

/// A string in a text, without its quotes.
struct JSONStringPlace: Sendable {
    let content: Range<Int>
    /// What it reads is not what is written.
    let isEscaped: Bool
}

/// Where in a text a member of an object is.
struct JSONPlace: Sendable {
    let name: JSONStringPlace
    let mark: NameMark
    let value: Range<Int>
}

/// The first bytes of a name and its length in one word. Claims are looked up by name again and again, and most are told apart by this.
struct NameMark: Equatable, Sendable {
    /// The rest is for the length.
    private static let byteLimit = 7

    private let bits: UInt64

    init(_ name: UnsafeRawBufferPointer) {
        let count = name.count
        var bits = UInt64(min(count, 255)) << 56
        if count >= 8 {
            bits |= (UInt64(littleEndian: name.loadUnaligned(as: UInt64.self)) << 8) >> 8
        } else {
            for index in 0..<count { bits |= UInt64(name[index]) << (8 &* UInt64(index)) }
        }
        self.bits = bits
    }

    init(_ name: String) {
        var name = name
        self = name.withUTF8 { NameMark(UnsafeRawBufferPointer($0)) }
    }

    /// All of the name is in it, so that names with the same mark are the same.
    var isWhole: Bool { bits >> 56 <= UInt64(Self.byteLimit) }
}
