// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// What other modules know about values: asked here, so that a configuration is found wrong before anything is done with it.
package struct ValueRules: Sendable {
    /// Why a users file cannot be used, as a clause without its content; nil: it can.
    package var usersFileProblem: @Sendable ([UInt8]) -> String?
    /// Whether it is an IP address or a range of them.
    package var isAddressRange: @Sendable (String) -> Bool
    /// Whether requests can have this path, with `paths` as given.
    package var isPath: @Sendable (String, Settings.Paths) -> Bool
    /// Whether it is a path in the form in which paths are matched.
    package var isNormalPath: @Sendable (String) -> Bool

    package init(
        usersFileProblem: @escaping @Sendable ([UInt8]) -> String?, isAddressRange: @escaping @Sendable (String) -> Bool,
        isPath: @escaping @Sendable (String, Settings.Paths) -> Bool, isNormalPath: @escaping @Sendable (String) -> Bool
    ) {
        self.usersFileProblem = usersFileProblem
        self.isAddressRange = isAddressRange
        self.isPath = isPath
        self.isNormalPath = isNormalPath
    }
}

/// Reads a configuration: decodes, validates, freezes. Reads the file and the files that it names; connects to and binds nothing.
package struct SettingsLoader: Sendable {
    private let environment: [String: String]
    private let rules: ValueRules

    package init(environment: [String: String], rules: ValueRules) {
        self.environment = environment
        self.rules = rules
    }

    /// - Throws: all mistakes at once, in the order of the lines. No message holds what was read.
    package func load(path: String) throws(SettingsProblems) -> LoadedSettings {
        let reader = SettingsReader(file: path, environment: environment)
        let settings = read(reader)
        guard let settings, reader.problems.isEmpty else {
            throw SettingsProblems(problems: reader.problems.inOrder, digest: reader.digest)
        }
        return LoadedSettings(settings: settings, warnings: reader.warnings.inOrder, digest: reader.digest, file: path, places: reader.places)
    }

    private func read(_ reader: SettingsReader) -> Settings? {
        guard let root = reader.readRoot() else { return nil }
        var settings = Settings()
        settings.read(root, rules)
        root.finish()
        return settings
    }
}

extension SettingsReader {
    /// The mapping that the file consists of; nil after a report.
    func readRoot() -> Section? {
        guard let bytes = readConfiguration() else { return nil }
        let node: YAMLNode?
        do throws(YAMLProblem) {
            node = try YAMLDocument.root(of: bytes)
        } catch {
            report("", error.message, at: error.place)
            return nil
        }
        guard let node else {
            report("", "is empty: {} is the shortest configuration", at: .start)
            return nil
        }
        return Section(Value(node, path: "", reader: self))
    }
}

extension Settings {
    /// What is referred to comes first.
    fileprivate mutating func read(_ root: Section, _ rules: ValueRules) {
        readServer(root, rules)
        readStore(root)
        root.section("sessions") { sessions.read($0, rules) }
        readIssuers(root)
        readIdentity(root)
        let upstreams = readUpstreams(root)
        let paths = paths
        let areIssuersKnown = root.value.reader.isSoundWithin("issuers") && root.value.reader.isSound("sessions.issuer")
        readRoutes(
            root,
            RouteContext(
                upstreams: upstreams, issuers: areIssuersKnown ? issuers.map(\.name) + [sessions.issuer] : nil, isPath: { rules.isPath($0, paths) }))
    }
}

extension [SettingsProblem] {
    /// By line; what stands at one place stays as it was found.
    var inOrder: [SettingsProblem] {
        enumerated().sorted { ($0.element.place, $0.offset) < ($1.element.place, $1.offset) }.map(\.element)
    }
}
