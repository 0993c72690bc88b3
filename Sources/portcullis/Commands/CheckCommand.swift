// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import ArgumentParser

struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Read a configuration and report every mistake in it; connects to and binds nothing.")

    @Option(help: ArgumentHelp("The configuration, YAML.", valueName: "file"))
    var config: String

    func run() throws {
        let plan = try ConfigurationFile(config).plan()
        for warning in plan.warnings { StandardError.write(warning) }
        print("No mistakes in \(config)")
    }
}
