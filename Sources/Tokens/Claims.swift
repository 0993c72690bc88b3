// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// The claims of a token (RFC 7519 §4) as they came: their bytes, all of which are known to be JSON, and where in them each claim is. Values are made
/// of those alone that somebody asks for, each time anew.
package struct Claims: Sendable {
    private let text: [UInt8]
    private let members: [JSONPlace]

    init(parsing text: [UInt8]) throws(JSONProblem) {
        members = try text.scanned { scanner throws(JSONProblem) in try scanner.places() }
        self.text = text
    }

    /// Compares names byte for byte.
    package subscript(name: ClaimName) -> JSONValue? {
        find(name).flatMap(value)
    }

    package subscript(name: String) -> JSONValue? { self[ClaimName(name)] }

    /// Those of these that there are.
    package func object(of names: [ClaimName]) -> JSONObject {
        JSONObject(checked: names.compactMap { name in self[name].map { JSONMember(name: name.text, mark: name.mark, value: $0) } })
    }

    // MARK: For the checks of a token

    func find(_ name: ClaimName) -> JSONPlace? {
        for index in members.indices where members[index].mark == name.mark {
            if name.mark.isWhole || isNamed(members[index].name, name.bytes) { return members[index] }
        }
        return nil
    }

    /// What the string reads; nil for what is none.
    func withString<Outcome>(_ place: JSONPlace, _ body: (UnsafeRawBufferPointer) -> Outcome) -> Outcome? {
        withScanner(of: place.value) { scanner in (try? scanner.withString(body)) ?? nil }
    }

    /// Nil for what is none.
    func string(_ place: JSONPlace) -> String? {
        withString(place) { String(decoding: $0, as: UTF8.self) }
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

    /// Whether it is a string, or an array of nothing but strings, of which one reads as one of these.
    func isOrHas(_ place: JSONPlace, oneOf texts: [[UInt8]]) -> Bool {
        var isFound = false
        let areStrings = withScanner(of: place.value) { scanner in
            try? scanner.strings { string in
                if !isFound { isFound = texts.contains { $0.isSame(as: string) } }
            }
        }
        return isFound && areStrings == true
    }

    /// The whole value, which has been read before, so that nothing is thrown.
    func value(_ place: JSONPlace) -> JSONValue? {
        withScanner(of: place.value) { scanner in try? scanner.document() }
    }

    private func isNamed(_ place: JSONStringPlace, _ name: [UInt8]) -> Bool {
        // With its quotes it is a value.
        let quoted = (place.content.lowerBound - 1)..<(place.content.upperBound + 1)
        return withScanner(of: quoted) { scanner in (try? scanner.withString { name.isSame(as: $0) }) ?? nil } ?? false
    }

    private func withScanner<Outcome>(of part: Range<Int>, _ body: (inout JSONScanner) -> Outcome) -> Outcome {
        text.withUnsafeBytes { text in
            var scanner = JSONScanner(UnsafeRawBufferPointer(rebasing: text[part]))
            return body(&scanner)
        }
    }
}

extension [UInt8] {
    func isSame(as other: UnsafeRawBufferPointer) -> Bool {
        withUnsafeBytes { $0.isSame(as: other) }
    }
}

/// The name of a claim that is looked for again and again.
package struct ClaimName: Sendable {
    let text: String
    let mark: NameMark
    let bytes: [UInt8]

    package init(_ text: String) {
        self.text = text
        mark = NameMark(text)
        bytes = Array(text.utf8)
    }

    static let issuer = ClaimName("iss")
    static let audience = ClaimName("aud")
    static let expiry = ClaimName("exp")
    static let notBefore = ClaimName("nbf")
    static let issuedAt = ClaimName("iat")
    static let events = ClaimName("events")
    static let nonce = ClaimName("nonce")
}
