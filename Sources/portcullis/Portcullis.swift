// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import ArgumentParser
import Glibc

@main
struct Portcullis: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "portcullis",
        abstract: "An auth gateway: verifies the token and the session of every request, and forwards what is trusted.",
        version: Version.text,
        subcommands: [ServeCommand.self, DemoCommand.self, CheckCommand.self, SessionsCommand.self, KeysCommand.self])

    static func main() async {
        // A descriptor of these that is closed would become a socket's, and log lines would go to it.
        for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) < 0 { _ = open("/dev/null", O_RDWR) }
        // A peer that has gone is told by the call that writes to it.
        signal(SIGPIPE, SIG_IGN)
        do {
            var command = try parseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch {
            exit(withError: error)
        }
    }

    func run() throws { throw ValidationError("A command is needed: serve, demo, check, sessions or keys.") }
}

enum Version {
    static let text = "0.1.0"
}

/// The exit codes of every command (contract §2); ArgumentParser ends with 64 itself where the usage is wrong.
enum Exit {
    static let usage: Int32 = 64
    /// An address cannot be bound, or what is needed cannot be reached.
    static let unavailable: Int32 = 69
    static let internalFault: Int32 = 70
    static let configuration: Int32 = 78

    /// Says what went wrong in one line, and ends the command.
    static func failure(_ code: Int32, _ line: String) -> ExitCode {
        StandardError.write("portcullis: \(line)")
        return ExitCode(code)
    }
}
