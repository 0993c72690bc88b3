// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import TestSupport
import Testing

@Suite("bench/faults.py: logouts that are measured while something breaks", .serialized)
struct BenchFaultTests {
    private static let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../bench/faults.py").path

    /// As root, or where everybody may have a user namespace.
    private static let permitsNamespaces = ["", "--user --map-root-user "].contains { more in
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", "unshare --net --mount \(more)sh -c 'mount -t tmpfs none /run && ip netns add probe' >/dev/null 2>&1"]
        guard (try? process.run()) != nil else { return false }
        process.waitUntilExit()
        return process.terminationStatus == 0
    }

    /// What it says, and its exit code.
    ///
    /// - Parameter permits: false: on a machine where nobody may have a namespace.
    private func faults(_ arguments: String..., permits: Bool = true) async throws -> (output: String, code: Int32?) {
        let folder = try temporaryFolder("faults")
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try FileManager.default.createSymbolicLink(atPath: "\(folder)/unshare", withDestinationPath: "/bin/false")
        let path = (permits ? "" : "\(folder):") + (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin")
        let programs = try ["--binary", PortcullisProcess.executable("portcullis"), "--bench", PortcullisProcess.executable("portcullis-bench")]
        let run = try ChildProcess(
            "/usr/bin/env", ["PATH=\(path)", "python3", Self.script] + programs + arguments, output: "\(folder)/output", temporary: folder)
        try await eventually("the script ends", within: .seconds(300)) { !run.isRunning }
        return (try String(contentsOfFile: "\(folder)/output", encoding: .utf8), run.exitCode)
    }

    @Test("a gateway that is paused, and a failover of Redis, let no request pass after a logout's answer", arguments: ["pause", "failover"])
    func holds(fault: String) async throws {
        let (output, code) = try await faults("--faults", fault, "--logouts", "20")
        #expect(code == 0 && output.contains("10 of them while it was broken"), "\(output)")
    }

    @Test("nor does a gateway that is cut off from Redis", .enabled(if: permitsNamespaces, "network namespaces are not permitted here"))
    func partition() async throws {
        let (output, code) = try await faults("--faults", "partition", "--logouts", "20")
        #expect(code == 0 && output.contains("10 of them while it was broken"), "\(output)")
    }

    @Test("where that is not permitted it is said, and nothing is taken for measured")
    func notPermitted() async throws {
        let (output, code) = try await faults("--faults", "partition", permits: false)
        #expect(code == 1 && output.contains("partition: network namespaces are not permitted here") && !output.contains("late 2xx"), "\(output)")
    }

    @Test(
        "one that may let sessions pass without Redis does, which is told: 1",
        .enabled(if: permitsNamespaces, "network namespaces are not permitted here"))
    func contrast() async throws {
        let (output, code) = try await faults("--faults", "partition", "--logouts", "20", "--grace", "30s")
        #expect(code == 1 && output.contains("partition: a logout did not hold"), "\(output)")
    }
}
