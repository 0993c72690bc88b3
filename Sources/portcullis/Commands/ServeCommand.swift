// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import ArgumentParser
import Gateway
import Glibc

struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "Run the gateway.",
        discussion: "SIGHUP, or a changed file: reload. SIGTERM and SIGINT: drain, then exit; a second one exits at once.")

    @Option(help: ArgumentHelp("The configuration, YAML.", valueName: "file"))
    var config: String

    func run() async throws {
        // Until the signal is listened to, it must not end the process.
        signal(SIGHUP, SIG_IGN)
        let file = ConfigurationFile(config)
        let plan = try file.plan()
        let process = GatewayProcess(output: LineWriter(), level: LogLevel(plan.logLevel))
        do throws(GatewayProcess.Failure) {
            try await process.run(plan, watching: config, load: file.load(replacing:))
        } catch {
            throw error.exit(config)
        }
    }
}

extension GatewayProcess.Failure {
    /// - Parameter place: what the configuration is called.
    func exit(_ place: String) -> ExitCode {
        switch self {
        case .configuration(let problem): Exit.failure(Exit.configuration, "\(place): \(problem)")
        case .cannotBind(let problem): Exit.failure(Exit.unavailable, problem)
        case .cannotReach(let problem): Exit.failure(Exit.unavailable, problem)
        case .internalFault(let problem): Exit.failure(Exit.internalFault, problem)
        }
    }
}
