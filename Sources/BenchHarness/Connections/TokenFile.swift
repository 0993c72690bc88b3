// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc

/// A file of tokens, one a line. What is wrong with it is told without its content.
package enum TokenFile {
    /// The whole file, in bytes: a hundred thousand tokens of a kibibyte have less than half of it.
    package static let fileBytes = 256 << 20
    /// One token, in bytes. Gateways take less.
    package static let tokenBytes = 64 << 10

    package struct Problem: Error, CustomStringConvertible {
        package let description: String
        /// The file cannot be read.
        package var isAbsent = false
    }

    /// - Returns: at least one token.
    package static func read(_ path: String) throws(Problem) -> [String] {
        let tokens = try lines(path)
        for (number, token) in tokens.enumerated() {
            guard token.utf8.count <= tokenBytes, token.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
                throw Problem(description: "\(path): token \(number + 1) is no token: visible ASCII characters without blanks are needed")
            }
        }
        guard !tokens.isEmpty else { throw Problem(description: "\(path) has no token: one a line is needed") }
        return tokens
    }

    /// The lines of a file that are not empty, without their ends.
    static func lines(_ path: String) throws(Problem) -> [String] {
        var lines: [String] = []
        for line in try bytes(path).split(separator: UInt8(ascii: "\n")) {
            let text = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
            if !text.isEmpty { lines.append(String(decoding: text, as: UTF8.self)) }
        }
        return lines
    }

    private static func bytes(_ path: String) throws(Problem) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Problem(description: "\(path) cannot be read: \(String(cString: strerror(errno)))", isAbsent: true) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Problem(description: "\(path) cannot be read: \(String(cString: strerror(errno)))", isAbsent: true) }
            if count == 0 { return bytes }
            bytes += chunk[..<count]
            guard bytes.count <= fileBytes else { throw Problem(description: "\(path) has more than \(fileBytes) bytes") }
        }
    }
}
