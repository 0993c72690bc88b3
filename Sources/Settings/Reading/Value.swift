// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// One value of the file on its way to what it means. Each reading reports what is wrong and then returns nil, so that all
/// mistakes are found in one go.
struct Value {
    let path: String
    let node: YAMLNode
    let reader: SettingsReader

    init(_ node: YAMLNode, path: String, reader: SettingsReader) {
        self.node = node
        self.path = path
        self.reader = reader
        reader.note(path, at: node.place)
    }

    var isNull: Bool { node.isNull }

    /// Always nil, so that a reading can end with it.
    @discardableResult
    func wrong<Result>(_ message: String) -> Result? {
        reader.report(path, message, at: node.place)
        return nil
    }

    // MARK: Scalars

    /// A text, its variables filled in.
    func text() -> String? {
        guard case .scalar(let scalar) = node.content, scalar.kind == .text else {
            if case .scalar(let scalar) = node.content, scalar.kind != .null { return wrong("must be text: put it in quotes") }
            return wrong("must be text, not \(kindName)")
        }
        return filledIn(scalar.text)
    }

    /// Whether it is this text, once its variables are filled in. Reports nothing.
    func isText(_ expected: String) -> Bool {
        guard case .scalar(let scalar) = node.content, scalar.kind == .text, case .text(let text) = filled(scalar.text) else { return false }
        return text == expected
    }

    /// A text that is not empty and holds no control characters.
    func line(limit: Int = SettingLimit.textBytes) -> String? {
        guard let text = text() else { return nil }
        guard !text.isEmpty else { return wrong("must not be empty") }
        guard text.utf8.count <= limit else { return wrong("has more than \(limit) bytes") }
        guard !text.unicodeScalars.contains(where: { $0.value < 0x20 || (0x7F...0x9F).contains($0.value) }) else {
            return wrong("must not hold control characters")
        }
        return text
    }

    /// Text, or a number or boolean in its own spelling.
    func spelling() -> String? {
        guard case .scalar(let scalar) = node.content, scalar.kind != .null else {
            return wrong("must be text, a number or a boolean, not \(kindName)")
        }
        return filledIn(scalar.text)
    }

    /// A whole number in decimal digits.
    func integer(_ range: ClosedRange<Int>) -> Int? {
        guard case .scalar(let scalar) = node.content, scalar.kind == .number || scalar.kind == .text else {
            return wrong("must be a whole number, not \(kindName)")
        }
        guard let text = filledIn(scalar.text) else { return nil }
        let digits = text.utf8
        guard !digits.isEmpty, digits.allSatisfy({ $0 &- UInt8(ascii: "0") < 10 }), digits.count == 1 || digits.first != UInt8(ascii: "0") else {
            return wrong("must be a whole number")
        }
        guard let number = Int(text), range.contains(number) else { return wrong("must be from \(range.lowerBound) to \(range.upperBound)") }
        return number
    }

    func boolean() -> Bool? {
        guard case .scalar(let scalar) = node.content else { return wrong("must be true or false, not \(kindName)") }
        if case .boolean(let value) = scalar.kind { return value }
        guard scalar.kind == .text, let text = filledIn(scalar.text) else { return scalar.kind == .text ? nil : wrong("must be true or false") }
        switch text {
        case "true": return true
        case "false": return false
        default: return wrong("must be true or false")
        }
    }

    func word<Word: RawRepresentable & CaseIterable>(_ type: Word.Type = Word.self) -> Word? where Word.RawValue == String {
        let words = Word.allCases.map(\.rawValue)
        guard case .scalar(let scalar) = node.content, scalar.kind != .null else { return wrong("must be \(oneOf(words)), not \(kindName)") }
        guard let text = filledIn(scalar.text) else { return nil }
        guard scalar.kind == .text, let word = Word(rawValue: text) else { return wrong("must be \(oneOf(words))") }
        return word
    }

    /// `250ms 5s 10m 12h 30d`.
    func duration(orNothing: Bool = false) -> Duration? {
        let (count, unit) = quantity()
        let units: [String: (seconds: Int64, milliseconds: Int64)] = ["ms": (0, 1), "s": (1, 0), "m": (60, 0), "h": (3600, 0), "d": (86_400, 0)]
        guard let unit else { return nil }
        guard let count, let each = units[unit] else { return wrong("must be a duration such as 250ms, 5s, 10m, 12h or 30d") }
        guard count > 0 || orNothing else { return wrong("must be more than nothing") }
        let milliseconds = count.multipliedReportingOverflow(by: each.seconds * 1000 + each.milliseconds)
        guard !milliseconds.overflow, milliseconds.partialValue <= SettingLimit.durationSeconds * 1000 else {
            return wrong("must be at most \(SettingLimit.durationSeconds / 86_400)d")
        }
        return .milliseconds(milliseconds.partialValue)
    }

    /// `512B 32KiB 10MiB 1GiB`, in bytes.
    func size(_ range: ClosedRange<Int>) -> Int? {
        let (count, unit) = quantity()
        let units: [String: Int64] = ["B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30]
        guard let unit else { return nil }
        guard let count, let each = units[unit] else { return wrong("must be a size such as 512B, 32KiB, 10MiB or 1GiB") }
        let bytes = count.multipliedReportingOverflow(by: each)
        guard count > 0 || range.contains(0) else { return wrong("must be more than nothing") }
        guard !bytes.overflow, range.contains(Int(bytes.partialValue)) else { return wrong("must be at most \(range.upperBound)B") }
        return Int(bytes.partialValue)
    }

    /// Digits and what follows them. The unit is nil after a report.
    private func quantity() -> (Int64?, String?) {
        guard case .scalar(let scalar) = node.content, scalar.kind != .null else {
            let _: Int? = wrong("must be text with a number and a unit, not \(kindName)")
            return (nil, nil)
        }
        guard let text = filledIn(scalar.text) else { return (nil, nil) }
        let digits = text.utf8.prefix { $0 &- UInt8(ascii: "0") < 10 }
        return (Int64(Substring(digits)), String(text[digits.endIndex...]))
    }

    // MARK: Collections

    /// Whether it was given and is a list; each element with its own path.
    func list() -> [Value]? {
        guard case .sequence(let nodes) = node.content else { return wrong("must be a list, not \(kindName)") }
        return nodes.enumerated().map { Value($1, path: SettingPath.element($0, of: path), reader: reader) }
    }

    /// Texts, none twice; nil if one of them is wrong.
    func lines() -> [String]? {
        guard let values = list() else { return nil }
        var seen: Set<[UInt8]> = []
        var lines: [String] = []
        var isGood = true
        for value in values {
            guard let line = value.line() else {
                isGood = false
                continue
            }
            if seen.insert(Array(line.utf8)).inserted {
                lines.append(line)
            } else {
                let _: Int? = value.wrong("is in the list already")
                isGood = false
            }
        }
        return isGood ? lines : nil
    }

    /// What it is, for messages about what it should be.
    var kindName: String {
        switch node.content {
        case .sequence: "a list"
        case .mapping: "a mapping"
        case .scalar(let scalar):
            switch scalar.kind {
            case .text: "text"
            case .null: "left empty"
            case .boolean: "a boolean"
            case .number: "a number"
            }
        }
    }

    private func oneOf(_ words: [String]) -> String {
        words.count == 1 ? words[0] : words.dropLast().joined(separator: ", ") + " or " + words[words.count - 1]
    }

    // MARK: Variables

    private enum Filled {
        case text(String)
        /// What is wrong with it.
        case wrong(String)
    }

    private func filledIn(_ text: String) -> String? {
        switch filled(text) {
        case .text(let text): text
        case .wrong(let message): wrong(message)
        }
    }

    /// Replaces each `${NAME}` by the environment's value, which is not looked at again.
    private func filled(_ text: String) -> Filled {
        guard text.utf8.contains(UInt8(ascii: "$")) else { return .text(text) }
        var result: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "$"), rest.first == UInt8(ascii: "{") else {
                result.append(byte)
                continue
            }
            let name = rest.dropFirst().prefix { $0 != UInt8(ascii: "}") }
            guard name.endIndex < rest.endIndex, Self.isVariableName(name) else {
                return .wrong("has a ${…} that is no variable: its name has letters, digits and _")
            }
            guard let value = reader.variable(String(decoding: name, as: UTF8.self)) else {
                return .wrong("needs an environment variable that is not set")
            }
            result += value.utf8
            rest = rest[(name.endIndex + 1)...]
        }
        return .text(String(decoding: result, as: UTF8.self))
    }

    static func isVariableName(_ name: some Collection<UInt8>) -> Bool {
        !name.isEmpty && name.allSatisfy { $0 == UInt8(ascii: "_") || $0 &- UInt8(ascii: "0") < 10 || ($0 | 0x20) &- UInt8(ascii: "a") < 26 }
    }
}
