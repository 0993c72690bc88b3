// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc

/// Reads one JSON text (RFC 8259) and nothing more lenient: no byte order mark, no comments, no text that is not UTF-8, no lone
/// surrogates, no member twice at any depth however escaped (RFC 7515 §4 lets others take the last one, and then two programs
/// read one token differently). One pass, but for strings with escapes; recursion is bounded by `JSONLimit.depth`.
///
/// It makes values of all that it reads (`document`), or of nothing, and says where in the text an object's members are (`places`).
///
/// The pointer is borrowed: a scanner does not outlive the call that made it.
struct JSONScanner {
    private let bytes: UnsafeRawBufferPointer
    private var position = 0
    private var depth = 0
    /// Members of the objects that are being read, each behind those of the one that it is in; in the end those of the text itself, if it is an object.
    private var members: [JSONPlace] = []

    init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
    }

    /// The whole text is one value.
    mutating func document() throws(JSONProblem) -> JSONValue {
        try whole { scanner throws(JSONProblem) in try scanner.value() }
    }

    /// The whole text is one object; no value is made of it.
    mutating func places() throws(JSONProblem) -> [JSONPlace] {
        let isObject = try whole { scanner throws(JSONProblem) in
            guard try scanner.kind() == .object else {
                try scanner.skip()
                return false
            }
            try scanner.object { scanner, _, _ throws(JSONProblem) in try scanner.skip() }
            return true
        }
        guard isObject else { throw JSONProblem(.notAnObject, at: 0) }
        return members
    }

    /// What the string that the whole text is reads; nil for anything else, which is not looked at.
    mutating func withString<Outcome>(_ body: (UnsafeRawBufferPointer) -> Outcome) throws(JSONProblem) -> Outcome? {
        try whole { scanner throws(JSONProblem) in
            guard try scanner.kind() == .string else {
                scanner.position = scanner.bytes.count
                return nil
            }
            return try scanner.visit(body)
        }
    }

    /// The whole text is a string, or an array of nothing but strings, which are given to `body` one after the other; false for anything else.
    mutating func strings(_ body: (UnsafeRawBufferPointer) -> Void) throws(JSONProblem) -> Bool {
        try whole { scanner throws(JSONProblem) in
            var areStrings = true
            func visitOrSkip(_ scanner: inout JSONScanner) throws(JSONProblem) {
                if try scanner.kind() == .string { return try scanner.visit(body) }
                areStrings = false
                try scanner.skip()
            }
            if try scanner.kind() == .array { try scanner.array(visitOrSkip) } else { try visitOrSkip(&scanner) }
            return areStrings
        }
    }

    /// What the string that begins here reads.
    private mutating func visit<Outcome>(_ body: (UnsafeRawBufferPointer) -> Outcome) throws(JSONProblem) -> Outcome {
        let place = try string()
        return place.isEscaped ? try unescaped(place).withUnsafeBytes(body) : body(content(of: place))
    }

    private mutating func whole<Outcome>(_ read: (inout JSONScanner) throws(JSONProblem) -> Outcome) throws(JSONProblem) -> Outcome {
        skipBlank()
        let outcome = try read(&self)
        skipBlank()
        guard position == bytes.count else { throw problem(.bytesAfterTheEnd) }
        return outcome
    }

    // MARK: Values

    private enum Kind {
        case object, array, string, number, `true`, `false`, null
    }

    /// Of the value that begins here.
    private func kind() throws(JSONProblem) -> Kind {
        guard let byte = peek() else { throw problem(.endsEarly) }
        switch byte {
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "["): return .array
        case UInt8(ascii: "\""): return .string
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number
        case UInt8(ascii: "t"): return .true
        case UInt8(ascii: "f"): return .false
        case UInt8(ascii: "n"): return .null
        default: throw problem(.unexpectedByte)
        }
    }

    private mutating func value() throws(JSONProblem) -> JSONValue {
        switch try kind() {
        case .object:
            var members: [JSONMember] = []
            // Not within others, of which a text can have many.
            if depth == 0 { members.reserveCapacity(Self.usualMembers) }
            try object { scanner, name, mark throws(JSONProblem) in
                members.append(JSONMember(name: try scanner.text(of: name), mark: mark, value: try scanner.value()))
            }
            return .object(JSONObject(checked: members))
        case .array:
            var elements: [JSONValue] = []
            try array { scanner throws(JSONProblem) in elements.append(try scanner.value()) }
            return .array(elements)
        case .string:
            return .string(try text(of: try string()))
        case .number:
            let start = position
            try number()
            return .number(JSONNumber(checked: String(decoding: UnsafeRawBufferPointer(rebasing: bytes[start..<position]), as: UTF8.self)))
        case .true:
            try literal("true")
            return .boolean(true)
        case .false:
            try literal("false")
            return .boolean(false)
        case .null:
            try literal("null")
            return .null
        }
    }

    /// Over a value, of which nothing is made.
    private mutating func skip() throws(JSONProblem) {
        switch try kind() {
        case .object: try object { scanner, _, _ throws(JSONProblem) in try scanner.skip() }
        case .array: try array { scanner throws(JSONProblem) in try scanner.skip() }
        case .string: _ = try string()
        case .number: try number()
        case .true: try literal("true")
        case .false: try literal("false")
        case .null: try literal("null")
        }
    }

    // MARK: Objects and arrays

    /// Room for the members that most tokens have.
    private static let usualMembers = 8

    /// `readValue` reads the value of the member that has this name.
    private mutating func object(
        _ readValue: (inout JSONScanner, JSONStringPlace, NameMark) throws(JSONProblem) -> Void
    ) throws(JSONProblem) {
        try enter()
        if depth == 1 { members.reserveCapacity(Self.usualMembers) }
        let first = members.count
        if !take(UInt8(ascii: "}")) {
            repeat {
                skipBlank()
                guard let byte = peek() else { throw problem(.endsEarly) }
                guard byte == UInt8(ascii: "\"") else { throw problem(.unexpectedByte) }
                let name = try string(), mark = try mark(of: name)
                skipBlank()
                guard take(UInt8(ascii: ":")) else { throw problem(position == bytes.count ? .endsEarly : .unexpectedByte) }
                skipBlank()
                let start = position
                try readValue(&self, name, mark)
                members.append(JSONPlace(name: name, mark: mark, value: start..<position))
                skipBlank()
            } while take(UInt8(ascii: ","))
            guard take(UInt8(ascii: "}")) else { throw problem(position == bytes.count ? .endsEarly : .unexpectedByte) }
        }
        guard try areUnique(from: first) else { throw problem(.memberTwice) }
        depth -= 1
        if depth > 0 { members.removeLast(members.count - first) }
    }

    private mutating func array(_ readElement: (inout JSONScanner) throws(JSONProblem) -> Void) throws(JSONProblem) {
        try enter()
        if !take(UInt8(ascii: "]")) {
            repeat {
                skipBlank()
                try readElement(&self)
                skipBlank()
            } while take(UInt8(ascii: ","))
            guard take(UInt8(ascii: "]")) else { throw problem(position == bytes.count ? .endsEarly : .unexpectedByte) }
        }
        depth -= 1
    }

    private mutating func enter() throws(JSONProblem) {
        guard depth < JSONLimit.depth else { throw problem(.tooDeep) }
        depth += 1
        position += 1
        skipBlank()
    }

    /// Pairs for the few members that objects have; sorted by bytes for many, so that a hostile text costs no quadratic time.
    private func areUnique(from first: Int) throws(JSONProblem) -> Bool {
        if members.count - first <= 16, let areUnique = arePairsUnique(from: first) { return areUnique }
        var names: [[UInt8]] = []
        for member in members[first...] { names.append(try unescaped(member.name)) }
        names.sort { $0.lexicographicallyPrecedes($1) }
        return zip(names, names.dropFirst()).allSatisfy { $0 != $1 }
    }

    /// Nil where long names begin in the same way and have escapes: each is to be read once, not once a pair.
    private func arePairsUnique(from first: Int) -> Bool? {
        for index in first..<members.count {
            for other in first..<index where members[other].mark == members[index].mark {
                let (one, two) = (members[index], members[other])
                if one.mark.isWhole { return false }
                if one.name.isEscaped || two.name.isEscaped { return nil }
                if content(of: one.name).isSame(as: content(of: two.name)) { return false }
            }
        }
        return true
    }

    private func mark(of name: JSONStringPlace) throws(JSONProblem) -> NameMark {
        guard name.isEscaped else { return NameMark(content(of: name)) }
        return try unescaped(name).withUnsafeBytes { NameMark($0) }
    }

    // MARK: Numbers and literals

    /// RFC 8259 §6: no plus, no leading zero, a digit on each side of the point.
    private mutating func number() throws(JSONProblem) {
        _ = take(UInt8(ascii: "-"))
        if take(UInt8(ascii: "0")) {
            guard !(peek().map(isDigit) ?? false) else { throw problem(.invalidNumber) }
        } else {
            try digits()
        }
        if take(UInt8(ascii: ".")) { try digits() }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
            try digits()
        }
    }

    private mutating func digits() throws(JSONProblem) {
        let start = position
        while let byte = peek(), isDigit(byte) { position += 1 }
        guard position > start else { throw problem(.invalidNumber) }
    }

    private func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    private mutating func literal(_ text: StaticString) throws(JSONProblem) {
        for index in 0..<text.utf8CodeUnitCount {
            guard position < bytes.count else { throw problem(.endsEarly) }
            guard bytes[position] == text.utf8Start[index] else { throw problem(.unexpectedByte) }
            position += 1
        }
    }

    // MARK: Strings

    private mutating func string() throws(JSONProblem) -> JSONStringPlace {
        position += 1
        let start = position
        var isEscaped = false
        while true {
            skipPlain()
            guard let byte = peek() else { throw problem(.endsEarly) }
            switch byte {
            case UInt8(ascii: "\""):
                position += 1
                return JSONStringPlace(content: start..<(position - 1), isEscaped: isEscaped)
            case UInt8(ascii: "\\"):
                isEscaped = true
                position += 1
                _ = try escape()
            case 0..<0x20:
                throw problem(.unexpectedByte)
            case 0x20..<0x80:
                position += 1
            default:
                try multibyteScalar()
            }
        }
    }

    /// As it is written.
    private func content(of place: JSONStringPlace) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[place.content])
    }

    /// What a string reads that this scanner has been over.
    private func text(of place: JSONStringPlace) throws(JSONProblem) -> String {
        place.isEscaped ? String(decoding: try unescaped(place), as: UTF8.self) : String(decoding: content(of: place), as: UTF8.self)
    }

    private func unescaped(_ place: JSONStringPlace) throws(JSONProblem) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(place.content.count)
        var scanner = JSONScanner(content(of: place))
        while let byte = scanner.peek() {
            scanner.position += 1
            if byte == UInt8(ascii: "\\") { text.append(contentsOf: try scanner.escape().utf8) } else { text.append(byte) }
        }
        return text
    }

    /// Goes over what is only itself in a string, eight bytes at a time; stops at a quote, a backslash, a control character or what is not ASCII, or
    /// within eight bytes of the end.
    private mutating func skipPlain() {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let highBits: UInt64 = 0x8080_8080_8080_8080
        while position &+ 8 <= bytes.count {
            let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self))
            // A byte is 0 where its quote or backslash was. Subtracting borrows from the bytes above, so the lowest mark alone can be trusted.
            let (quote, backslash) = (word ^ (ones &* 0x22), word ^ (ones &* 0x5C))
            let isZero = (quote &- ones) & ~quote | (backslash &- ones) & ~backslash
            let isControl = (word &- ones &* 0x20) & ~word
            let marks = (isZero | isControl | word) & highBits
            guard marks == 0 else {
                position &+= marks.trailingZeroBitCount >> 3
                return
            }
            position &+= 8
        }
    }

    /// What stands behind a backslash.
    private mutating func escape() throws(JSONProblem) -> Unicode.Scalar {
        guard let letter = peek() else { throw problem(.endsEarly) }
        position += 1
        switch letter {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(letter)
        case UInt8(ascii: "b"): return "\u{08}"
        case UInt8(ascii: "f"): return "\u{0C}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"):
            guard let scalar = Unicode.Scalar(try escapedScalar()) else { throw problem(.loneSurrogate) }
            return scalar
        default:
            position -= 1
            throw problem(.invalidEscape)
        }
    }

    /// After `\u`: one unit, or two that are a surrogate pair.
    private mutating func escapedScalar() throws(JSONProblem) -> UInt32 {
        let unit = try hexUnit()
        switch unit {
        case 0xD800..<0xDC00:
            guard take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) else { throw problem(.loneSurrogate) }
            let second = try hexUnit()
            guard (0xDC00..<0xE000).contains(second) else { throw problem(.loneSurrogate) }
            return 0x10000 + (unit - 0xD800) << 10 + (second - 0xDC00)
        case 0xDC00..<0xE000:
            throw problem(.loneSurrogate)
        default:
            return unit
        }
    }

    private mutating func hexUnit() throws(JSONProblem) -> UInt32 {
        var unit: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = peek() else { throw problem(.endsEarly) }
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = byte - UInt8(ascii: "A") + 10
            default: throw problem(.invalidEscape)
            }
            unit = unit << 4 | UInt32(digit)
            position += 1
        }
        return unit
    }

    /// Well-formed UTF-8 by table 3-7 of the Unicode standard: no overlong forms, no surrogates, nothing above U+10FFFF.
    private mutating func multibyteScalar() throws(JSONProblem) {
        let lead = bytes[position]
        let (length, second): (Int, ClosedRange<UInt8>)
        switch lead {
        case 0xC2...0xDF: (length, second) = (2, 0x80...0xBF)
        case 0xE0: (length, second) = (3, 0xA0...0xBF)
        case 0xE1...0xEC, 0xEE...0xEF: (length, second) = (3, 0x80...0xBF)
        case 0xED: (length, second) = (3, 0x80...0x9F)
        case 0xF0: (length, second) = (4, 0x90...0xBF)
        case 0xF1...0xF3: (length, second) = (4, 0x80...0xBF)
        case 0xF4: (length, second) = (4, 0x80...0x8F)
        default: throw problem(.invalidUTF8)
        }
        guard position + length <= bytes.count, second.contains(bytes[position + 1]) else { throw problem(.invalidUTF8) }
        for offset in 2..<max(length, 2) {
            guard bytes[position + offset] & 0xC0 == 0x80 else { throw problem(.invalidUTF8) }
        }
        position += length
    }

    // MARK: Bytes

    private func peek() -> UInt8? {
        position < bytes.count ? bytes[position] : nil
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard peek() == byte else { return false }
        position += 1
        return true
    }

    private mutating func skipBlank() {
        while let byte = peek(), byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D { position += 1 }
    }

    private func problem(_ reason: JSONProblem.Reason) -> JSONProblem {
        JSONProblem(reason, at: position)
    }
}

extension UnsafeRawBufferPointer {
    /// Whether both are the same bytes.
    func isSame(as other: UnsafeRawBufferPointer) -> Bool {
        guard count == other.count else { return false }
        guard let mine = baseAddress, let theirs = other.baseAddress else { return true }
        return memcmp(mine, theirs, count) == 0
    }
}
