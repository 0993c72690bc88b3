// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import ArgumentParser
import Control
import Gateway
import Glibc
import Settings

/// A configuration on its way from a file to a plan.
struct ConfigurationFile: Sendable {
    private let path: String
    private let loader = SettingsLoader(environment: Self.environment(), rules: .real)

    init(_ path: String) { self.path = path }

    /// At a start: every mistake is reported, and ends the command.
    func plan() throws -> Plan {
        do throws(SettingsProblems) {
            return try Plan(try loader.load(path: path))
        } catch {
            for problem in error.problems { StandardError.write(problem.description) }
            throw ExitCode(Exit.configuration)
        }
    }

    /// At a reload: what needs a restart must not have changed.
    func load(replacing current: Plan) -> GatewayProcess.Loaded {
        do throws(SettingsProblems) {
            let loaded = try loader.load(path: path)
            let changes = loaded.problems(replacing: current.settings)
            guard changes.isEmpty else { return .problems(changes.map(\.description), digest: loaded.digest) }
            return .plan(try Plan(loaded))
        } catch {
            return .problems(error.problems.map(\.description), digest: error.digest)
        }
    }

    private static func environment() -> [String: String] {
        var variables: [String: String] = [:]
        var next = environ
        while let entry = next.pointee {
            let text = String(cString: entry)
            if let sign = text.firstIndex(of: "=") { variables[String(text[..<sign])] = String(text[text.index(after: sign)...]) }
            next += 1
        }
        return variables
    }
}

extension ValueRules {
    /// Those of the modules that use the values.
    static let real = ValueRules(
        usersFileProblem: { bytes in
            do throws(UsersFileProblem) {
                _ = try UsersFile(parsing: bytes)
                return nil
            } catch {
                return error.description
            }
        },
        isAddressRange: { AddressRange($0) != nil },
        isPath: { path, paths in PathConfiguration(paths).canBeRequested(path) },
        isNormalPath: { PathConfiguration().isNormal($0) })
}
