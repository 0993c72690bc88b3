// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import RedisClient

@Suite("A real cluster", .serialized)
struct ClusterTests {
    private let add = RedisScript("redis.call('SADD', KEYS[2], ARGV[1]); return redis.call('SADD', KEYS[1], ARGV[1])")

    private func withAll(
        spares: Int = 0, options: [String] = [], _ configuration: RedisConfiguration = .local(0),
        _ body: (ClusterRedis, RedisConnections) async throws -> Void
    ) async throws {
        try await withClusterRedis(spares: spares, options) { cluster in
            try await withConnections(.nodes(cluster.servers[0].port), configuration) { connections in
                try await eventually("connected") { connections.isConnected }
                try await body(cluster, connections)
            }
        }
    }

    /// A key of each node.
    private func keys(_ cluster: ClusterRedis) throws -> [(key: String, owner: RedisServer)] {
        var keys: [Int: (String, RedisServer)] = [:]
        var number = 0
        while keys.count < 3 {
            let key = "set:{user-\(number)}"
            let owner = try cluster.owner(of: key)
            keys[owner.port] = keys[owner.port] ?? (key, owner)
            number += 1
        }
        return keys.values.map { (key: $0.0, owner: $0.1) }
    }

    @Test("is found from one node; commands and scripts reach the node that has their slot")
    func spread() async throws {
        try await withAll { cluster, connections in
            #expect(connections.status.nodes.count == 3 && connections.wasEverConnected)
            for number in 0..<30 {
                let key = "set:{user-\(number)}"
                #expect(Int(RedisSlot(key: Array(key.utf8)).number) == (try cluster.slot(of: key)))
                #expect(await connections.outcome("SADD", key, "a", key: key) == .reply(.integer(1)))
                let replies = try await connections.run(
                    add, keys: [key, "more:{user-\(number)}"].map { Array($0.utf8) }, arguments: [Array("b".utf8)],
                    then: [RedisCommand("WAIT", "0", "1")])
                #expect(replies == [.integer(1), .integer(0)])
                let owner = try cluster.owner(of: key)
                #expect(try owner.command("SCARD", key) == .integer(2))
                #expect(try await connections.serverID(key) == owner.serverID())
            }
            let info = try await connections.callAll([RedisCommand("INFO", "server")], node: connections.status.nodes[0].primary.id)
            #expect(hashedRunID(info: info[0]) == connections.status.nodes[0].status.serverID)
        }
    }

    @Test("a user with no more rights than the README asks for is enough")
    func restricted() async throws {
        try await withClusterRedis { cluster in
            for server in cluster.servers {
                try server.command(
                    "ACL", "SETUSER", "gate", "on", ">word", "~set:*", "&*", "+@all", "-@dangerous", "+info", "+client", "+wait", "+role",
                    "+config|get")
            }
            try await withConnections(.nodes(cluster.servers[0].port), .local(0, username: "gate", password: "word")) { connections in
                try await eventually("connected") { connections.isConnected }
                let (key, owner) = try keys(cluster)[0]
                let slot = try cluster.slot(of: key)
                try cluster.beginMove(slot, to: cluster.others(owner)[0])
                #expect(await connections.outcome("SADD", key, "a", key: key) == .reply(.integer(1)), "ASKING is allowed, too")
            }
        }
    }

    @Test("a slot that moves under load costs no answer: ASK, then MOVED, and the map is asked for anew")
    func resharding() async throws {
        try await withAll { cluster, connections in
            let key = "set:{alice}"
            #expect(await connections.outcome("SADD", key, "a", key: key) == .reply(.integer(1)))
            let slot = try cluster.slot(of: key)
            let reader = Reader()
            let tasks = (0..<4).map { _ in Task { await reader.run(connections, key) } }
            for round in 1...(3 * rounds) {
                var seen = reader.good
                try await eventually("load") { reader.good > seen + 50 }
                let source = try cluster.owner(of: slot)
                let target = cluster.others(source)[0]
                try cluster.beginMove(slot, to: target)
                seen = reader.good
                try await eventually("load while it is half moved") { reader.good > seen + 50 }
                let added = try await connections.run(
                    RedisScript("return redis.call('SADD', KEYS[1], ARGV[1])"), keys: [Array(key.utf8)], arguments: [Array("s\(round)".utf8)],
                    then: [RedisCommand("WAIT", "0", "1")])
                #expect(added == [.integer(1), .integer(0)])
                #expect(try source.command("EXISTS", key) != .integer(1), "it went to where the key is")
                try cluster.finishMove(slot, to: target)
                try await eventually("the map is known") { try await connections.serverID(key) == target.serverID() }
                #expect(try target.command("SISMEMBER", key, "s\(round)") == .integer(1))
            }
            for task in tasks { task.cancel() }
            for task in tasks { await task.value }
            #expect(reader.bad.isEmpty, "\(reader.bad.prefix(3))")
        }
    }

    @Test("commands about several keys are each answered where their key is while a slot moves")
    func halves() async throws {
        try await withAll { cluster, connections in
            let (gone, stays) = ("gone:{alice}", "stays:{alice}")
            for key in [gone, stays] { #expect(await connections.outcome("SADD", key, "a", key: key) == .reply(.integer(1))) }
            let slot = try cluster.slot(of: gone)
            let target = cluster.others(try cluster.owner(of: slot))[0]
            let source = try cluster.beginMove(slot, to: target, keys: false)
            try source.command("MIGRATE", "127.0.0.1", "\(target.port)", gone, "0", "5000")
            let commands = [gone, stays].map { RedisCommand("SISMEMBER", $0, "a") }
            for order in [commands, commands.reversed()] {
                let replies = try await connections.callAll(order, slot: RedisSlot(key: Array("{alice}".utf8)))
                #expect(replies == [.integer(1), .integer(1)])
            }
        }
    }

    @Test("a script whose keys are here and there is tried again until the slot has moved, within the command's time")
    func tryAgain() async throws {
        try await withAll { cluster, connections in
            let keys = ["one:{alice}", "two:{alice}"]
            #expect(await connections.outcome("SADD", keys[0], "a", key: keys[0]) == .reply(.integer(1)))
            let slot = try cluster.slot(of: keys[0])
            let target = cluster.others(try cluster.owner(of: slot))[0]
            try cluster.beginMove(slot, to: target)
            async let replies = connections.run(add, keys: keys.map { Array($0.utf8) }, arguments: [Array("b".utf8)])
            try await eventually("it is being tried") {
                try target.command("INFO", "errorstats").text?.contains("errorstat_TRYAGAIN") == true
            }
            try cluster.finishMove(slot, to: target)
            #expect(try await replies == [.integer(1)])
            #expect(try target.command("SMEMBERS", keys[1]) == .array([.text("b")]))
        }
    }

    @Test("a script whose keys stay here and there ends with its time, not carried out, and another goes on meanwhile")
    func tryAgainForLong() async throws {
        try await withAll(.local(0, commandTimeout: .milliseconds(400))) { cluster, connections in
            let keys = ["one:{alice}", "two:{alice}"]
            #expect(await connections.outcome("SADD", keys[0], "a", key: keys[0]) == .reply(.integer(1)))
            let slot = try cluster.slot(of: keys[0])
            try cluster.beginMove(slot, to: cluster.others(try cluster.owner(of: slot))[0])
            let begun = ContinuousClock.now
            await #expect(throws: RedisFailure.self) {
                try await connections.run(add, keys: keys.map { Array($0.utf8) }, arguments: [Array("b".utf8)])
            }
            #expect(ContinuousClock.now - begun >= .milliseconds(400))
            #expect(await connections.outcome("SISMEMBER", keys[0], "a", key: keys[0]) == .reply(.integer(1)))
        }
    }

    @Test("a slot that goes to a node without slots takes its commands along")
    func newNode() async throws {
        try await withAll(spares: 1) { cluster, connections in
            #expect(connections.status.nodes.count == 3)
            let key = "set:{alice}"
            let slot = try cluster.slot(of: key)
            let target = cluster.servers[3]
            #expect(await connections.outcome("SADD", key, "a", key: key) == .reply(.integer(1)))
            try cluster.beginMove(slot, to: target)
            #expect(await connections.outcome("SISMEMBER", key, "a", key: key) == .reply(.integer(1)))
            #expect(connections.status.nodes.count == 3, "it is no primary of the map yet")
            try cluster.finishMove(slot, to: target)
            #expect(await connections.outcome("SISMEMBER", key, "a", key: key) == .reply(.integer(1)))
            try await eventually("it is in the map") { connections.status.nodes.count == 4 && connections.isConnected }
        }
    }

    @Test("a node that dies takes only its own slots along, and is used again when it is back")
    func death() async throws {
        // A restarted node has this setting again.
        let options = ["--cluster-require-full-coverage", "no"]
        let configuration = RedisConfiguration.local(0, connectTimeout: .seconds(1), commandTimeout: .milliseconds(500))
        try await withAll(options: options, configuration) { cluster, connections in
            let all = try keys(cluster)
            for (key, _) in all { #expect(await connections.outcome("SADD", key, "a", key: key) == .reply(.integer(1))) }
            for round in 0..<rounds {
                let victim = all[round % all.count]
                victim.owner.kill()
                try await eventually("noticed") { !connections.isConnected }
                let end = ContinuousClock.now + .seconds(3)
                while ContinuousClock.now < end {
                    for (key, owner) in all {
                        let outcome = await connections.outcome("SADD", key, "a", key: key)
                        if owner === victim.owner { #expect(outcome.isFailure) } else { #expect(outcome == .reply(.integer(0))) }
                    }
                }
                try await victim.owner.restart()
                try await eventually("it is used again", within: .seconds(20)) {
                    await connections.outcome("SADD", victim.key, "a", key: victim.key) == .reply(.integer(1))
                }
                try await cluster.waitUntilWhole()
                try await eventually("connected to all") { connections.isConnected }
            }
        }
    }

    /// Asks for a member that is there.
    private final class Reader: Sendable {
        private let state = Mutex((good: 0, bad: [RedisOutcome]()))
        var good: Int { state.withLock { $0.good } }
        var bad: [RedisOutcome] { state.withLock { $0.bad } }

        func run(_ connections: RedisConnections, _ key: String) async {
            while !Task.isCancelled {
                let outcome = await connections.outcome("SISMEMBER", key, "a", key: key)
                state.withLock { if outcome == .reply(.integer(1)) { $0.good += 1 } else { $0.bad.append(outcome) } }
            }
        }
    }
}
