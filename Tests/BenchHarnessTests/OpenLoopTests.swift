// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import Synchronization
import TestSupport
import Testing

@testable import BenchHarness

@Suite("Open loop: requests at their times, whatever the target does", .serialized)
struct OpenLoopTests {
    @Test("as many requests are sent as the rate says, each is answered, and each counts once", arguments: [1, 2])
    func rate(loops: Int) async throws {
        let server = try ScriptedServer()
        defer { server.stop() }
        let report = try await LoadPlan.simple(server.port, .rate(200), duration: 1500, loops: loops).report()
        #expect(server.requests.count == 300 && report.requests == 300 && report.ok == 300, "\(server.requests.count), \(report.errors)")
        #expect(report.timeline.map(\.requests) == [200, 100])
    }

    @Test(
        "an interruption ends the schedule: all that was due before is in the report, and the time that it took",
        arguments: [LoadPlan.Pace.rate(100), .rate(0.1), .connections(2)])
    func interruption(pace: LoadPlan.Pace) async throws {
        let server = try ScriptedServer()
        defer { server.stop() }
        let plan = try LoadPlan.simple(server.port, pace, duration: 600_000, loops: 2)
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        let running = Task { try await LoadRun(plan).run(interruptions: stream) }
        let least = pace == .rate(0.1) ? 1 : 20
        try await eventually("some are sent") { server.requests.count >= least }
        continuation.yield()
        let report = RunReport(try await running.value, plan: plan, process: nil)
        #expect(report.errors.isEmpty && report.requests == server.requests.count && report.requests >= least)
        #expect(report.durationSeconds < 300 && report.timeline.count == Int(report.durationSeconds.rounded(.up)))
        if case .rate(let rate) = pace { #expect(abs(Double(report.requests) - report.durationSeconds * rate) <= 1) }
    }

    @Test("one in the warm-up leaves nothing to report")
    func earlyInterruption() async throws {
        let server = try ScriptedServer()
        defer { server.stop() }
        let plan = try LoadPlan.simple(server.port, .rate(50), warmup: 600_000, duration: 1000)
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        let running = Task { try await LoadRun(plan).run(interruptions: stream) }
        try await eventually("some are sent") { server.requests.count >= 5 }
        continuation.yield()
        await #expect(throws: InterruptedInWarmup.self) { try await running.value }
    }

    @Test("warm-up is sent and not counted")
    func warmup() async throws {
        let server = try ScriptedServer()
        defer { server.stop() }
        let report = try await LoadPlan.simple(server.port, .rate(100), warmup: 500, duration: 500).report()
        #expect(server.requests.count == 100 && report.requests == 50 && report.timeline.map(\.requests) == [50])
    }

    @Test("while the target is silent, what should have been sent waits, and all of its waiting is in the latencies")
    func stall() async throws {
        // The answers of the one connection stop for 600 ms: from then on at 100 a second, 60 requests are late by as much as was left of that.
        let server = try ScriptedServer { number, _ in
            if number == 20 { usleep(600_000) }
            return .status(200)
        }
        defer { server.stop() }
        let report = try await LoadPlan.simple(server.port, .rate(100), duration: 1500, connections: 1).report()
        #expect(report.requests == 150 && report.ok == 150 && server.acceptedConnections == 1)
        let latency = try #require(report.latency)
        #expect(latency.max >= 595)
        // 60 of 150 were due within the stall: a closed loop would have one late answer of all.
        #expect(latency.values[1] > 400, "the 90th percentile: \(latency.values[1]) ms")
        #expect(latency.min < 100)
        // That is the target's fault, not the harness's.
        let lateness = try #require(report.lateness)
        #expect(lateness.values[0] < latency.max / 10)
    }

    @Test("connections are opened as they are needed, and no more")
    func connections() async throws {
        let gate = Gate()
        let server = try ScriptedServer { number, _ in
            if number <= 3 { gate.pass() }
            return .status(200)
        }
        defer {
            gate.open()
            server.stop()
        }
        async let report = LoadPlan.simple(server.port, .rate(50), duration: 1000, connections: 8).report()
        try await eventually("all are sent") { server.requests.count == 50 }
        gate.open()
        #expect(try await report.ok == 50)
        // Three are kept busy; the others take turns on one, or two where an answer takes longer than the next request.
        #expect(3...8 ~= server.acceptedConnections)
    }

    @Test("a request is given up when its timeout is over, which begins with its intended time, on a connection or in the line")
    func timeouts() async throws {
        let server = try ScriptedServer { _, _ in .silence }
        defer { server.stop() }
        let clock = ContinuousClock()
        let begun = clock.now
        let report = try await LoadPlan.simple(server.port, .rate(100), duration: 200, timeout: 300, connections: 2).report()
        #expect(report.requests == 20 && report.ok == 0)
        #expect(report.errors.map(\.name) == ["timeout"] && report.errors.map(\.count) == [20])
        // All others have waited for one of the two, and some have never left.
        #expect(report.blocked == 18 && report.unsent > 0, "\(report.blocked) \(report.unsent)")
        #expect(report.latency == nil)
        #expect(server.requests.count >= 2 && server.requests.count < 20)
        #expect(clock.now - begun < .seconds(10))
    }

    @Test("no more requests wait for a connection than there is room for, and those that find none are told apart")
    func fullLine() async throws {
        let gate = Gate()
        let server = try ScriptedServer { _, _ in
            gate.pass()
            return .status(200)
        }
        defer {
            gate.open()
            server.stop()
        }
        var plan = try LoadPlan.simple(server.port, .rate(100), duration: 500, connections: 1)
        plan.waitingLimit = 10
        let run = plan
        async let report = run.report()
        try await eventually("the first is sent") { server.requests.count == 1 }
        // Answered only when all are due: one is on the connection, ten wait.
        let last = ContinuousClock.now + .milliseconds(700)
        try await eventually("all are due") { ContinuousClock.now >= last }
        gate.open()
        let result = try await report
        #expect(result.requests == 50 && result.ok == 11 && server.requests.count == 11)
        #expect(result.errors.map(\.name) == ["dropped"] && result.errors.map(\.count) == [39])
    }

    @Test("tokens are sent in rotation, and only where the request of the mix wants one")
    func tokens() async throws {
        let server = try ScriptedServer()
        defer { server.stop() }
        var plan = try LoadPlan.simple(server.port, .rate(300), duration: 1000)
        plan.tokens = ["one", "two", "three"]
        plan.shapes = [
            RequestShape(target: "/a?b=c", weight: 2),
            RequestShape(method: "POST", target: "/post", fields: [.init("X-Kind", "mixed")], body: Array("body".utf8), sendsToken: false),
        ]
        let report = try await plan.report()
        #expect(report.ok == 300)
        let requests = server.requests
        let gets = requests.filter { $0.method == "GET" }, posts = requests.filter { $0.method == "POST" }
        #expect(gets.count + posts.count == 300 && abs(gets.count - 200) < 50)
        #expect(gets.allSatisfy { $0.target == "/a?b=c" && $0["Host"] == ["127.0.0.1:\(server.port)"] && $0["Content-Length"].isEmpty })
        #expect(posts.allSatisfy { $0.target == "/post" && $0["X-Kind"] == ["mixed"] && $0.text == "body" && $0["Authorization"].isEmpty })
        for token in plan.tokens { #expect(abs(gets.count { $0["Authorization"] == ["Bearer \(token)"] } - gets.count / 3) < 40) }
        #expect(gets.allSatisfy { $0["Authorization"].count == 1 })
    }

    @Test("one token a request, in the order of the file")
    func rotation() async throws {
        let server = try ScriptedServer()
        defer { server.stop() }
        var plan = try LoadPlan.simple(server.port, .rate(50), duration: 300, connections: 1)
        plan.tokens = ["one", "two", "three"]
        _ = try await plan.report()
        #expect(server.requests.map { $0["Authorization"].first ?? "" } == (0..<15).map { "Bearer \(plan.tokens[$0 % 3])" })
    }
}
