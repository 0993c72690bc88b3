// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import ArgumentParser
import BenchHarness
import Glibc
import Settings

struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Send requests and measure how long their answers take.",
        discussion: """
            With --rate requests are sent at their times whatever the target does, and latency counts from the time at which each should have been \
            sent. With --connections each connection sends its next request when the last one has been answered: that finds the most that a target \
            can do, and says little of latency. Control-C ends the schedule, and the report is of what was measured until then. Exit code 0 when it measured, whatever the target answered; 69 when not one request could be sent.
            """)

    /// More than a machine has ports for one target.
    private static let greatestConnections = 60_000
    private static let greatestThreads = 256

    @Option(help: ArgumentHelp("Where to send requests.", valueName: "url"))
    var url: URLArgument

    @Option(help: ArgumentHelp("Requests a second, at even distances.", valueName: "number"))
    var rate: RateArgument?

    @Option(help: ArgumentHelp("As fast as so many connections are answered.", valueName: "number"))
    var connections: Int?

    @Option(help: ArgumentHelp("How long to measure, such as 30s.", valueName: "duration"))
    var duration: DurationArgument

    @Option(help: ArgumentHelp("How long to send requests before that.", valueName: "duration"))
    var warmup: DurationArgument?

    @Option(help: ArgumentHelp("A file of tokens, one a line, sent in rotation as Authorization: Bearer.", valueName: "file"))
    var tokenFile: String?

    @Option(help: ArgumentHelp("A mix of requests, YAML; their paths are of the URL's server.", valueName: "file"))
    var scenario: String?

    @Option(help: ArgumentHelp("A process whose CPU time and memory to report, with its children.", valueName: "pid"))
    var pid: Int32?

    @Option(help: ArgumentHelp("From the intended send time to the whole answer. Default: 10s.", valueName: "duration"))
    var timeout: DurationArgument?

    @Option(help: ArgumentHelp("With --rate: connections at a time; requests that find all busy wait. Default: 1024.", valueName: "number"))
    var maxConnections: Int?

    @Option(help: ArgumentHelp("Threads that send, each with its share of the requests.", valueName: "number"))
    var threads = 1

    @OptionGroup var connecting: Connecting
    @OptionGroup var output: OutputFiles

    func validate() throws {
        guard (rate == nil) != (connections == nil) else { throw ValidationError("Either --rate or --connections is needed.") }
        for (name, count) in [("--connections", connections), ("--max-connections", maxConnections)] {
            if let count, !(1...Self.greatestConnections ~= count) { throw ValidationError("\(name) must be from 1 to \(Self.greatestConnections).") }
        }
        guard maxConnections == nil || rate != nil else { throw ValidationError("--max-connections needs --rate.") }
        guard 1...Self.greatestThreads ~= threads else { throw ValidationError("--threads must be from 1 to \(Self.greatestThreads).") }
        let longest = LoadPlan.longestDuration
        for time in [duration, warmup, timeout].compactMap({ $0 }) where time.nanoseconds > longest {
            throw ValidationError("No duration can be longer than \(longest / 3_600_000_000_000)h.")
        }
        if let pid, pid <= 0 { throw ValidationError("--pid must be the number of a process.") }
        let target = try url.target("--url")
        guard scenario == nil || target.path == "/" else { throw ValidationError("With --scenario the paths are in its file: --url must have none.") }
    }

    func run() async throws {
        let target = try url.target("--url")
        let plan = try plan(target)
        let process = pid.map(ProcessTree.init(root:))
        if let process, process.usage() == nil { throw Exit.failure(Exit.unavailable, "there is no process \(process.root)") }
        let files = try output.open()
        let line = ProgressLine()
        let result: LoadResult
        do {
            let run = LoadRun(plan, process: process)
            result = try await run.run(interruptions: Interruption.first()) { line.show($0, warmup: plan.warmup, duration: plan.duration) }
        } catch is InterruptedInWarmup {
            line.clear()
            throw Exit.failure(Exit.interrupted, "interrupted before anything was measured")
        } catch let nothing as NothingSent {
            line.clear()
            throw Exit.failure(Exit.unavailable, "not one request could be sent to \(target.shown): \(nothing.reason.name)")
        }
        line.clear()
        if result.duration < plan.duration { Exit.say("interrupted: the report is of the time until then") }
        if let process, result.usage == nil { Exit.say("process \(process.root) has ended: its figures are missing") }
        let report = RunReport(result, plan: plan, process: process)
        try files.write(json: report.json) { report.page(command: CommandLine.arguments) }
    }

    private func plan(_ target: Target) throws -> LoadPlan {
        var tokens: [String] = []
        if let tokenFile { tokens = try readTokens(tokenFile) }
        let pace = rate.map { LoadPlan.Pace.rate($0.perSecond) } ?? .connections(connections ?? 1)
        // A loop without a connection would have nothing to do.
        let loops = connections.map { min($0, threads) } ?? threads
        return LoadPlan(
            dialer: try connecting.dialer(to: target), shapes: try shapes(target), tokens: tokens, pace: pace, warmup: warmup?.nanoseconds ?? 0,
            duration: duration.nanoseconds, timeout: timeout?.nanoseconds ?? LoadPlan.timeout,
            connectionLimit: maxConnections ?? LoadPlan.maxConnections, loops: loops)
    }

    private func shapes(_ target: Target) throws -> [RequestShape] {
        guard let scenario else { return [RequestShape(target: target.path)] }
        do throws(SettingsProblems) {
            return try ScenarioSettings.load(path: scenario).requests.map { request in
                RequestShape(
                    method: request.method, target: request.path, fields: request.headers.map { .init($0.name, $0.value) },
                    body: Array(request.body.utf8), sendsToken: request.sendsToken, weight: request.weight)
            }
        } catch {
            for problem in error.problems { Exit.write("\(problem)\n") }
            throw ExitCode(Exit.configuration)
        }
    }
}
