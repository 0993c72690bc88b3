// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// Reads one JSON text (RFC 8259) and nothing more lenient: no byte order mark, no comments, no text that is not UTF-8, no lone
/// surrogates, no member twice at any depth however escaped (RFC 7515 §4 lets others take the last one, and then two programs
/// read one token differently). One pass; recursion is bounded by `JSONLimit.depth`.
///
/// The pointer is borrowed: a scanner does not outlive the call that made it.
struct JSONScanner {
    private let bytes: UnsafeRawBufferPointer
    private var position = 0
    private var depth = 0

    init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
    }

    /// `withUnsafeBytes` does not carry typed errors through, so the outcome travels as a value.
    static func scan(_ bytes: [UInt8]) -> Result<JSONValue, JSONProblem> {
        bytes.withUnsafeBytes { pointer in
            var scanner = JSONScanner(pointer)
            do throws(JSONProblem) {
                return .success(try scanner.document())
            } catch {
                return .failure(error)
            }
        }
    }

    /// The whole text is one value.
    mutating func document() throws(JSONProblem) -> JSONValue {
        skipBlank()
        let value = try value()
        skipBlank()
        guard position == bytes.count else { throw problem(.bytesAfterTheEnd) }
        return value
    }

    private mutating func value() throws(JSONProblem) -> JSONValue {
        guard let byte = peek() else { throw problem(.endsEarly) }
        switch byte {
        case UInt8(ascii: "{"): return .object(try object())
        case UInt8(ascii: "["): return .array(try array())
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number(try number())
        case UInt8(ascii: "t"): return try literal("true", .boolean(true))
        case UInt8(ascii: "f"): return try literal("false", .boolean(false))
        case UInt8(ascii: "n"): return try literal("null", .null)
        default: throw problem(.unexpectedByte)
        }
    }

    // MARK: Objects and arrays

    /// Room for the members that most tokens have.
    private static let usualMembers = 8

    private mutating func object() throws(JSONProblem) -> JSONObject {
        try enter()
        var members: [JSONMember] = []
        if !take(UInt8(ascii: "}")) {
            // Not within others, of which a text can have many.
            if depth == 1 { members.reserveCapacity(Self.usualMembers) }
            repeat {
                skipBlank()
                guard let byte = peek() else { throw problem(.endsEarly) }
                guard byte == UInt8(ascii: "\"") else { throw problem(.unexpectedByte) }
                let name = try string()
                skipBlank()
                guard take(UInt8(ascii: ":")) else { throw problem(position == bytes.count ? .endsEarly : .unexpectedByte) }
                skipBlank()
                members.append(JSONMember(name: name, value: try value()))
                skipBlank()
            } while take(UInt8(ascii: ","))
            guard take(UInt8(ascii: "}")) else { throw problem(position == bytes.count ? .endsEarly : .unexpectedByte) }
        }
        guard areUnique(members) else { throw problem(.memberTwice) }
        depth -= 1
        return JSONObject(checked: members)
    }

    private mutating func array() throws(JSONProblem) -> [JSONValue] {
        try enter()
        var elements: [JSONValue] = []
        if !take(UInt8(ascii: "]")) {
            repeat {
                skipBlank()
                elements.append(try value())
                skipBlank()
            } while take(UInt8(ascii: ","))
            guard take(UInt8(ascii: "]")) else { throw problem(position == bytes.count ? .endsEarly : .unexpectedByte) }
        }
        depth -= 1
        return elements
    }

    private mutating func enter() throws(JSONProblem) {
        guard depth < JSONLimit.depth else { throw problem(.tooDeep) }
        depth += 1
        position += 1
        skipBlank()
    }

    /// Pairs for the few members that objects have; sorted by bytes for many, so that a hostile text costs no quadratic time.
    private func areUnique(_ members: [JSONMember]) -> Bool {
        guard members.count > 16 else {
            for index in members.indices {
                for other in 0..<index where members[other].isNamesake(of: members[index]) { return false }
            }
            return true
        }
        let names = members.map { Array($0.name.utf8) }.sorted { $0.lexicographicallyPrecedes($1) }
        return zip(names, names.dropFirst()).allSatisfy { $0 != $1 }
    }

    // MARK: Numbers and literals

    /// RFC 8259 §6: no plus, no leading zero, a digit on each side of the point.
    private mutating func number() throws(JSONProblem) -> JSONNumber {
        let start = position
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
        return JSONNumber(checked: String(decoding: UnsafeRawBufferPointer(rebasing: bytes[start..<position]), as: UTF8.self))
    }

    private mutating func digits() throws(JSONProblem) {
        let start = position
        while let byte = peek(), isDigit(byte) { position += 1 }
        guard position > start else { throw problem(.invalidNumber) }
    }

    private func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    private mutating func literal(_ text: StaticString, _ value: JSONValue) throws(JSONProblem) -> JSONValue {
        for index in 0..<text.utf8CodeUnitCount {
            guard position < bytes.count else { throw problem(.endsEarly) }
            guard bytes[position] == text.utf8Start[index] else { throw problem(.unexpectedByte) }
            position += 1
        }
        return value
    }

    // MARK: Strings

    private mutating func string() throws(JSONProblem) -> String {
        position += 1
        let start = position
        while true {
            skipPlain()
            guard let byte = peek() else { throw problem(.endsEarly) }
            switch byte {
            case UInt8(ascii: "\""):
                let text = String(decoding: UnsafeRawBufferPointer(rebasing: bytes[start..<position]), as: UTF8.self)
                position += 1
                return text
            case UInt8(ascii: "\\"):
                return try escapedString(from: start)
            case 0..<0x20:
                throw problem(.unexpectedByte)
            case 0x20..<0x80:
                position += 1
            default:
                try multibyteScalar()
            }
        }
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

    /// Goes on where the first escape stands; the unescaped text needs a buffer of its own.
    private mutating func escapedString(from start: Int) throws(JSONProblem) -> String {
        var text = [UInt8](bytes[start..<position])
        while true {
            guard let byte = peek() else { throw problem(.endsEarly) }
            switch byte {
            case UInt8(ascii: "\""):
                position += 1
                return String(decoding: text, as: UTF8.self)
            case UInt8(ascii: "\\"):
                position += 1
                try escape(into: &text)
            case 0..<0x20:
                throw problem(.unexpectedByte)
            case 0x20..<0x80:
                text.append(byte)
                position += 1
            default:
                let first = position
                try multibyteScalar()
                text.append(contentsOf: bytes[first..<position])
            }
        }
    }

    private mutating func escape(into text: inout [UInt8]) throws(JSONProblem) {
        guard let letter = peek() else { throw problem(.endsEarly) }
        position += 1
        switch letter {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(letter)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"):
            guard let scalar = Unicode.Scalar(try escapedScalar()), let encoded = UTF8.encode(scalar) else { throw problem(.loneSurrogate) }
            text.append(contentsOf: encoded)
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
