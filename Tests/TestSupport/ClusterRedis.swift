// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// A cluster on free ports; slots can be moved one at a time, and stay half moved as long as a test wants.
package final class ClusterRedis: Sendable {
    package static let slots = 16384

    package let servers: [RedisServer]
    private let replicas: Int

    /// Starts the nodes, gives each an equal part of the slots, and waits until all of them find the cluster whole.
    ///
    /// - Parameters:
    ///   - options: of each node.
    ///   - spares: further nodes, which get no slot.
    ///   - hasReplicas: whether each of the nodes has a replica, which takes over when it dies.
    package static func start(
        nodes: Int = 3, spares: Int = 0, hasReplicas: Bool = false, _ options: [String] = []
    ) async throws -> ClusterRedis {
        var servers: [RedisServer] = []
        do {
            let replicas = hasReplicas ? nodes : 0
            for _ in 0..<(nodes + spares + replicas) { servers.append(try await RedisServer.start(options, cluster: .empty)) }
            let cluster = ClusterRedis(servers, replicas: replicas)
            try await cluster.join(nodes)
            return cluster
        } catch {
            for server in servers { server.stop() }
            throw error
        }
    }

    private init(_ servers: [RedisServer], replicas: Int) {
        self.servers = servers
        self.replicas = replicas
    }

    private func join(_ nodes: Int) async throws {
        let step = Self.slots / nodes
        for (index, server) in servers.enumerated() {
            try server.command("CLUSTER", "SET-CONFIG-EPOCH", "\(index + 1)")
            if index < nodes {
                let last = index == nodes - 1 ? Self.slots - 1 : (index + 1) * step - 1
                try server.command("CLUSTER", "ADDSLOTSRANGE", "\(index * step)", "\(last)")
            }
            if index > 0 { try server.command("CLUSTER", "MEET", "127.0.0.1", "\(servers[0].port)", "\(servers[0].busPort ?? 0)") }
        }
        for (primary, replica) in zip(servers, servers.suffix(replicas)) {
            let identifier = try name(primary)
            try await eventually("the replica knows its primary") { try replica.command("CLUSTER", "REPLICATE", identifier) == .text("OK") }
        }
        try await waitUntilWhole()
    }

    /// Waits until every node knows all others and finds all slots served, and the replicas are in sync.
    package func waitUntilWhole() async throws {
        try await eventually("the cluster is whole", within: .seconds(40)) {
            var linked = 0
            for server in servers {
                let info = try server.command("CLUSTER", "INFO").text ?? ""
                let slots = try server.command("CLUSTER", "SLOTS").elements ?? []
                let owners = Set(slots.compactMap { $0.elements?.dropFirst(2).first?.elements?.dropFirst().first })
                let replication = try server.command("INFO", "replication").text ?? ""
                linked += replication.contains("role:slave") && replication.contains("master_link_status:up") ? 1 : 0
                guard info.contains("cluster_state:ok"), info.contains("cluster_known_nodes:\(servers.count)\r"), owners.count >= 1 else {
                    return false
                }
            }
            return linked == replicas
        }
    }

    /// Moves the slot with its keys.
    package func move(_ slot: Int, to target: RedisServer) throws {
        try beginMove(slot, to: target)
        try finishMove(slot, to: target)
    }

    package func slot(of key: String) throws -> Int {
        guard case .integer(let slot) = try servers[0].command("CLUSTER", "KEYSLOT", key) else { throw ConnectionEnded() }
        return slot
    }

    /// Who has a slot, as a node that answers sees it.
    package func owner(of slot: Int) throws -> RedisServer {
        for server in servers {
            guard let entries = try? server.command("CLUSTER", "SLOTS").elements else { continue }
            for entry in entries {
                guard let parts = entry.elements, parts.count >= 3, case .integer(let first) = parts[0], case .integer(let last) = parts[1],
                    (first...last).contains(slot), let node = parts[2].elements, node.count >= 2, case .integer(let port) = node[1],
                    let owner = servers.first(where: { $0.port == port })
                else { continue }
                return owner
            }
        }
        throw ConnectionEnded()
    }

    /// The slots that a node has, as it sees it itself.
    package func slots(of server: RedisServer) throws -> [Int] {
        (try server.command("CLUSTER", "SLOTS").elements ?? []).flatMap { entry -> [Int] in
            guard let parts = entry.elements, parts.count >= 3, case .integer(let first) = parts[0], case .integer(let last) = parts[1],
                parts[2].elements?[1] == .integer(server.port)
            else { return [] }
            return Array(first...last)
        }
    }

    /// Waits until the replicas have everything that has been written so far.
    package func waitUntilReplicated() async throws {
        func offset(_ name: String, _ server: RedisServer) throws -> Int? {
            let lines = (try server.command("INFO", "replication").text ?? "").split(whereSeparator: \.isNewline)
            return lines.first { $0.hasPrefix("\(name):") }.flatMap { Int($0.dropFirst(name.count + 1)) }
        }
        for server in servers {
            guard
                let port = (try server.command("ROLE").elements?.dropFirst(2).first).flatMap({ if case .integer(let port) = $0 { port } else { nil } }
                ),
                let primary = servers.first(where: { $0.port == port }), let written = try offset("master_repl_offset", primary)
            else { continue }
            try await eventually("a replica has everything") { try offset("slave_repl_offset", server) ?? 0 >= written }
        }
    }

    package func owner(of key: String) throws -> RedisServer { try owner(of: slot(of: key)) }

    package func others(_ server: RedisServer) -> [RedisServer] { servers.filter { $0 !== server } }

    /// Leaves the slot half moved: the source answers ASK for keys that are gone already. Returns the source.
    @discardableResult
    package func beginMove(_ slot: Int, to target: RedisServer, keys: Bool = true) throws -> RedisServer {
        let source = try owner(of: slot)
        let (from, to) = (try name(source), try name(target))
        try target.command("CLUSTER", "SETSLOT", "\(slot)", "IMPORTING", from)
        try source.command("CLUSTER", "SETSLOT", "\(slot)", "MIGRATING", to)
        if keys { try moveKeys(slot, from: source, to: target) }
        return source
    }

    /// Moves the keys that are in the slot now.
    package func moveKeys(_ slot: Int, from source: RedisServer, to target: RedisServer) throws {
        for key in try source.command("CLUSTER", "GETKEYSINSLOT", "\(slot)", "10000").elements ?? [] {
            try source.command("MIGRATE", "127.0.0.1", "\(target.port)", key.text ?? "", "0", "5000")
        }
    }

    /// The source answers MOVED from now on.
    package func finishMove(_ slot: Int, to target: RedisServer) throws {
        let name = try name(target)
        try target.command("CLUSTER", "SETSLOT", "\(slot)", "NODE", name)
        for server in others(target) { _ = try? server.command("CLUSTER", "SETSLOT", "\(slot)", "NODE", name) }
    }

    package func stop() {
        for server in servers { server.stop() }
    }

    private func name(_ server: RedisServer) throws -> String {
        guard let name = try server.command("CLUSTER", "MYID").text else { throw ConnectionEnded() }
        return name
    }
}

/// Runs `body` with a cluster of three primaries of its own, which is stopped afterwards.
package func withClusterRedis<Result>(
    nodes: Int = 3, spares: Int = 0, hasReplicas: Bool = false, _ options: [String] = [], isolation: isolated (any Actor)? = #isolation,
    _ body: (ClusterRedis) async throws -> Result
) async throws -> Result {
    let cluster = try await ClusterRedis.start(nodes: nodes, spares: spares, hasReplicas: hasReplicas, options)
    defer { cluster.stop() }
    return try await body(cluster)
}
