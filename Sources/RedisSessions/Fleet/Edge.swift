// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Sessions

extension EdgeDescription {
    /// Three fields with single blanks between, percent-encoded as in keys.
    func heartbeat(staleness: TimeAmount) -> [UInt8] {
        var text = Array("\(staleness.nanoseconds / 1_000_000) ".utf8)
        KeyEncoding.append(version.utf8, to: &text)
        text.append(UInt8(ascii: " "))
        KeyEncoding.append(address.utf8, to: &text)
        return text
    }
}

/// A gateway as its heartbeat in Redis shows it.
struct Edge: Sendable, Equatable {
    var description: EdgeDescription
    /// How long its heartbeats count; nil: it does not say.
    var staleness: TimeAmount?
    /// How long the present one still does.
    var left: TimeAmount

    /// `left`: as PTTL tells it; negative for a key without an end or none.
    init(id: String, value: [UInt8], left: Int64) {
        let fields = value.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        let milliseconds = fields.first.flatMap { $0.count <= 9 ? Int64(String(decoding: $0, as: UTF8.self)) : nil }
        let isOurs = fields.count == 3 && milliseconds != nil
        staleness = milliseconds.flatMap { isOurs && $0 > 0 ? .milliseconds($0) : nil }
        self.left = .milliseconds(max(0, left))
        description = EdgeDescription(
            id: id, address: isOurs ? KeyEncoding.decode(fields[2]) ?? "" : "", version: isOurs ? KeyEncoding.decode(fields[1]) ?? "" : "")
    }

    /// Since its last heartbeat; nil where it does not say how long that counts.
    var age: TimeAmount? { staleness.map { $0 - min($0, left) } }
}
