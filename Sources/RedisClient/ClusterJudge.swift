// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// What the nodes of a cluster say of its slots.
///
/// Any node may be asked. One that has been cut off, or has only just come in, knows less than others: a node that is content with the cluster's
/// state is preferred, then who knows every node's address, then who knows most slots, then the greater epoch.
struct ClusterJudge: DiscoveryJudge {
    struct Answer: Sendable, Equatable {
        struct Range: Sendable, Equatable {
            var slots: ClosedRange<Int>
            /// Nil: the node that was asked does not know it.
            var address: RedisConfiguration.Address?
        }

        var isContent: Bool
        var epoch: UInt64
        var ranges: [Range]

        fileprivate var weight: (Int, Int, Int, UInt64) {
            let unknown = ranges.filter { $0.address == nil }
            let known = ranges.reduce(0) { $0 + ($1.address == nil ? 0 : $1.slots.count) }
            return (isContent ? 1 : 0, -unknown.count, known, epoch)
        }
    }

    private let seeds: [RedisConfiguration.Address]
    private let nodeLimit: Int
    private var layout = RedisLayout(addresses: [])

    init(seeds: [RedisConfiguration.Address], nodeLimit: Int) {
        self.seeds = seeds
        self.nodeLimit = nodeLimit
    }

    let questions = [RedisCommand("CLUSTER", "INFO"), RedisCommand("CLUSTER", "SLOTS")]

    var targets: [RedisConfiguration.Address] {
        var seen: Set<RedisConfiguration.Address> = []
        return (layout.addresses + seeds).filter { seen.insert($0).inserted }
    }

    func isEnough(_ answers: Int) -> Bool { answers > 0 }

    func answer(_ replies: [RedisReply], from source: RedisConfiguration.Address) -> Answer? {
        guard replies.count == 2, let text = replies[0].bytes, let entries = replies[1].elements, !entries.isEmpty else { return nil }
        let info = String(decoding: text, as: UTF8.self).split(whereSeparator: \.isNewline)
        let epoch = info.first { $0.hasPrefix("cluster_current_epoch:") }.flatMap { UInt64($0.drop { $0 != ":" }.dropFirst()) }
        var ranges: [Answer.Range] = []
        for entry in entries {
            guard let parts = entry.elements, parts.count >= 3, let first = parts[0].integer, let last = parts[1].integer,
                0 <= first, first <= last, last < Int64(RedisSlot.count), let primary = parts[2].elements, primary.count >= 2,
                let port = primary[1].integer, (1...65535).contains(port)
            else { return nil }
            ranges.append(Answer.Range(slots: Int(first)...Int(last), address: Self.address(primary[0], Int(port), from: source)))
        }
        return Answer(isContent: info.contains("cluster_state:ok"), epoch: epoch ?? 0, ranges: ranges)
    }

    mutating func judge(_ answers: [Answer]) -> DiscoveryVerdict {
        guard let best = answers.max(by: { $0.weight < $1.weight }) else { return .unsettled("no node has answered") }
        var next = RedisLayout(addresses: [], owners: Array(repeating: RedisPrimaries.nobody, count: RedisSlot.count))
        var indexes: [RedisConfiguration.Address: UInt16] = [:]
        func own(_ slot: Int, _ address: RedisConfiguration.Address) {
            if indexes[address] == nil {
                indexes[address] = UInt16(next.addresses.count)
                next.addresses.append(address)
            }
            if let index = indexes[address] { next.owners[slot] = index }
        }
        for range in best.ranges {
            for slot in range.slots {
                if let address = range.address ?? present(slot) { own(slot, address) }
            }
        }
        guard !next.addresses.isEmpty else { return .unsettled("no node knows where the slots are") }
        guard next.addresses.count <= nodeLimit else { return .unsettled("the cluster has more primaries than the limit") }
        return .settled(next)
    }

    mutating func settle(_ layout: RedisLayout) { self.layout = layout }

    private func present(_ slot: Int) -> RedisConfiguration.Address? {
        guard !layout.owners.isEmpty, layout.owners[slot] != RedisPrimaries.nobody else { return nil }
        return layout.addresses[Int(layout.owners[slot])]
    }

    /// The null or empty host is that of the node that was asked; `?` stands for one that it does not know.
    private static func address(_ host: RedisReply, _ port: Int, from source: RedisConfiguration.Address) -> RedisConfiguration.Address? {
        switch host {
        case .null: return announced("", port, by: source)
        case .bulk(let bytes), .simple(let bytes): return announced(String(decoding: bytes, as: UTF8.self), port, by: source)
        case .integer, .error, .array: return nil
        }
    }

    /// An address as a node has announced it; nil where it names none.
    static func announced(_ host: String, _ port: Int, by source: RedisConfiguration.Address) -> RedisConfiguration.Address? {
        if host == "?" { return nil }
        if !host.isEmpty { return .host(host, port: port) }
        return source.hostName.map { .host($0, port: port) }
    }
}
