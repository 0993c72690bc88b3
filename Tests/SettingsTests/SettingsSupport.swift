// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import TestSupport
import Testing

@testable import Settings
@testable import portcullis

/// A folder with a configuration and the files that it names; it goes when nobody refers to it any more.
final class ConfigurationFolder: Sendable {
    let path: String
    var file: String { "\(path)/portcullis.yaml" }

    init() throws { path = try temporaryFolder("settings") }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func write(_ name: String, _ content: [UInt8]) throws {
        try FileManager.default.createDirectory(
            at: URL(fileURLWithPath: "\(path)/\(name)").deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(content).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
        try permit(0o600, name)
    }

    func permit(_ mode: Int, _ name: String) throws {
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: "\(path)/\(name)")
    }

    func write(_ name: String, _ content: String) throws { try write(name, Array(content.utf8)) }

    func copy(_ file: String, to name: String) throws { try write(name, Array(Data(contentsOf: URL(fileURLWithPath: file)))) }

    /// Reads `text` as the configuration, by the rules of the executable.
    func read(_ text: String, environment: [String: String] = [:]) throws -> Reading {
        try write("portcullis.yaml", text)
        return Reading(file: file, environment: environment)
    }

    func read(_ bytes: [UInt8]) throws -> Reading {
        try write("portcullis.yaml", bytes)
        return Reading(file: file, environment: [:])
    }
}

/// What one reading of a configuration came to.
struct Reading {
    let loaded: LoadedSettings?
    let problems: [SettingsProblem]
    let digest: [UInt8]

    init(file: String, environment: [String: String]) {
        do throws(SettingsProblems) {
            let loaded = try SettingsLoader(environment: environment, rules: .real).load(path: file)
            (self.loaded, problems, digest) = (loaded, [], loaded.digest)
        } catch {
            (loaded, problems, digest) = (nil, error.problems, error.digest)
        }
    }

    /// Fails the test when there are mistakes.
    var settings: Settings {
        get throws { try #require(loaded, "\(lines)").settings }
    }

    /// `LINE:COLUMN: key.path: message` of each mistake.
    var lines: [String] { problems.map { "\($0.line):\($0.column): \($0.key): \($0.message)" } }

    /// `key.path: message` of each warning.
    var warnings: [String] { (loaded?.warnings ?? []).map { "\($0.key): \($0.message)" } }
}

/// A configuration whose mistakes are known. Each `▸` in the text, which is taken out, is where the next of `problems` is found: so that
/// nobody has to count columns.
///
///     Mistake("limits: {head_timeout: ▸5}", "limits.head_timeout: must be a duration …")
struct Mistake: Sendable, CustomTestStringConvertible {
    let text: String
    /// `LINE:COLUMN: key.path: message`.
    let problems: [String]

    var testDescription: String { text.replacing("\n", with: "⏎") }

    init(_ marked: String, _ problems: String...) { self.init(marked, problems) }

    init(_ marked: String, _ problems: [String]) {
        var text = ""
        var places: [String] = []
        var (line, column) = (1, 1)
        for character in marked {
            switch character {
            case "▸": places.append("\(line):\(column)")
            case "\n":
                text.append(character)
                (line, column) = (line + 1, 1)
            default:
                text.append(character)
                column += character.unicodeScalars.count
            }
        }
        self.text = text
        precondition(places.count == problems.count || places.count == 1, "a place for each problem, or one for all")
        self.problems = problems.enumerated().map { "\(places[places.count == 1 ? 0 : $0]): \($1)" }
    }

    /// Checks that exactly these mistakes are found, exactly there.
    func check(
        in folder: ConfigurationFolder? = nil, environment: [String: String] = [:], sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let reading = try (folder ?? ConfigurationFolder()).read(text, environment: environment)
        #expect(reading.lines == problems, sourceLocation: sourceLocation)
    }
}

/// Configurations that have no mistake.
struct Good: Sendable, CustomTestStringConvertible {
    let text: String
    var testDescription: String { text.replacing("\n", with: "⏎") }
    init(_ text: String) { self.text = text }
}
