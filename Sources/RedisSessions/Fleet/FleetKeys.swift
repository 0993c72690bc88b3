// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import RedisClient

/// Keys and channels by which gateways know of each other, on one primary. In a cluster each primary has its own, told apart by a tag of which the
/// slot is that primary's (contract §7, `edge:ID:{TAG}`).
struct FleetKeys: Sendable {
    private let prefix: [UInt8]
    /// Empty, or `:{TAG}`.
    private let suffix: String

    /// - Parameter tag: nil outside a cluster.
    init(prefix: [UInt8], tag: String?) {
        self.prefix = prefix
        suffix = tag.map { ":{\($0)}" } ?? ""
    }

    /// How a gateway is called here: what follows `edge:` in its heartbeat's key.
    func name(_ id: String) -> String { id + suffix }
    /// The gateway's id without the tag.
    func id(ofName name: String) -> String { name.hasSuffix(suffix) ? String(name.dropLast(suffix.count)) : name }

    /// A gateway's heartbeat.
    func edge(_ name: String) -> [UInt8] { edgePrefix + Array(name.utf8) }
    var edgePrefix: [UInt8] { prefix + Array("edge:".utf8) }
    /// Set of the names that have or had a heartbeat, so that they are found without looking at every key.
    var edges: [UInt8] { prefix + Array("edges\(suffix)".utf8) }
    /// Channel on which logouts are told to all gateways.
    var fences: [UInt8] { prefix + Array("fences\(suffix)".utf8) }
    /// Channel on which a gateway is told who has applied its fences.
    func acknowledgements(to name: String) -> [UInt8] { prefix + Array("acknowledgements:\(name)".utf8) }

    /// The tag for a primary: the smallest number whose slot it has, so that all gateways come to the same. Nil while it has no slot.
    static func tag(of index: Int, in primaries: RedisPrimaries) -> String? {
        (0..<RedisSlot.count * 4).lazy.map(String.init).first { primaries.index(of: RedisSlot(key: Array("{\($0)}".utf8))) == index }
    }
}
