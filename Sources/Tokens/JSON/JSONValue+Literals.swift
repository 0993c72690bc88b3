// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// JSON that a source file spells out, as Swift literals. A member that is there twice is a mistake of the source, and traps.
extension JSONValue: ExpressibleByStringInterpolation, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral,
    ExpressibleByDictionaryLiteral
{
    package init(stringLiteral text: String) { self = .string(text) }
    package init(integerLiteral number: Int64) { self = .number(JSONNumber(number)) }
    package init(booleanLiteral flag: Bool) { self = .boolean(flag) }
    package init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    package init(dictionaryLiteral members: (String, JSONValue)...) { self.init(members: members) }

    /// An object of members in this order, each with a name of its own.
    package init(members: [(String, JSONValue)]) {
        precondition(Set(members.map { Array($0.0.utf8) }).count == members.count, "a member is there twice")
        self = .object(JSONObject(checked: members.map { JSONMember(name: $0.0, value: $0.1) }))
    }
}
