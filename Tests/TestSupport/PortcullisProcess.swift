// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation

/// A real executable in a process of its own, with a folder of its own: configuration, key, users, and what it printed.
package final class PortcullisProcess: Sendable {
    package let folder: String
    private let child: ChildProcess

    package var configurationPath: String { "\(folder)/portcullis.yaml" }
    /// What it has printed so far on standard output, and on standard error.
    package var output: String { Self.text("\(folder)/output") }
    package var errors: String { Self.text("\(folder)/errors") }
    package var isRunning: Bool { child.isRunning }
    /// Nil while it runs, and when a signal ended it.
    package var exitCode: Int32? { child.exitCode }
    package var identifier: pid_t { child.identifier }

    /// - Parameters:
    ///   - folder: belongs to this object from now on.
    ///   - program: one of the package's executables.
    package init(_ arguments: [String], folder: String, program: String = "portcullis") throws {
        self.folder = folder
        // Inside, so that what a killed process leaves behind goes with the folder.
        let temporary = "\(folder)/tmp"
        try FileManager.default.createDirectory(atPath: temporary, withIntermediateDirectories: true)
        child = try ChildProcess(
            Self.executable(program), arguments, output: "\(folder)/output", errors: "\(folder)/errors", temporary: temporary)
    }

    package convenience init(_ arguments: [String], program: String = "portcullis") throws {
        try self.init(arguments, folder: temporaryFolder("process"), program: program)
    }

    deinit { stop() }

    /// The most memory that it ever held, in bytes.
    package var peakMemory: Int { get throws { try status("VmHWM:") } }

    /// What it holds now, in bytes.
    package var memory: Int { get throws { try status("VmRSS:") } }

    private func status(_ name: String) throws -> Int {
        let status = try String(contentsOfFile: "/proc/\(identifier)/status", encoding: .utf8)
        guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix(name) }), let size = Int(line.filter(\.isNumber)) else {
            throw NotInTime(description: "process \(identifier) is gone")
        }
        return size * 1024
    }

    package func send(signal: Int32) { child.send(signal: signal) }

    /// SIGSTOP; returns when no thread runs any more. One takes the signal and stops the others, which go on until it is its turn.
    package func pause() async throws {
        send(signal: SIGSTOP)
        let tasks = "/proc/\(identifier)/task"
        try await eventually("every thread has stopped") {
            try FileManager.default.contentsOfDirectory(atPath: tasks).allSatisfy { thread in
                let fields = try String(contentsOfFile: "\(tasks)/\(thread)/stat", encoding: .utf8)
                // The name in brackets may hold anything; the state follows it.
                return fields.split(separator: ")").last?.hasPrefix(" T") == true
            }
        }
    }

    package func resume() { send(signal: SIGCONT) }

    /// SIGKILL; removes the folder.
    package func stop() {
        child.kill()
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// Waits for the end.
    package func exit(within: Duration = .seconds(20)) async throws -> Int32? {
        try await eventually("the process ends", within: within) { !self.isRunning }
        return exitCode
    }

    /// A command that ends by itself.
    package struct Result: Sendable {
        package let exitCode: Int32?
        package let output: String
        package let errors: String
    }

    package static func run(_ arguments: String...) async throws -> Result { try await run(arguments) }

    package static func run(_ arguments: [String], program: String = "portcullis", within: Duration = .seconds(20)) async throws -> Result {
        let process = try PortcullisProcess(arguments, program: program)
        defer { process.stop() }
        let code = try await process.exit(within: within)
        return Result(exitCode: code, output: process.output, errors: process.errors)
    }

    /// What `PORTCULLIS_BINARY` names (a path; for figures, which want a release build), or else what stands beside the bundle of the tests, where
    /// `swift build --build-tests` puts it.
    package static func executable(_ name: String) throws -> String {
        if name == "portcullis", let path = ProcessInfo.processInfo.environment["PORTCULLIS_BINARY"] { return path }
        let bundle = Bundle.main.executableURL ?? URL(fileURLWithPath: CommandLine.arguments[0])
        let path = bundle.resolvingSymlinksInPath().deletingLastPathComponent().appendingPathComponent(name).path
        guard FileManager.default.isExecutableFile(atPath: path) else {
            throw NotInTime(description: "there is no executable at \(path): build it with `swift build --build-tests`")
        }
        return path
    }

    private static func text(_ path: String) -> String {
        String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
    }
}
