// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import ArgumentParser
import Tokens

struct SessionsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sessions", abstract: "List, end and make sessions through a gateway's admin listener.",
        subcommands: [List.self, Revoke.self, RevokeAll.self, Create.self])

    func run() throws { throw ValidationError("A command is needed: list, revoke, revoke-all or create.") }

    struct Target: ParsableArguments {
        @Argument(help: "The user's name.")
        var user: String

        @Option(help: ArgumentHelp("The admin listener, as http://127.0.0.1:9180.", valueName: "url"))
        var admin: String

        @Option(help: ArgumentHelp("The file that has the admin token.", valueName: "file"))
        var tokenFile: String

        @Option(help: ArgumentHelp("The namespace of the user, where it is not the gateway's own.", valueName: "name"))
        var namespace: String?

        @Flag(help: "Print the answer of the gateway: JSON.")
        var json = false

        func validate() throws {
            guard !user.isEmpty else { throw ValidationError("The user's name is empty.") }
            guard admin.hasPrefix("http://") || admin.hasPrefix("https://") else {
                throw ValidationError("--admin needs a URL such as http://127.0.0.1:9180.")
            }
        }

        /// What the gateway answered, if it is one of these statuses.
        func call(_ method: AdminClient.Method, _ path: String = "", body: String? = nil) async throws -> [UInt8] {
            let client = try AdminClient(url: admin, tokenFile: tokenFile)
            let query = namespace.map { "?namespace=\(AdminClient.escaped($0))" } ?? ""
            return try await client.call(method, "/v1/users/\(AdminClient.escaped(user))/sessions\(path)\(query)", body: body)
        }

        func printJSON(_ answer: [UInt8]) { print(String(decoding: answer, as: UTF8.self)) }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show a user's sessions, those that have ended and are remembered included.")
        @OptionGroup var target: Target

        func run() async throws {
            let answer = try await target.call(.get)
            if target.json { return target.printJSON(answer) }
            let sessions = (try? JSONValue(parsing: answer))?.object?["sessions"]?.array ?? []
            guard !sessions.isEmpty else { return print("no sessions") }
            let columns = ["session_id", "revoked", "device", "ip", "created_at", "last_seen_at", "expires_at", "revoke_reason"]
            let rows = [columns] + sessions.map { session in columns.map { TerminalText.shown(session.object?[$0]?.scalarText ?? "-") } }
            let widths = columns.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
            for row in rows {
                let cells = zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }
                print(cells.joined(separator: "  "))
            }
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "End one session.")
        @OptionGroup var target: Target
        @Argument(help: "The session's id.")
        var sid: String

        func run() async throws {
            let answer = try await target.call(.delete, "/\(AdminClient.escaped(sid))")
            if target.json { target.printJSON(answer.isEmpty ? Array("{}".utf8) : answer) } else { print("ended") }
        }
    }

    struct RevokeAll: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "revoke-all", abstract: "End every session of a user.")
        @OptionGroup var target: Target

        func run() async throws {
            let answer = try await target.call(.delete)
            if target.json { return target.printJSON(answer) }
            print("Every session has ended; \((try? JSONValue(parsing: answer))?.object?["revoked"]?.scalarText ?? "?") were in the list")
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make a session and print its tokens.")
        @OptionGroup var target: Target

        func run() async throws {
            let answer = try await target.call(.post, body: "{}")
            if target.json { return target.printJSON(answer) }
            let made = (try? JSONValue(parsing: answer))?.object
            for name in ["session_id", "access_token", "refresh_token", "expires_in"] {
                print("\(name): \(TerminalText.shown(made?[name]?.scalarText ?? "-"))")
            }
        }
    }
}

/// Names of devices come from clients: nothing of them steers a terminal.
enum TerminalText {
    static func shown(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.map { scalar in
                    switch scalar.properties.generalCategory {
                    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: "\u{FFFD}"
                    default: scalar
                    }
                }))
    }
}
