// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// The claims of a token (RFC 7519 §4) as they came: their bytes, all of which are known to be JSON, and where in them each claim is. Values are made
/// of those alone that somebody asks for, each time anew.
package struct Claims: Sendable {
    private let text: [UInt8]
    private let members: [JSONPlace]

    /// None.
    package init() {
        text = []
        members = []
    }

    package init(parsing text: [UInt8]) throws(JSONProblem) {
        members = try text.scanned { scanner throws(JSONProblem) in try scanner.places() }
        self.text = text
    }

    package var isEmpty: Bool { members.isEmpty }

    /// Compares names byte for byte.
    package subscript(name: String) -> JSONValue? {
        find(ClaimName(name)).flatMap(value)
    }

    /// What they occupy, roughly, in bytes.
    package var estimatedByteCount: Int {
        2 * Claims.heapHeader + text.capacity + members.capacity * MemoryLayout<JSONPlace>.stride
    }

    /// Bytes of the header of what is allocated.
    private static let heapHeader = 32

    // MARK: For the checks of a token

    func find(_ name: ClaimName) -> JSONPlace? {
        for index in members.indices where members[index].mark == name.mark {
            if name.mark.isWhole || unescapedName(of: members[index]) == name.bytes { return members[index] }
        }
        return nil
    }

    /// Nil for what is no string.
    func string(_ place: JSONPlace) -> String? {
        withPlainString(place) { String(decoding: $0, as: UTF8.self) } ?? value(place)?.string
    }

    /// Nil for what is no number, or beyond what a Double can hold.
    func number(_ place: JSONPlace) -> Double? {
        // Whole numbers of so few digits, as times are, are exact.
        guard place.value.count <= 15 else { return value(place)?.number?.value }
        var number: Int64 = 0
        for byte in text[place.value] {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return value(place)?.number?.value }
            number = number &* 10 &+ Int64(byte &- UInt8(ascii: "0"))
        }
        return Double(number)
    }

    /// Whether it is the string that reads so.
    func isString(_ place: JSONPlace, _ bytes: [UInt8]) -> Bool {
        if let isSame = withPlainString(place, { $0.elementsEqual(bytes) }) { return isSame }
        return value(place)?.string.map { Array($0.utf8) == bytes } ?? false
    }

    /// Whether it is a string, or an array of nothing but strings, of which one reads as one of these.
    func isOrHas(_ place: JSONPlace, oneOf texts: [[UInt8]]) -> Bool {
        text.withUnsafeBytes { text in
            var scanner = JSONScanner(UnsafeRawBufferPointer(rebasing: text[place.value]))
            var isFound = false
            let areStrings = try? scanner.strings { string in
                if !isFound { isFound = texts.contains { string.elementsEqual($0) } }
            }
            return isFound && areStrings == true
        }
    }

    // MARK: Places

    /// The whole value, which has been read before, so that nothing is thrown.
    func value(_ place: JSONPlace) -> JSONValue? {
        text.withUnsafeBytes { try? JSONValue(parsing: UnsafeRawBufferPointer(rebasing: $0[place.value])) }
    }

    /// What is between the quotes of a string that is written as it reads; nil for all others.
    private func withPlainString<Outcome>(_ place: JSONPlace, _ body: (UnsafeRawBufferPointer) -> Outcome) -> Outcome? {
        text.withUnsafeBytes { text in
            guard text[place.value.lowerBound] == UInt8(ascii: "\"") else { return nil }
            let content = UnsafeRawBufferPointer(rebasing: text[(place.value.lowerBound + 1)..<(place.value.upperBound - 1)])
            return content.contains(UInt8(ascii: "\\")) ? nil : body(content)
        }
    }

    private func unescapedName(of place: JSONPlace) -> [UInt8] {
        guard place.name.isEscaped else { return Array(text[place.name.content]) }
        // With its quotes it is a value.
        let quoted = (place.name.content.lowerBound - 1)..<(place.name.content.upperBound + 1)
        return text.withUnsafeBytes { text in
            (try? JSONValue(parsing: UnsafeRawBufferPointer(rebasing: text[quoted])))?.string.map { Array($0.utf8) } ?? []
        }
    }
}

/// The name of a claim that is looked for again and again.
struct ClaimName: Sendable {
    let mark: NameMark
    let bytes: [UInt8]

    init(_ name: String) {
        mark = NameMark(name)
        bytes = Array(name.utf8)
    }

    static let issuer = ClaimName("iss")
    static let audience = ClaimName("aud")
    static let expiry = ClaimName("exp")
    static let notBefore = ClaimName("nbf")
    static let issuedAt = ClaimName("iat")
    static let events = ClaimName("events")
}
