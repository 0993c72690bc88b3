// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import TestSupport
import Testing

@Suite("A name that leads to another Redis while the old one goes on")
struct RedisElsewhereTests {
    /// Whose connection goes there first, by what it asks.
    enum Connection: String, CaseIterable, CustomTestStringConvertible {
        /// Of the control plane, which looks for what is over once a second.
        case control = "zrangebyscore"
        /// Of an event loop.
        case loop = "sismember"
        /// Of what keeps the lease, but for the connection that listens.
        case heartbeat = "evalsha"

        var testDescription: String { "\(self)" }
    }

    private static func id(of connection: Connection, at redis: RedisServer) throws -> String? {
        let lines = try redis.command("CLIENT", "LIST", "TYPE", "normal").text?.split(whereSeparator: \.isNewline) ?? []
        func ids(_ connection: Connection) -> [String] {
            lines.filter { $0.contains(" cmd=\(connection.rawValue) ") }.compactMap { line in
                line.split(separator: " ").first.map { String($0.dropFirst("id=".count)) }
            }
        }
        // All three are told apart when each has asked last what it alone does.
        let all = Connection.allCases.map(ids)
        return all.allSatisfy { $0.count == 1 } ? ids(connection).first : nil
    }

    @Test(
        "makes all connections follow the first one, and no logout and no login counts that one of them alone has heard of",
        arguments: Connection.allCases)
    func alone(_ first: Connection) async throws {
        try await withRedisServer(["--repl-diskless-sync-delay", "0"]) { old in
            try await withRedisServer { new in
                let relay = try TCPRelay(to: old.port)
                defer { relay.stop() }
                try await StoreWorld.run(on: old, port: relay.port, staleness: .seconds(2), commandTimeout: .milliseconds(300)) { world in
                    try await eventually("logged in") {
                        try await world.login("s1", at: systemTime())
                        return true
                    }
                    try new.command("REPLICAOF", "127.0.0.1", "\(old.port)")
                    try await eventually("it has everything") {
                        try new.command("EXISTS", "\(StoreWorld.prefix)sessions:{alice}") == .integer(1)
                    }
                    try new.command("REPLICAOF", "NO", "ONE")
                    var id: String?
                    try await eventually("they are told apart", within: .seconds(20)) {
                        _ = try await world.ask("s1")
                        id = try Self.id(of: first, at: old)
                        return id != nil
                    }
                    relay.target = new.port
                    try old.command("CLIENT", "KILL", "ID", #require(id))
                    if first != .control {
                        try await eventually("what listens has followed") {
                            #expect(try await world.ask("s1") != .revoked)
                            return try new.command("CLIENT", "LIST", "TYPE", "pubsub").text?.isEmpty == false
                        }
                    }
                    try await eventually("the session is good", within: .seconds(20)) { try await world.ask("s1") == .active }
                    // One that was not answered may have ended it nevertheless.
                    try await eventually("a logout is taken", within: .seconds(20)) { try await world.logout("s1", at: systemTime()) != .unknown }
                    #expect(try await world.ask("s1") != .active)
                    try await eventually("a login is taken", within: .seconds(20)) {
                        try await world.login("s2", at: systemTime())
                        return true
                    }
                    #expect(try await world.ask("s2") != .revoked)
                    try await eventually("all are there") {
                        let answers = [try await world.ask("s1"), try await world.ask("s2")]
                        return answers == [.revoked, .active]
                    }
                    #expect(try new.command("SISMEMBER", "\(StoreWorld.prefix)sessions:{alice}", "s2") == .integer(1))
                }
            }
        }
    }
}
