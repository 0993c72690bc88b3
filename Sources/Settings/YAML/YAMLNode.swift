// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// A value of a YAML document and where it stands.
struct YAMLNode {
    enum Content {
        case scalar(YAMLScalar)
        case sequence([YAMLNode])
        case mapping([(key: YAMLNode, value: YAMLNode)])
    }

    /// Of an alias: where it is used, not where its anchor is.
    var place: Place
    let content: Content
    /// How many values this is when every alias is replaced by what it stands for: what it costs to walk through it.
    let weight: Int
    /// Collections within each other, this one included; 0 for a scalar.
    let depth: Int

    /// Whether it is null: nothing at all, `~` or `null`.
    var isNull: Bool {
        guard case .scalar(let scalar) = content else { return false }
        return scalar.kind == .null
    }
}

/// A text of a YAML document, and what it is by the rules of YAML 1.1 and 1.2 where they agree.
struct YAMLScalar {
    enum Kind: Sendable, Equatable {
        /// Quoted, a block, tagged as one, or nothing of the others.
        case text
        case null
        case boolean(Bool)
        /// Perhaps no integer.
        case number
    }

    let text: String
    let kind: Kind

    /// A plain scalar is what it looks like; what is quoted is text.
    static func kind(ofPlain text: String) -> Kind {
        switch text {
        case "", "~", "null", "Null", "NULL": .null
        case "true", "True", "TRUE": .boolean(true)
        case "false", "False", "FALSE": .boolean(false)
        default: isNumber(text) ? .number : .text
        }
    }

    /// Decimal or hexadecimal integers, and numbers with a point. `1e3` is a number in YAML 1.2 alone, and `1_000` in 1.1: both are text here.
    private static func isNumber(_ text: String) -> Bool {
        var rest = Array(text.utf8)[...]
        if let sign = rest.first, sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") { rest = rest.dropFirst() }
        if rest.starts(with: Array("0x".utf8)) {
            rest = rest.dropFirst(2)
            return !rest.isEmpty && rest.allSatisfy { isDigit($0) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0 | 0x20) }
        }
        if [".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"].contains(where: { rest.elementsEqual($0.utf8) }) { return true }
        let whole = rest.prefix(while: isDigit)
        rest = rest[whole.endIndex...]
        guard rest.first == UInt8(ascii: ".") else { return !whole.isEmpty && rest.isEmpty }
        rest = rest.dropFirst()
        let fraction = rest.prefix(while: isDigit)
        rest = rest[fraction.endIndex...]
        guard !whole.isEmpty || !fraction.isEmpty else { return false }
        guard let exponent = rest.first else { return true }
        guard exponent | 0x20 == UInt8(ascii: "e") else { return false }
        rest = rest.dropFirst()
        if let sign = rest.first, sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") { rest = rest.dropFirst() }
        return !rest.isEmpty && rest.allSatisfy(isDigit)
    }

    private static func isDigit(_ byte: UInt8) -> Bool { byte &- UInt8(ascii: "0") < 10 }
}
