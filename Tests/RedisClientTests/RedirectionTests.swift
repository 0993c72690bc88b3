// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import TestSupport
import Testing

@testable import RedisClient

@Suite("A cluster that leads astray", .serialized)
struct RedirectionTests {
    private func get(_ connections: RedisConnections) async -> RedisOutcome { await connections.outcome("GET", "x", key: "x") }
    private func error(_ text: String) -> RedisOutcome { .reply(.error(Array(text.utf8))) }

    @Test("MOVED to the node that says so is followed five times, and is then the answer")
    func toItself() async throws {
        let node = try FakeNode { _, port in "-MOVED 1 127.0.0.1:\(port)\r\n" }
        defer { node.stop() }
        try await withConnections(.nodes(node.port)) { connections in
            for round in 1...5 {
                #expect(await get(connections) == error("MOVED 1 127.0.0.1:\(node.port)"))
                #expect(node.commands.count == round * (RedirectionRule.hopLimit + 1))
            }
        }
    }

    @Test("two nodes that each name the other end in the same way")
    func pingPong() async throws {
        let ports = try freePorts(1)
        let first = try FakeNode { _, _ in "-MOVED 1 127.0.0.1:\(ports[0])\r\n" }
        defer { first.stop() }
        let second = try FakeServer(port: ports[0]) { connection in
            while let command = connection.readCommand() {
                connection.write(redisGreeting(command) ?? "-MOVED 1 127.0.0.1:\(first.port)\r\n")
            }
        }
        defer { second.stop() }
        try await withConnections(.nodes(first.port)) { connections in
            guard case .reply(let reply) = await get(connections) else {
                Issue.record("no reply")
                return
            }
            #expect(reply.errorCode == "MOVED")
            #expect(first.commands.count == 3 && second.acceptedConnections == 1)
        }
    }

    @Test("MOVED or ASK to a dead node is unavailable, at once and without another hop", arguments: ["MOVED", "ASK"])
    func toTheDead(_ word: String) async throws {
        let port = try freePort()
        let node = try FakeNode { _, _ in "-\(word) 1 127.0.0.1:\(port)\r\n" }
        defer { node.stop() }
        try await withConnections(.nodes(node.port)) { connections in
            for round in 1...3 {
                #expect(await get(connections) == .failure(.unavailable(wasSent: false)))
                #expect(node.commands.count == round)
            }
        }
    }

    @Test("a host that the node does not know is no way to go: it is asked again, a few times")
    func toNobody() async throws {
        let node = try FakeNode { _, _ in "-MOVED 1 ?:1\r\n" }
        defer { node.stop() }
        try await withConnections(.nodes(node.port)) { connections in
            #expect(await get(connections) == error("MOVED 1 ?:1"))
            #expect(node.commands.count == RedirectionRule.hopLimit + 1)
        }
    }

    @Test("redirections to ever new nodes do not make ever more connections")
    func guests() async throws {
        let ports = try freePorts(40)
        let node = try FakeNode { command, _ in "-MOVED 1 127.0.0.1:\(command[1])\r\n" }
        defer { node.stop() }
        try await withConnections(.nodes(node.port)) { connections in
            var followed = 0
            for port in ports {
                switch await connections.outcome("GET", "\(port)", key: "x") {
                case .failure: followed += 1
                case .reply(let reply): #expect(reply.errorCode == "MOVED")
                }
            }
            #expect(followed == RedisLimits().guests)
        }
    }

    @Test("ASKING goes in front of the command, in the same write")
    func asking() async throws {
        let seen = Seen()
        let target = try FakeServer { connection in
            guard connection.greet() else { return }
            seen.append(connection.read())
            connection.write("+OK\r\n$1\r\ny\r\n")
            connection.waitForEnd()
        }
        defer { target.stop() }
        let port = target.port
        let node = try FakeNode { _, _ in "-ASK 1 127.0.0.1:\(port)\r\n" }
        defer { node.stop() }
        try await withConnections(.nodes(node.port)) { connections in
            #expect(await get(connections) == .reply(.bulk(Array("y".utf8))))
            #expect(seen.all == [RESPConnection.encode(["ASKING"]) + RESPConnection.encode(["GET", "x"])])
        }
    }

    @Test("a script that is sent on goes there with what follows it, and with its source to a node that does not know it")
    func scripts() async throws {
        let target = try FakeNode { command, _ in
            switch command[0] {
            case "ASKING": "+OK\r\n"
            case "EVALSHA": "-NOSCRIPT No matching script\r\n"
            case "EVAL": ":7\r\n"
            default: ":1\r\n"
            }
        }
        defer { target.stop() }
        let port = target.port
        let node = try FakeNode { command, _ in command[0] == "WAIT" ? ":0\r\n" : "-ASK 1 127.0.0.1:\(port)\r\n" }
        defer { node.stop() }
        try await withConnections(.nodes(node.port)) { connections in
            let replies = try await connections.run(RedisScript("return 7"), keys: [[0x78]], then: [RedisCommand("WAIT", "1", "1")])
            #expect(replies == [.integer(7), .integer(1)])
            #expect(target.commands.map { $0[0] } == ["ASKING", "EVALSHA", "ASKING", "WAIT", "ASKING", "EVAL", "ASKING", "WAIT"])
        }
    }

    @Test("TRYAGAIN without end ends with the command's time")
    func tryAgain() async throws {
        let node = try FakeNode { _, _ in "-TRYAGAIN Multiple keys request during rehashing of slot\r\n" }
        defer { node.stop() }
        try await withConnections(.nodes(node.port), .local(0, commandTimeout: .milliseconds(600))) { connections in
            try await eventually("connected") { connections.isConnected }
            let begun = ContinuousClock.now
            guard case .failure(.timedOut) = await get(connections) else {
                Issue.record("not timed out")
                return
            }
            let time = ContinuousClock.now - begun
            #expect(time >= .milliseconds(600))
            #expect((2...61).contains(node.commands.count), "a pause lies between two attempts")
        }
    }

    @Test("a map that has no slots, or a node that does not know its own host, changes nothing", arguments: [true, false])
    func emptyMap(_ isEmpty: Bool) async throws {
        let node = try FakeNode { _, _ in "$1\r\ny\r\n" }
        defer { node.stop() }
        try await withConnections(.nodes(node.port)) { connections in
            #expect(await get(connections) == .reply(.bulk(Array("y".utf8))))
            let before = connections.topology.primaries
            if isEmpty { node.forgetSlots() } else { node.own(host: "?", port: node.port) }
            for _ in 1...3 {
                let asked = node.questions
                connections.topology.doubt()
                try await eventually("it is asked for the map") { node.questions > asked }
                #expect(await get(connections) == .reply(.bulk(Array("y".utf8))))
            }
            #expect(connections.topology.primaries == before)
        }
    }

    @Test("an empty host is that of the node that was asked")
    func emptyHost() async throws {
        let node = try FakeNode { _, _ in "$1\r\ny\r\n" }
        defer { node.stop() }
        node.own(host: "", port: node.port)
        try await withConnections(.nodes(node.port)) { connections in
            #expect(await get(connections) == .reply(.bulk(Array("y".utf8))))
            #expect(connections.topology.primaries.nodes.map(\.address) == [.loopback(node.port)])
        }
    }

    @Test("a node that is no longer in the map is let go at once, with what was under way there")
    func removed() async throws {
        let new = try FakeNode { _, _ in "$1\r\nn\r\n" }
        defer { new.stop() }
        let old = try FakeServer { connection in
            while let command = connection.readCommand() {
                if let greeting = redisGreeting(command) { connection.write(greeting) }
            }
        }
        defer { old.stop() }
        let seed = try FakeNode { _, _ in "-ERR\r\n" }
        defer { seed.stop() }
        seed.own(port: old.port)
        try await withConnections(.nodes(seed.port)) { connections in
            try await eventually("connected") { connections.isConnected }
            async let stuck = get(connections)
            try await eventually("sent") { connections.status.nodes[0].status.commands == 1 }
            seed.own(port: new.port)
            connections.topology.doubt()
            #expect(await stuck == .failure(.unavailable(wasSent: true)))
            #expect(await get(connections) == .reply(.bulk(Array("n".utf8))))
            try await eventually("closed") { old.openConnections == 0 }
        }
    }

    @Test("in no cluster redirections are mere errors")
    func standalone() async throws {
        let node = try FakeNode { _, _ in "-MOVED 1 127.0.0.1:1\r\n" }
        defer { node.stop() }
        try await withConnections(.standalone(.loopback(node.port))) { connections in
            #expect(await get(connections) == error("MOVED 1 127.0.0.1:1"))
            #expect(connections.isConnected && node.commands.count == 1)
        }
    }
}
