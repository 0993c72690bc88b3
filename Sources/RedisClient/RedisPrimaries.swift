// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// How the servers that hold the data are found.
package enum RedisDeployment: Sendable {
    case standalone(RedisConfiguration.Address)
    /// The sentinels to begin with, and the name under which they watch the primary. They are asked without username and password, with TLS if the
    /// store has TLS.
    case sentinel([RedisConfiguration.Address], primary: String)
    /// Nodes to begin with.
    case cluster([RedisConfiguration.Address])
}

/// A server that takes writes.
package struct RedisPrimary: Sendable, Hashable {
    /// Of an address as long as it is among the primaries; never used again for another.
    package typealias ID = Int

    package let id: ID
    package let address: RedisConfiguration.Address
}

/// Who is a primary now. An immutable snapshot.
package struct RedisPrimaries: Sendable, Equatable {
    /// Grows with every change. 0: nobody has been asked yet.
    package let generation: UInt64
    /// Empty while none is known. One, but for a cluster.
    package let nodes: [RedisPrimary]
    /// Index in `nodes` by slot, `nobody` where none has it. Empty unless a cluster.
    let owners: [UInt16]

    package var isCluster: Bool { !owners.isEmpty }

    static let nobody = UInt16.max
    package static let unknown = RedisPrimaries(generation: 0, nodes: [], owners: [])

    /// Whose a slot is; nil while that is not known.
    package func owner(of slot: RedisSlot) -> RedisPrimary? { index(of: slot).map { nodes[$0] } }

    package func index(of slot: RedisSlot) -> Int? {
        guard !owners.isEmpty else { return nodes.isEmpty ? nil : 0 }
        let index = owners[Int(slot.number)]
        return index == Self.nobody ? nil : Int(index)
    }

    /// The next snapshot: addresses keep their ids, new ones get the ids from `nextID`.
    func succeeded(by layout: RedisLayout, nextID: inout RedisPrimary.ID) -> RedisPrimaries {
        let known = Dictionary(uniqueKeysWithValues: nodes.map { ($0.address, $0.id) })
        var next: [RedisPrimary] = []
        for address in layout.addresses {
            if let id = known[address] {
                next.append(RedisPrimary(id: id, address: address))
            } else {
                next.append(RedisPrimary(id: nextID, address: address))
                nextID += 1
            }
        }
        return RedisPrimaries(generation: generation + 1, nodes: next, owners: layout.owners)
    }

    var layout: RedisLayout { RedisLayout(addresses: nodes.map(\.address), owners: owners) }
}

/// What was found out in one round of asking.
struct RedisLayout: Sendable, Equatable {
    /// No two are the same.
    var addresses: [RedisConfiguration.Address]
    /// As in `RedisPrimaries`.
    var owners: [UInt16] = []
}
