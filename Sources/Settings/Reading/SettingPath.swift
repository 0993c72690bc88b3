// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// Where a value stands: `limits.head_timeout`, `routes[0].upstream`. The root is empty.
enum SettingPath {
    /// Longer names are cut: they are for finding the key, not for copying it.
    private static let shownCharacters = 64

    static func member(_ name: String, of parent: String) -> String { parent.isEmpty ? shown(name) : "\(parent).\(shown(name))" }

    static func element(_ index: Int, of parent: String) -> String { "\(parent)[\(index)]" }

    /// Nil for the root.
    static func parent(of path: String) -> String? {
        guard !path.isEmpty else { return nil }
        guard let end = path.lastIndex(where: { $0 == "." || $0 == "[" }) else { return "" }
        return String(path[..<end])
    }

    /// A key as messages show it: what could be taken for the end of the path or steer a terminal becomes a question mark.
    private static func shown(_ name: String) -> String {
        var shown = ""
        for scalar in name.unicodeScalars.prefix(shownCharacters) {
            let isPlain = ("!"..."~").contains(scalar) && scalar != ":" && scalar != "\"" || (scalar.value >= 0xA0 && scalar.properties.isAlphabetic)
            shown.unicodeScalars.append(isPlain ? scalar : "?")
        }
        return shown.isEmpty ? "?" : shown
    }
}
