// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// One JSON value (RFC 8259), strictly read: see `JSONScanner` for what is refused.
package enum JSONValue: Sendable, Equatable {
    case null
    case boolean(Bool)
    case number(JSONNumber)
    case string(String)
    case array([JSONValue])
    case object(JSONObject)

    package init(parsing bytes: UnsafeRawBufferPointer) throws(JSONProblem) {
        var scanner = JSONScanner(bytes)
        self = try scanner.document()
    }

    package init(parsing bytes: [UInt8]) throws(JSONProblem) {
        self = try bytes.scanned { scanner throws(JSONProblem) in try scanner.document() }
    }

    package var string: String? {
        if case .string(let text) = self { text } else { nil }
    }

    package var boolean: Bool? {
        if case .boolean(let flag) = self { flag } else { nil }
    }

    package var number: JSONNumber? {
        if case .number(let number) = self { number } else { nil }
    }

    package var array: [JSONValue]? {
        if case .array(let elements) = self { elements } else { nil }
    }

    package var object: JSONObject? {
        if case .object(let object) = self { object } else { nil }
    }

    /// A string as it is, a number or boolean in its JSON spelling; nil for all others.
    package var scalarText: String? {
        switch self {
        case .string(let text): text
        case .number(let number): number.spelling
        case .boolean(let flag): flag ? "true" : "false"
        case .null, .array, .object: nil
        }
    }

    /// Whether this is the scalar that reads `text`, or an array with it as one of its elements (not of an element's elements).
    package func holds(_ text: String) -> Bool {
        if case .array(let elements) = self {
            return elements.contains { $0.scalarText?.isIdentical(to: text) ?? false }
        }
        return scalarText?.isIdentical(to: text) ?? false
    }

    /// What lies outside of the value itself, roughly, in bytes.
    fileprivate var estimatedByteCount: Int {
        switch self {
        case .null, .boolean: 0
        case .number(let number): JSONValue.estimatedByteCount(number.spelling)
        case .string(let text): JSONValue.estimatedByteCount(text)
        case .array(let elements):
            elements.reduce(JSONValue.heapHeader + elements.count * MemoryLayout<JSONValue>.stride) { $0 + $1.estimatedByteCount }
        case .object(let object): object.estimatedByteCount
        }
    }

    /// Bytes of the header of what is allocated.
    fileprivate static let heapHeader = 32

    /// A string of up to 15 bytes is inside the value.
    fileprivate static func estimatedByteCount(_ text: String) -> Int {
        text.utf8.count < 16 ? 0 : heapHeader + text.utf8.count
    }

    /// Strings and names count as equal when their bytes are; numbers when their spelling is.
    package static func == (left: JSONValue, right: JSONValue) -> Bool {
        switch (left, right) {
        case (.null, .null): true
        case (.boolean(let left), .boolean(let right)): left == right
        case (.number(let left), .number(let right)): left == right
        case (.string(let left), .string(let right)): left.isIdentical(to: right)
        case (.array(let left), .array(let right)): left == right
        case (.object(let left), .object(let right)): left == right
        case (.null, _), (.boolean, _), (.number, _), (.string, _), (.array, _), (.object, _): false
        }
    }
}

extension [UInt8] {
    /// `withUnsafeBytes` does not carry typed errors through, so the outcome travels as a value.
    func scanned<Outcome>(_ read: (inout JSONScanner) throws(JSONProblem) -> Outcome) throws(JSONProblem) -> Outcome {
        let outcome = withUnsafeBytes { bytes -> Result<Outcome, JSONProblem> in
            var scanner = JSONScanner(bytes)
            do throws(JSONProblem) {
                return .success(try read(&scanner))
            } catch {
                return .failure(error)
            }
        }
        return try outcome.get()
    }
}

/// A number as it was written. It is made into a value only where somebody calculates with it.
package struct JSONNumber: Sendable, Equatable {
    /// Follows the grammar of RFC 8259 §6.
    package let spelling: String

    /// For the scanner, which has checked the spelling.
    init(checked spelling: String) {
        self.spelling = spelling
    }

    package init(_ integer: Int64) {
        spelling = String(integer)
    }

    /// Nil when it is beyond what a Double can hold.
    package var value: Double? {
        guard let value = Double(spelling), value.isFinite else { return nil }
        return value
    }

    /// Nil when it is written with a fraction or exponent, or does not fit.
    package var integer: Int64? { Int64(spelling) }
}

/// The members of a JSON object in the order of the text; their names are unique, so that nobody reads another value than we do.
package struct JSONObject: Sendable, Equatable {
    package let members: [JSONMember]

    /// For the scanner, which has seen to it that names are unique.
    init(checked members: [JSONMember]) {
        self.members = members
    }

    /// An object without members.
    package init() {
        members = []
    }

    package init(parsing bytes: UnsafeRawBufferPointer) throws(JSONProblem) {
        guard case .object(let object) = try JSONValue(parsing: bytes) else { throw JSONProblem(.notAnObject, at: 0) }
        self = object
    }

    package init(parsing bytes: [UInt8]) throws(JSONProblem) {
        guard case .object(let object) = try JSONValue(parsing: bytes) else { throw JSONProblem(.notAnObject, at: 0) }
        self = object
    }

    package var isEmpty: Bool { members.isEmpty }

    /// What it occupies, roughly, in bytes.
    package var estimatedByteCount: Int {
        members.reduce(JSONValue.heapHeader + members.count * MemoryLayout<JSONMember>.stride) {
            $0 + JSONValue.estimatedByteCount($1.name) + $1.value.estimatedByteCount
        }
    }

    /// Compares names byte for byte.
    package subscript(name: String) -> JSONValue? {
        let mark = NameMark(name)
        for index in members.indices where members[index].isNamed(name, mark) { return members[index].value }
        return nil
    }

    /// The order of the members counts.
    package static func == (left: JSONObject, right: JSONObject) -> Bool {
        left.members.count == right.members.count
            && zip(left.members, right.members).allSatisfy { $0.isNamesake(of: $1) && $0.value == $1.value }
    }
}

/// Why a text is no JSON for us, and at which byte. Never holds any of the text.
package struct JSONProblem: Error, Sendable, Equatable {
    package enum Reason: Sendable, Equatable {
        case endsEarly
        case unexpectedByte
        case bytesAfterTheEnd
        case invalidUTF8
        case invalidEscape
        case loneSurrogate
        case invalidNumber
        case memberTwice
        case tooDeep
        case notAnObject
    }

    package let reason: Reason
    /// In bytes, from 0.
    package let offset: Int

    init(_ reason: Reason, at offset: Int) {
        self.reason = reason
        self.offset = offset
    }
}

package enum JSONLimit {
    /// Arrays and objects within each other. No token or key set needs more than a few; the limit bounds the scanner's stack.
    package static let depth = 64
}
