// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import ArgumentParser
import Glibc
import Tokens

struct KeysCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "keys", abstract: "Make signing keys.", subcommands: [Generate.self])

    func run() throws { throw ValidationError("A command is needed: generate.") }

    struct Generate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a private key for sessions.signing_key: PKCS#8, PEM, readable by its owner alone.")

        enum Algorithm: String, ExpressibleByArgument, CaseIterable {
            case eddsa = "EdDSA"
            case es256 = "ES256"
            case rs256 = "RS256"

            var signing: JOSEAlgorithm {
                switch self {
                case .eddsa: .eddsa
                case .es256: .es256
                case .rs256: .rs256
                }
            }
        }

        @Option(help: "EdDSA (Ed25519: small, fast to sign), ES256 or RS256 (fast to verify).")
        var algorithm: Algorithm

        @Option(help: ArgumentHelp("The file to make; it must not be there yet. Default: standard output.", valueName: "file"))
        var out: String?

        func run() throws {
            let pem: [UInt8]
            do throws(KeyProblem) {
                pem = try SigningKey.generate(algorithm.signing).pem
            } catch {
                throw Exit.failure(Exit.internalFault, "the key could not be made: OpenSSL \(error)")
            }
            guard let out else {
                guard NewFile.writeAll(pem, to: STDOUT_FILENO) else {
                    throw Exit.failure(Exit.unavailable, "the key could not be written: \(String(cString: strerror(errno)))")
                }
                return
            }
            do throws(NewFile.Problem) {
                try NewFile.write(pem, to: out)
            } catch {
                throw Exit.failure(error.isThere ? Exit.usage : Exit.unavailable, "\(out) \(error.reason)")
            }
        }
    }
}

/// A file that only its owner can read, and that never takes another's place.
enum NewFile {
    struct Problem: Error {
        let isThere: Bool
        /// A clause about the file.
        let reason: String
    }

    /// False where not all could be written; `errno` says why.
    static func writeAll(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    static func write(_ bytes: [UInt8], to path: String) throws(Problem) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            let isThere = errno == EEXIST
            throw Problem(
                isThere: isThere, reason: isThere ? "is there already: choose another name" : "cannot be made: \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        guard writeAll(bytes, to: descriptor) else {
            let reason = "cannot be written: \(String(cString: strerror(errno)))"
            unlink(path)
            throw Problem(isThere: false, reason: reason)
        }
    }
}
