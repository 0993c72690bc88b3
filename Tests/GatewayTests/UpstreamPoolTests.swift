// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import NIOEmbedded
import NIOSSL
import TestSupport
import Testing

@testable import Gateway

@Suite("The pool of connections to an upstream", .serialized)
struct UpstreamPoolTests {
    @Test("A connection whose exchange is over serves the next one")
    func reuse() async throws {
        let server = try FakeServer.echo()
        defer { server.stop() }
        try await PoolWorld.run([server.port]) { world in
            for _ in 0..<4 { try await world.exchange() }
            #expect(try await world.statuses == ["200", "200", "200", "200"])
            #expect(server.acceptedConnections == 1)
        }
    }

    @Test("Of the sockets that are tried for a name's addresses, the one that has connected is written to, whichever was tried last")
    func severalAddresses() async throws {
        try await PoolWorld.run([1]) { world in
            try await world.on { world in
                let connection = UpstreamConnection(endpoint: 0, pool: world.loop.pool(0), loop: world.loop)
                let winner = EmbeddedChannel(), other = EmbeddedChannel()
                for channel in [winner, other] { try channel.pipeline.syncOperations.addHandler(connection) }
                connection.use(try winner.pipeline.syncOperations.context(handler: connection))
                _ = try other.finish()
                connection.write(ByteBuffer(string: "request"))
                connection.flush()
                #expect(try winner.readOutbound(as: ByteBuffer.self) == ByteBuffer(string: "request"))
            }
        }
    }

    @Test("Endpoints take turns, each with a connection of its own")
    func turns() async throws {
        let servers = try (0..<3).map { _ in try FakeServer.echo() }
        defer { for server in servers { server.stop() } }
        try await PoolWorld.run(servers.map(\.port)) { world in
            for round in 1...3 {
                for _ in servers { try await world.exchange() }
                #expect(servers.map(\.acceptedConnections) == [1, 1, 1], "round \(round)")
            }
        }
    }

    @Test("Who finds every place taken waits for one, in order, and no further connection is made")
    func waiting() async throws {
        let server = try ToldUpstream()
        defer { server.stop() }
        try await PoolWorld.run(
            [server.port],
            {
                $0.maxConnections = 1
                $0.connectTimeout = .seconds(30)
            }
        ) { world in
            try await world.begin(4)
            try await eventually("the first is with the upstream") { server.acceptedConnections == 1 }
            #expect(try await world.ended.isEmpty)
            for count in 1...4 {
                server.answer()
                try await eventually("\(count) have ended") { try await world.ended == Array(0..<count) }
            }
            #expect(try await world.statuses == ["200", "200", "200", "200"])
            #expect(server.acceptedConnections == 1)
        }
    }

    @Test("Who has waited as long as it may take to connect gets 503, and the place is still the first one's")
    func waitedTooLong() async throws {
        let server = try ToldUpstream()
        defer { server.stop() }
        try await PoolWorld.run(
            [server.port],
            {
                $0.maxConnections = 1
                $0.connectTimeout = .milliseconds(150)
            }
        ) { world in
            try await world.begin(3)
            try await eventually("two have ended") { try await world.ended == [1, 2] }
            #expect(try await world.statuses == ["", "503", "503"])
            server.answer()
            try await eventually("the first has ended, too") { try await world.ended == [1, 2, 0] }
            #expect(try await world.statuses == ["200", "503", "503"])
        }
    }

    @Test("Who waits and goes leaves the place to the next")
    func waiterGone() async throws {
        let server = try ToldUpstream()
        defer { server.stop() }
        try await PoolWorld.run(
            [server.port],
            {
                $0.maxConnections = 1
                $0.connectTimeout = .seconds(30)
            }
        ) { world in
            try await world.begin(3)
            try await world.on { $0.clients[1].exchange.clientGone(byReset: false) }
            server.answer(2)
            try await eventually("the others have ended") { try await world.ended == [0, 2] }
            #expect(try await world.statuses == ["200", "", "200"])
            #expect(try await world.on { $0.plan.budgets[0].isContended } == false, "nobody is waited for any more")
        }
    }

    @Test("An idle connection is closed after the idle timeout, and its place is free again")
    func idle() async throws {
        let server = try FakeServer.echo()
        defer { server.stop() }
        try await PoolWorld.run(
            [server.port],
            {
                $0.maxConnections = 1
                $0.idleTimeout = .milliseconds(100)
            }
        ) { world in
            for round in 1...2 {
                try await world.exchange()
                try await eventually("it is closed") { server.openConnections == 0 }
                #expect(server.acceptedConnections == round)
            }
            #expect(try await world.statuses == ["200", "200"])
        }
    }

    @Test("An idle connection that the upstream has closed is not used, and its place is free again")
    func closedByUpstream() async throws {
        let server = try FakeServer.echo()
        defer { server.stop() }
        try await PoolWorld.run([server.port], { $0.maxConnections = 1 }) { world in
            try await world.exchange()
            server.cut()
            try await eventually("the place is free") { try await world.on { world in world.plan.budgets[0].hasRoom } }
            try await world.exchange()
            #expect(try await world.statuses == ["200", "200"])
            #expect(server.acceptedConnections == 2)
        }
    }

    @Test("A connection that could not be made takes no place")
    func refused() async throws {
        let nobody = try LoopbackSocket.deaf()
        defer { nobody.shutdown() }
        try await PoolWorld.run([nobody.port], { $0.maxConnections = 1 }) { world in
            for _ in 0..<3 { try await world.exchange() }
            #expect(try await world.statuses == ["502", "502", "502"])
            #expect(try await world.on { $0.plan.budgets[0].hasRoom })
        }
    }

    @Test("A pool that is no longer wanted closes what is idle at once, and what is in use when its exchange is over")
    func retired() async throws {
        let server = try ToldUpstream()
        defer { server.stop() }
        try await PoolWorld.run([server.port]) { world in
            try await world.begin(2)
            try await eventually("both are with the upstream") { server.openConnections == 2 }
            server.answer()
            try await eventually("one has ended") { try await world.ended.count == 1 }
            try await world.on { $0.loop.pool(0).retire() }
            try await eventually("the idle one is closed") { server.openConnections == 1 }
            server.answer()
            try await eventually("the other has ended") { try await world.ended.count == 2 }
            #expect(try await world.statuses == ["200", "200"])
            try await eventually("it is closed, too") { server.openConnections == 0 }
        }
    }

    @Test("Never more places are taken than there are, and each that is given back can be taken again")
    func budget() {
        let budget = EndpointBudget(limit: 2)
        #expect([budget.take(), budget.take(), budget.take()] == [true, true, false])
        budget.giveBack()
        #expect([budget.take(), budget.take()] == [true, false])
        #expect(!budget.isContended)
        budget.beginWaiting()
        budget.beginWaiting()
        budget.endWaiting()
        #expect(budget.isContended)
        budget.endWaiting()
        #expect(!budget.isContended)
    }

    @Test("Connections outlive a reload that does not change their upstream, and no other")
    func reload() throws {
        let endpoint = Endpoint(address: .inet(host: "127.0.0.1", port: 9), name: "127.0.0.1:9")
        let configuration = UpstreamConfiguration(name: "app", endpoints: [endpoint])
        let plan = try UpstreamPlan(configuration)
        #expect(plan.serves(configuration))
        let changes: [(inout UpstreamConfiguration) -> Void] = [
            { $0.name = "other" }, { $0.endpoints.append(endpoint) }, { $0.connectTimeout = .seconds(7) }, { $0.responseTimeout = .seconds(7) },
            { $0.idleTimeout = .seconds(7) }, { $0.maxConnections = 7 }, { $0.retries = 7 },
            { $0.tls = UpstreamTLS(configuration: .makeClientConfiguration(), serverName: nil) },
        ]
        for (index, change) in changes.enumerated() {
            var changed = configuration
            change(&changed)
            #expect(!plan.serves(changed), "change \(index)")
        }
    }
}

extension EndpointBudget {
    /// Whether a place is free.
    fileprivate var hasRoom: Bool {
        guard take() else { return false }
        giveBack()
        return true
    }
}
