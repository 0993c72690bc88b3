// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// A mapping with known keys. What nobody has asked for by `finish` is a mistake.
final class Section {
    let value: Value
    private var members: [(name: String, place: Place, value: YAMLNode)] = []
    private var known: [String] = []

    var path: String { value.path }
    private var reader: SettingsReader { value.reader }

    /// Nil after a report.
    init?(_ value: Value) {
        guard let members = value.members() else { return nil }
        self.value = value
        self.members = members.map { ($0.name, $0.place, $0.value) }
    }

    /// The value of a key, if it is there.
    func take(_ name: String) -> Value? {
        known.append(name)
        guard let member = members.first(where: { $0.name == name }) else { return nil }
        return Value(member.value, path: SettingPath.member(name, of: path), reader: reader)
    }

    /// Reads the key if it is there and good; otherwise the target keeps what it has.
    func read<Target>(_ name: String, into target: inout Target, _ reading: (Value) -> Target?) {
        if let value = take(name), let result = reading(value) { target = result }
    }

    /// As `read`, for what has no default.
    func readOptional<Target>(_ name: String, into target: inout Target?, _ reading: (Value) -> Target?) {
        if let value = take(name), let result = reading(value) { target = result }
    }

    /// As `read`, where null switches it off.
    func readOrNull<Target>(_ name: String, into target: inout Target?, _ reading: (Value) -> Target?) {
        guard let value = take(name) else { return }
        if value.isNull { target = nil } else if let result = reading(value) { target = result }
    }

    /// Reads what must be there; nil after a report.
    func require<Target>(_ name: String, _ reading: (Value) -> Target?) -> Target? {
        guard let value = take(name) else {
            reader.report(SettingPath.member(name, of: path), "is missing", at: self.value.node.place)
            return nil
        }
        return reading(value)
    }

    /// A mapping within this one; `reading` gets it if it is there.
    func section(_ name: String, _ reading: (Section) -> Void) {
        guard let value = take(name), let section = Section(value) else { return }
        reading(section)
        section.finish()
    }

    func has(_ name: String) -> Bool { members.contains { $0.name == name } }

    /// The first key that nobody has asked for so far.
    var placeOfUnknownKey: Place? { members.first { !known.contains($0.name) }?.place }

    /// Reports keys that are none.
    func finish() {
        let names = known.sorted().joined(separator: ", ")
        for member in members where !known.contains(member.name) {
            reader.report(SettingPath.member(member.name, of: path), "is no key here; there are \(names)", at: member.place)
        }
    }
}

extension Value {
    /// The pairs of a mapping, in the order of the file. Nil after a report; a key that is there twice is reported and left out.
    func members() -> [(name: String, place: Place, value: YAMLNode)]? {
        guard case .mapping(let pairs) = node.content else { return wrong("must be a mapping, not \(kindName)") }
        var members: [(name: String, place: Place, value: YAMLNode)] = []
        var seen: Set<[UInt8]> = []
        for pair in pairs {
            guard case .scalar(let scalar) = pair.key.content, scalar.kind != .null else {
                reader.report(path, "has a key that is no text", at: pair.key.place)
                continue
            }
            guard seen.insert(Array(scalar.text.utf8)).inserted else {
                reader.report(SettingPath.member(scalar.text, of: path), "is there twice", at: pair.key.place)
                continue
            }
            members.append((scalar.text, pair.key.place, pair.value))
        }
        return members
    }
}
