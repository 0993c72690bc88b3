// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Tokens

/// Collects what the reading of one configuration comes to: its problems, where its values stand, and what files were read. Used by one
/// `SettingsLoader.load`.
final class SettingsReader {
    let environment: [String: String]
    private(set) var problems: [SettingsProblem] = []
    private(set) var warnings: [SettingsProblem] = []
    private(set) var places: [String: Place] = [:]
    private var failed: Set<String> = []
    private let file: String
    private var files: NamedFiles

    init(file: String, environment: [String: String]) {
        self.file = file
        self.environment = environment
        files = NamedFiles(folderOf: file)
    }

    /// The key's value stands there.
    func note(_ path: String, at place: Place) { places[path] = place }

    /// - Parameter place: nil: where the value stands, or what it should stand in.
    func report(_ path: String, _ message: String, at place: Place? = nil) {
        failed.insert(path)
        problems.append(problem(path, message, place))
    }

    func warn(_ path: String, _ message: String) { warnings.append(problem(path, message, nil)) }

    /// Whether nothing was wrong with the values at these paths, so that it makes sense to compare them with others.
    func isSound(_ paths: String...) -> Bool {
        paths.allSatisfy { path in
            var path = path
            while !failed.contains(path) {
                guard let parent = SettingPath.parent(of: path) else { return true }
                path = parent
            }
            return false
        }
    }

    /// Whether nothing was wrong with the value at the path, with anything in it, nor with what it stands in.
    func isSoundWithin(_ path: String) -> Bool {
        isSound(path) && !failed.contains { $0.hasPrefix(path + ".") || $0.hasPrefix(path + "[") }
    }

    /// Whether the file has a value there, as far as it has been read.
    func has(_ path: String) -> Bool { places[path] != nil }

    private func problem(_ path: String, _ message: String, _ place: Place?) -> SettingsProblem {
        SettingsProblem(file: file, place: place ?? self.place(of: path), key: path.isEmpty ? "(file)" : path, message: message)
    }

    private func place(of path: String) -> Place {
        var path = path
        while true {
            if let place = places[path] { return place }
            guard let parent = SettingPath.parent(of: path) else { return .start }
            path = parent
        }
    }

    // MARK: What is read besides the file

    /// The bytes of a file that the configuration names; nil after a report.
    func read(_ name: String, for path: String) -> [UInt8]? {
        open(name, for: path)?.bytes
    }

    /// The same of a file that holds a secret, or decides who gets in: it is warned of where every user of the machine can get at it.
    func readSecret(_ name: String, for path: String) -> [UInt8]? {
        guard let file = open(name, for: path) else { return nil }
        if file.isOpenToAll { warn(path, "names a file that every user of this machine can read or change: chmod o-rw") }
        return file.bytes
    }

    private func open(_ name: String, for path: String) -> NamedFile? {
        switch files.read(name) {
        case .success(let file): return file
        case .failure(let problem):
            report(path, "names a file that \(problem.description)")
            return nil
        }
    }

    func absolute(_ name: String) -> String { files.absolute(name) }

    func variable(_ name: String) -> String? {
        let value = environment[name]
        files.note(name, value.map { Array($0.utf8) })
        return value
    }

    /// The configuration itself.
    func readConfiguration() -> [UInt8]? {
        switch files.readConfiguration(file) {
        case .success(let bytes): return bytes
        case .failure(let problem):
            report("", "the file \(problem.description)")
            return nil
        }
    }

    var digest: [UInt8] { files.digest }
}
