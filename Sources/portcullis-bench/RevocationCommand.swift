// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import ArgumentParser
import BenchHarness

struct RevocationCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "revocation", abstract: "Log sessions out under load and measure how long they still pass, on every edge.",
        discussion: """
            Makes sessions through the admin API, keeps requests of each going on every edge, logs them out, and measures the time from the \
            logout's answer to the sending of the last request that got a 2xx. Exit code 1 if such a request was sent after that answer, or a \
            WebSocket was left open; 69 if of some gateway nothing could be measured.

            Other gateways: --sessions-file FILE has sessions that are there already (user, session id and token in a line), and \
            --logout-command CMD logs one out: a command of the shell that finds PORTCULLIS_BENCH_USER, PORTCULLIS_BENCH_SESSION and \
            PORTCULLIS_BENCH_TOKEN in its environment and exits with 0 when the logout has been answered.
            """)

    private static let greatestLogouts = 100_000
    private static let greatestSessions = 1000

    @Option(help: ArgumentHelp("The gateways, separated by commas.", valueName: "url,url"))
    var edges: String

    @Option(help: ArgumentHelp("The admin listener of one of them, as http://127.0.0.1:9180.", valueName: "url"))
    var admin: URLArgument?

    @Option(help: ArgumentHelp("The file that has the admin token.", valueName: "file"))
    var tokenFile: String?

    @Option(help: ArgumentHelp("What is asked for with a session's token.", valueName: "path"))
    var path = "/"

    @Option(help: ArgumentHelp("Also open a WebSocket there, for each session through each edge.", valueName: "path"))
    var websocketPath: String?

    @Option(help: ArgumentHelp("How many logouts to measure. Default: 100, or all of the sessions file.", valueName: "number"))
    var logouts: Int?

    @Option(help: ArgumentHelp("Sessions at a time.", valueName: "number"))
    var sessions = RevocationPlan.sessions

    @Option(help: ArgumentHelp("Between two requests of a session on an edge. Default: 5ms.", valueName: "duration"))
    var interval: DurationArgument?

    @Option(help: ArgumentHelp("How long every edge must refuse until a logout counts as done. Default: 1s.", valueName: "duration"))
    var settle: DurationArgument?

    @Option(help: ArgumentHelp("How long edges are watched after a logout at most. Default: 30s.", valueName: "duration"))
    var observe: DurationArgument?

    @Option(help: ArgumentHelp("Sessions that are there already.", valueName: "file"))
    var sessionsFile: String?

    @Option(help: ArgumentHelp("Logs a session out, instead of the admin API.", valueName: "command"))
    var logoutCommand: String?

    @Option(
        help: ArgumentHelp(
            "Run after half of the logouts: a fault, such as a gateway that is stopped for a while. The next --sessions logouts fall into it.",
            valueName: "command"))
    var during: String?

    @OptionGroup var connecting: Connecting
    @OptionGroup var output: OutputFiles

    func validate() throws {
        guard admin != nil || (sessionsFile != nil && logoutCommand != nil) else {
            throw ValidationError("Either --admin and --token-file are needed, or --sessions-file and --logout-command.")
        }
        guard (admin == nil) == (tokenFile == nil) else { throw ValidationError("--admin and --token-file go together.") }
        guard admin == nil || sessionsFile == nil else { throw ValidationError("--admin and --sessions-file exclude each other.") }
        guard websocketPath == nil || !connecting.isHTTP2 else { throw ValidationError("--websocket-path is for HTTP/1.1, not for --http2.") }
        if let logouts, !(1...Self.greatestLogouts ~= logouts) { throw ValidationError("--logouts must be from 1 to \(Self.greatestLogouts).") }
        guard 1...Self.greatestSessions ~= sessions else { throw ValidationError("--sessions must be from 1 to \(Self.greatestSessions).") }
        for (name, path) in [("--path", path), ("--websocket-path", websocketPath ?? "/")] where !isPath(path) {
            throw ValidationError("\(name) must begin with / and have no blanks.")
        }
        _ = try targets()
        _ = try admin?.target("--admin")
    }

    private func isPath(_ path: String) -> Bool { path.hasPrefix("/") && path.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "#") } }

    private func targets() throws -> [Target] {
        let words = edges.split(separator: ",", omittingEmptySubsequences: false)
        return try words.map { word in
            guard let url = URLArgument(argument: String(word)) else { throw ValidationError("--edges needs URLs.") }
            return Target(try url.target("--edges"), path: path)
        }
    }

    func run() async throws {
        let plan = try plan()
        let files = try output.open()
        let line = ProgressLine()
        let report: RevocationReport
        do {
            report = try await RevocationRun(plan).run { line.overwrite("\($0) of \(plan.logouts) logouts") }
        } catch let obstacle as RevocationObstacle {
            line.clear()
            throw Exit.failure(Exit.unavailable, told(obstacle))
        }
        line.clear()
        try files.write(json: report.json) { report.page(command: CommandLine.arguments) }
        if let code = report.commandExitCode, code != 0 { Exit.say("the command of --during ended with \(code)") }
        for gap in report.gaps { Exit.say("not measured: \(gap)") }
        if report.late > 0 { Exit.say("\(report.late) requests that were sent after the logout's answer got a 2xx") }
        if report.openSockets > 0 { Exit.say("\(report.openSockets) WebSockets were still open after their session's logout") }
        if report.late > 0 || report.openSockets > 0 { throw ExitCode(Exit.found) }
        if report.isBlind { throw ExitCode(Exit.unavailable) }
    }

    private func told(_ obstacle: RevocationObstacle) -> String {
        switch obstacle {
        case .noSession("status_401"): "the admin listener made no session: status_401 (--token-file must have its token)"
        case .noSession("status_404"): "the admin listener made no session: status_404 (it must be the admin listener, with a token)"
        case .noSession(let reason): "the admin listener made no session: \(reason)"
        case .edgeRefuses(let url, let reason): "\(url) does not let a fresh session in: \(reason) (--path must be a route for sessions)"
        case .noWebSocket(let url): "\(url) does not answer the request for a WebSocket (--websocket-path must be a route that has one)"
        case .noLogout: "no logout was answered 2xx"
        }
    }

    private func plan() throws -> RevocationPlan {
        var given: [BenchSession] = []
        do throws(TokenFile.Problem) {
            if let sessionsFile { given = try BenchSession.read(sessionsFile) }
        } catch {
            throw Exit.failure(error.isAbsent ? Exit.unavailable : Exit.usage, error.description)
        }
        var adminAccess: (dialer: Dialer, token: String)?
        if let admin, let tokenFile {
            let token = try readTokens(tokenFile)[0]
            adminAccess = (try connecting.adminDialer(to: admin.target("--admin")), token)
        }
        let source = adminAccess.map { RevocationPlan.Source.admin($0.dialer, token: $0.token) } ?? .list(given)
        let logout = logoutCommand.map { RevocationPlan.Logout.command($0) } ?? adminAccess.map { .admin($0.dialer, token: $0.token) }
        guard let logout else { throw ValidationError("--logout-command is needed.") }
        return RevocationPlan(
            edges: try targets().map { try connecting.dialer(to: $0) }, source: source, logout: logout, webSocketPath: websocketPath,
            logouts: logouts ?? (given.isEmpty ? RevocationPlan.logouts : given.count), sessions: sessions,
            interval: interval?.nanoseconds ?? RevocationPlan.interval, settling: settle?.nanoseconds ?? RevocationPlan.settling,
            observation: observe?.nanoseconds ?? RevocationPlan.observation, during: during)
    }
}
