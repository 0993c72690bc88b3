// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import ArgumentParser
import Glibc

@main
struct PortcullisBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "portcullis-bench",
        abstract: "Measures gateways: latency under load, and how long after a logout requests still pass.",
        subcommands: [RunCommand.self, RevocationCommand.self])

    static func main() async {
        // A peer that has gone is told by the call that writes to it.
        signal(SIGPIPE, SIG_IGN)
        raiseDescriptorLimit()
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

    func run() throws { throw ValidationError("A command is needed: run or revocation.") }

    /// Connections are descriptors, and the usual limit of 1024 is for those that use select(2).
    private static func raiseDescriptorLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}

/// What is said to the person who started the command, and the codes that it ends with (contract §2); ArgumentParser ends with 64 itself where
/// the usage is wrong.
enum Exit {
    static let found: Int32 = 1
    static let usage: Int32 = 64
    static let unavailable: Int32 = 69
    static let configuration: Int32 = 78
    /// As shells tell the end by SIGINT.
    static let interrupted: Int32 = 130

    /// Says what went wrong in one line, and ends the command.
    static func failure(_ code: Int32, _ line: String) -> ExitCode {
        say(line)
        return ExitCode(code)
    }

    static func say(_ line: String) { write("portcullis-bench: \(line)\n") }

    /// To standard error.
    static func write(_ text: String) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { return }
            rest = rest.dropFirst(written)
        }
    }
}
