// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import ArgumentParser
import Gateway
import Glibc
import NIOCore
import NIOPosix

struct DemoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo", abstract: "Run a gateway, a sample service and two users in one process, and show what to try.",
        discussion: "Everything listens on loopback alone. Sessions are in memory, and gone at the end, unless --redis names a server.")

    @Option(help: "The gateway's port.")
    var port = 8080

    @Option(help: ArgumentHelp("Keep the sessions there: redis://[user:password@]host[:port][/database].", valueName: "url"))
    var redis: String?

    /// How long a Redis that was named may take to answer.
    private static let patience = Duration.seconds(5)

    func validate() throws {
        guard (1...65_535).contains(port) else { throw ValidationError("--port must be from 1 to 65535.") }
        if let redis, RedisURL(redis) == nil { throw ValidationError("--redis needs redis://[user:password@]host[:port][/database].") }
    }

    func run() async throws {
        signal(SIGHUP, SIG_IGN)
        let folder: DemoFolder
        var adminPort = port
        do throws(DemoFolder.Problem) {
            // The gateway's own may be free, too, until it listens.
            while adminPort == port { adminPort = try DemoFolder.freePort() }
            folder = try DemoFolder(port: port, adminPort: adminPort, redis: redis.flatMap(RedisURL.init))
        } catch {
            throw Exit.failure(Exit.unavailable, error.reason)
        }
        defer { folder.remove() }
        let file = ConfigurationFile(folder.configurationPath)
        let plan = try file.plan()
        let output = LineWriter()
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        do {
            try await SampleService.start(at: folder.servicePath, group: group)
        } catch {
            throw Exit.failure(Exit.unavailable, "the sample service cannot listen on \(folder.servicePath): \(error)")
        }
        let walkThrough = WalkThrough(port: port, adminPort: adminPort, store: redis == nil ? "in memory" : "in Redis")
        let process = GatewayProcess(output: output, level: LogLevel(plan.logLevel))
        do throws(GatewayProcess.Failure) {
            try await process.run(plan, watching: nil, load: file.load(replacing:)) { [redis] store throws(GatewayProcess.Failure) in
                if redis != nil { try await Self.waitForRedis(store) }
                output.write(Array(walkThrough.text.utf8))
            }
        } catch {
            throw error.exit("demo")
        }
    }

    private static func waitForRedis(_ store: OpenStore) async throws(GatewayProcess.Failure) {
        let end = ContinuousClock.now + patience
        while !store.sessions.health.wasEverUp {
            guard ContinuousClock.now < end, (try? await Task.sleep(for: .milliseconds(20))) != nil else {
                throw .cannotReach("the Redis of --redis does not answer: start it, or leave --redis out")
            }
        }
    }
}

/// `redis://[user:password@]host[:port][/database]`.
struct RedisURL {
    let address: String
    let username: String?
    let password: String?
    let database: Int

    init?(_ text: String) {
        guard text.hasPrefix("redis://") else { return nil }
        var rest = text.dropFirst("redis://".count)
        var database = 0
        if let slash = rest.firstIndex(of: "/") {
            let name = rest[rest.index(after: slash)...]
            if !name.isEmpty {
                guard let number = Int(name), number >= 0 else { return nil }
                database = number
            }
            rest = rest[..<slash]
        }
        var username: String?
        var password: String?
        if let at = rest.lastIndex(of: "@") {
            let parts = rest[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else { return nil }
            username = parts[0].isEmpty ? nil : String(parts[0])
            password = String(parts[1])
            rest = rest[rest.index(after: at)...]
        }
        guard !rest.isEmpty else { return nil }
        let hasPort = rest.hasPrefix("[") ? !rest.hasSuffix("]") : rest.contains(":")
        self.address = hasPort ? String(rest) : "\(rest):6379"
        self.username = username
        self.password = password
        self.database = database
    }
}
