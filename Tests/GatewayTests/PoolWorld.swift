// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Dispatch
import Logging
import NIOCore
import NIOPosix
import Sessions
import TestSupport

@testable import Gateway

/// One event loop of a data plane with one upstream, whose exchanges are begun without a client's connection.
final class PoolWorld: Sendable {
    /// Confined to the loop.
    final class Loop {
        let loop: GatewayLoop
        let plan: UpstreamPlan
        var clients: [Client] = []
        var ended: [Int] = []

        init(_ loop: GatewayLoop, _ plan: UpstreamPlan) {
            self.loop = loop
            self.plan = plan
        }

        /// Begins an exchange; it is numbered from 0.
        func begin() throws {
            let client = Client(number: clients.count, world: self)
            clients.append(client)
            try StageRequest().with { head, bytes in client.exchange.begin(head, ByteBuffer(bytes: bytes)) }
        }
    }

    /// What an exchange tells its client.
    final class Client: Downstream {
        private(set) var exchange: Exchange!
        private(set) var text = ""
        private let number: Int
        private unowned let world: Loop

        init(number: Int, world: Loop) {
            self.number = number
            self.world = world
            super.init()
            exchange = Exchange(loop: world.loop, downstream: self, peer: PeerAddress(nil), isSecure: false)
        }

        var status: String { String(text.dropFirst(9).prefix(3)) }

        override func write(_ bytes: ByteBuffer) { text += String(buffer: bytes) }
        override func flush() {}
        override var isWritable: Bool { true }
        override func endsWithAnswer(refused: Bool) -> Bool { false }
        override func closesAfterAnswer() {}
        override func pumpBody() {}
        override func exchangeEnded() { world.ended.append(number) }
        override func cut() { world.ended.append(number) }
        override func becomeTunnel() {}
        override func closeTunnel(within patience: TimeAmount?) {}
    }

    private let group: MultiThreadedEventLoopGroup
    private let bound: NIOLoopBound<Loop>

    private init(_ upstream: UpstreamConfiguration) async throws {
        var configuration = GatewayConfiguration()
        configuration.upstreams = [upstream]
        configuration.routes = [StageWorld.route("/") { $0.auth = .none }]
        let snapshot = Snapshot(configuration), plan = try UpstreamPlan(upstream)
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let eventLoop = group.next()
        bound = try await eventLoop.submit {
            let shared = GatewayShared(loopCount: 1, logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })) { _ in }
            let loop = GatewayLoop(
                index: 0, eventLoop: eventLoop, shared: shared, lookup: SessionLookup(eventLoop: eventLoop), snapshot: snapshot, accessLog: nil)
            loop.use(snapshot, plans: [plan])
            return NIOLoopBound(Loop(loop, plan), eventLoop: eventLoop)
        }.get()
    }

    /// Runs `body` with an upstream at these ports of 127.0.0.1, and ends its connections and its loop.
    static func run(
        _ ports: [Int], _ change: (inout UpstreamConfiguration) -> Void = { _ in }, _ body: (PoolWorld) async throws -> Void
    ) async throws {
        let endpoints = ports.map { Endpoint(address: .inet(host: "127.0.0.1", port: $0), name: "127.0.0.1:\($0)") }
        var upstream = UpstreamConfiguration(name: "app", endpoints: endpoints)
        upstream.retries = 0
        change(&upstream)
        let world = try await PoolWorld(upstream)
        do {
            try await body(world)
        } catch {
            try await world.end()
            throw error
        }
        try await world.end()
    }

    private func end() async throws {
        try await on { world in
            for client in world.clients { client.exchange.clientGone(byReset: false) }
            world.loop.closeAll()
        }
        try await group.shutdownGracefully()
    }

    func on<Result: Sendable>(_ body: @escaping @Sendable (Loop) throws -> Result) async throws -> Result {
        try await bound.eventLoop.submit { [bound] in try body(bound.value) }.get()
    }

    /// Begins an exchange and waits for its end.
    func exchange() async throws {
        let number = try await on { world in
            try world.begin()
            return world.clients.count - 1
        }
        try await eventually("exchange \(number) has ended") { try await self.ended.contains(number) }
    }

    func begin(_ count: Int) async throws { try await on { world in for _ in 0..<count { try world.begin() } } }

    /// The numbers of the exchanges that have ended, in the order in which they did.
    var ended: [Int] { get async throws { try await on { $0.ended } } }

    var statuses: [String] { get async throws { try await on { $0.clients.map(\.status) } } }
}

/// An upstream that answers each request when it is told to, with 200.
final class ToldUpstream: Sendable {
    private let server: FakeServer
    private let told = DispatchSemaphore(value: 0)

    init() throws {
        server = try FakeServer { [told] connection in
            let reader = HTTPReader(connection.socket)
            while reader.request() != nil {
                told.wait()
                guard connection.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") else { return }
            }
        }
    }

    var port: Int { server.port }
    var acceptedConnections: Int { server.acceptedConnections }
    var openConnections: Int { server.openConnections }

    func answer(_ count: Int = 1) { for _ in 0..<count { told.signal() } }

    func stop() {
        answer(100)
        server.stop()
    }
}
