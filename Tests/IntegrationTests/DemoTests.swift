// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import TestSupport
import Testing

@Suite("The demo", .serialized)
struct DemoTests {
    /// One line of the walk-through, as printed, and what a shell printed for it.
    private struct Step {
        let line: String
        let printed: String
    }

    /// Runs the printed lines one after the other in one shell, as somebody does who pastes them.
    private func walk(_ demo: PortcullisProcess) async throws -> [Step] {
        try await eventually("the walk-through is there") {
            guard demo.isRunning else { throw NotInTime(description: demo.errors) }
            return demo.output.contains("audit log")
        }
        let lines = demo.output.split(separator: "\n").filter { $0.hasPrefix("    ") }.map { $0.trimmingCharacters(in: .whitespaces) }
        let folder = try temporaryFolder("walk")
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let mark = "=== end of line ==="
        try lines.map { "\($0)\necho '\(mark)'\n" }.joined().write(toFile: "\(folder)/lines", atomically: true, encoding: .utf8)
        let shell = try ChildProcess("/bin/bash", ["\(folder)/lines"], output: "\(folder)/printed")
        try await eventually("the shell is done", within: .seconds(30)) { !shell.isRunning }
        let printed = try String(contentsOfFile: "\(folder)/printed", encoding: .utf8).components(separatedBy: "\(mark)\n")
        #expect(printed.count == lines.count + 1)
        return zip(lines, printed).map { Step(line: $0, printed: $1) }
    }

    /// Two devices that are logged in, and then one that is not any more, with the reason.
    private func expectLists(_ printed: [String]) {
        guard printed.count == 2 else {
            Issue.record("\(printed.count) lists")
            return
        }
        for (list, phone) in zip(printed, ["\"revoked\":false", "\"revoke_reason\":\"user\""]) {
            let sessions = list.split(separator: "\n").filter { $0.contains("\"session_id\"") }
            #expect(sessions.count == 2, "\(list)")
            #expect(sessions.contains { $0.contains("\"device\":\"laptop\"") && $0.contains("\"current\":true") && $0.contains("\"revoked\":false") })
            #expect(sessions.contains { $0.contains("\"device\":\"phone\"") && $0.contains("\"current\":false") && $0.contains(phone) })
        }
    }

    private func expectTheStory(_ demo: PortcullisProcess, port: Int) async throws {
        let steps = try await walk(demo)
        // 1: nobody, public. 2: three logins. 3: three are let in. 4: the list. 5: the phone is ended from it. 6: the list. 7: login and logout.
        // 8: login, logout-all, what is left. 9: metrics, description.
        let statuses = [
            "401", "200", "", "", "", "200", "200", "200", "", "", "204", "401", "200", "", "", "204", "401", "", "200", "401", "401", "200", "", "",
        ]
        #expect(steps.count == statuses.count)
        for (step, status) in zip(steps, statuses) {
            if step.line.hasPrefix("curl"), step.line.contains("%{http_code}") {
                #expect(step.printed.hasSuffix("\(status)\n"), "\(step)")
            } else {
                #expect(status.isEmpty && step.printed.isEmpty == !step.line.hasPrefix("curl"), "\(step)")
            }
        }
        expectLists(steps.filter { $0.line.hasPrefix("curl") && $0.line.contains("/auth/sessions ") }.map(\.printed))
        let asked = steps.filter { $0.line.contains("/orders") && $0.printed.hasSuffix("200\n") }
        #expect(asked.count == 5, "three, the laptop, Bob")
        for step in asked {
            let user = step.line.contains("$BOB") ? "bob" : "alice"
            #expect(step.printed.contains("asked for GET /orders\n") && step.printed.contains("X-Auth-User: \(user)\n"), "\(step)")
        }
        #expect(steps.contains { $0.line.contains("logout-all") && $0.printed == "{\"revoked\":2} 200\n" })
        #expect(steps.dropLast().last?.printed.contains("\nportcullis_requests_total{") == true)
        #expect(steps.last?.printed.hasPrefix("{\"openapi\":\"3.1") == true)
        #expect(demo.output.contains("127.0.0.1:\(port)"))

        demo.send(signal: SIGINT)
        #expect(try await demo.exit() == 0)
        #expect(demo.errors.isEmpty)
        let audit = demo.output.split(separator: "\n").filter { $0.hasPrefix("{") }
        #expect(audit.count == 8, "five logins, one from the list, a logout and a logout-all")
    }

    @Test("the printed lines work when pasted, give what the walk-through promises, and Ctrl-C ends it")
    func pasted() async throws {
        let port = try freePort()
        let demo = try PortcullisProcess(["demo", "--port", "\(port)"])
        defer { demo.stop() }
        try await expectTheStory(demo, port: port)
    }

    @Test("the same with the sessions in Redis; without that Redis the demo says so: 69")
    func redis() async throws {
        let port = try freePort()
        try await withRedisServer(password: "it's: #secret") { redis in
            let demo = try PortcullisProcess(["demo", "--port", "\(port)", "--redis", "redis://:it's: #secret@\(redis.address)/2"])
            defer { demo.stop() }
            try await expectTheStory(demo, port: port)
            let connection = try redis.connect()
            try connection("SELECT", "2")
            #expect(try connection("EXISTS", "portcullis:demo:sessions:{bob}") == .integer(1))
        }
        let deaf = try LoopbackSocket.deaf()
        defer { deaf.shutdown() }
        let nobody = try await PortcullisProcess.run("demo", "--port", "\(try freePort())", "--redis", "redis://127.0.0.1:\(deaf.port)")
        #expect(nobody.exitCode == 69 && nobody.errors.split(separator: "\n").count == 1 && nobody.errors.contains("--redis"))
    }
}
