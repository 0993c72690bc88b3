// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// A place in the file, both counted from 1; columns are Unicode scalars.
package struct Place: Sendable, Hashable, Comparable {
    package var line: Int
    package var column: Int

    package static let start = Place(line: 1, column: 1)

    package static func < (left: Place, right: Place) -> Bool { (left.line, left.column) < (right.line, right.column) }
}

/// One mistake of a configuration. Neither `key` nor `message` holds a value that was read.
package struct SettingsProblem: Sendable, Equatable, CustomStringConvertible {
    /// As the command line named it.
    package var file: String
    package var place: Place
    /// `limits.head_timeout`, `routes[0].upstream`; `(file)` where it is about no key.
    package var key: String
    package var message: String

    package var line: Int { place.line }
    package var column: Int { place.column }

    /// `FILE:LINE:COLUMN: key.path: message`.
    package var description: String { "\(file):\(place.line):\(place.column): \(key): \(message)" }
}

/// Why a configuration is not used: all its mistakes, in the order of the lines.
package struct SettingsProblems: Error, Sendable, CustomStringConvertible {
    package let problems: [SettingsProblem]
    /// Of everything that was read, as `LoadedSettings.digest`.
    package let digest: [UInt8]

    package var description: String { problems.map(\.description).joined(separator: "\n") }
}
