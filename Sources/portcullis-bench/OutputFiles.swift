// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import ArgumentParser
import BenchHarness
import Glibc

/// Where the report goes.
struct OutputFiles: ParsableArguments {
    @Option(help: ArgumentHelp("Write the report as JSON. Default: to standard output, unless --html is given.", valueName: "file"))
    var json: String?

    @Option(help: ArgumentHelp("Write the report as a page with plots, in one file.", valueName: "file"))
    var html: String?

    func validate() throws {
        guard json == nil || json != html else { throw ValidationError("--json and --html need a file each.") }
    }

    /// Opens the files before anything is measured: a run of hours must not end in a folder that is not there. What was in them stays until there is
    /// something new.
    func open() throws -> Opened {
        Opened(json: try json.map(Self.create), html: try html.map(Self.create))
    }

    struct Opened {
        let json: Int32?
        let html: Int32?

        func write(json: [UInt8], html: () -> [UInt8]) throws {
            if let descriptor = self.json { try OutputFiles.write(json, to: descriptor) }
            if let descriptor = self.html { try OutputFiles.write(html(), to: descriptor) }
            if self.json == nil, self.html == nil { try OutputFiles.write(json, to: STDOUT_FILENO) }
        }
    }

    private static func create(_ path: String) throws -> Int32 {
        let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw Exit.failure(Exit.unavailable, "\(path) cannot be written: \(String(cString: strerror(errno)))") }
        return descriptor
    }

    private static func write(_ bytes: [UInt8], to descriptor: Int32) throws {
        // Fails for pipes and terminals, which have nothing to be cut off.
        if descriptor != STDOUT_FILENO { ftruncate(descriptor, 0) }
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Exit.failure(Exit.unavailable, "the report cannot be written: \(String(cString: strerror(errno)))") }
            rest = rest.dropFirst(count)
        }
    }
}
