// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions

/// What gateways say to each other over Redis' channels. Lines of fields with single blanks between; every text is percent-encoded as in keys,
/// so that nothing that a client sends can end a field.
///
///     fence ORIGIN          followed by lines  SEQUENCE {U} SID  or  SEQUENCE {U}  (all sessions of the user)
///     ack EDGE SEQUENCE     to the origin's own channel: everything up to there has been applied on every loop
///     beat EDGE NUMBER      to its own channel: what comes back to it counts
///     bye EDGE              the gateway has ended: nobody waits for it any more
///
/// A message that is anything else is ignored: another program may use the channel by mistake, and a later version may say more.
enum FleetMessage: Equatable {
    case fence(origin: String, [Fence])
    case acknowledgement(edge: String, upTo: UInt64)
    case heartbeat(edge: String, UInt64)
    case farewell(edge: String)

    /// One logout, as every gateway has to apply it.
    struct Fence: Equatable, Sendable {
        /// Counted by its origin.
        var sequence: UInt64
        var user: UserID
        /// Nil: all of the user's.
        var session: String?
        var reason: RevokeReason
    }

    /// Of a message that is looked at; a fence of the largest user and session id takes 2 KiB.
    static let byteLimit = 1 << 20

    var bytes: [UInt8] {
        var text: [UInt8] = []
        switch self {
        case .fence(let origin, let fences):
            text += Array("fence \(origin)".utf8)
            for fence in fences {
                text += Array("\n\(fence.sequence) \(fence.reason.rawValue) ".utf8)
                KeyEncoding.appendTag(of: fence.user, to: &text)
                if let session = fence.session {
                    text.append(UInt8(ascii: " "))
                    KeyEncoding.append(session.utf8, to: &text)
                }
            }
        case .acknowledgement(let edge, let upTo): text += Array("ack \(edge) \(upTo)".utf8)
        case .heartbeat(let edge, let number): text += Array("beat \(edge) \(number)".utf8)
        case .farewell(let edge): text += Array("bye \(edge)".utf8)
        }
        return text
    }

    /// Nil for what is none of these.
    init?(_ bytes: [UInt8]) {
        guard bytes.count <= Self.byteLimit else { return nil }
        let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        guard let head = lines.first.map(Self.fields), head.count >= 2, let edge = Self.edge(head[1]) else { return nil }
        switch (String(decoding: head[0], as: UTF8.self), head.count) {
        case ("fence", 2):
            var fences: [Fence] = []
            for line in lines.dropFirst() {
                guard let fence = Self.fence(Self.fields(line)) else { return nil }
                fences.append(fence)
            }
            self = .fence(origin: edge, fences)
        case ("ack", 3) where lines.count == 1:
            guard let upTo = Self.number(head[2]) else { return nil }
            self = .acknowledgement(edge: edge, upTo: upTo)
        case ("beat", 3) where lines.count == 1:
            guard let number = Self.number(head[2]) else { return nil }
            self = .heartbeat(edge: edge, number)
        case ("bye", 2) where lines.count == 1: self = .farewell(edge: edge)
        default: return nil
        }
    }

    private static func fence(_ fields: [ArraySlice<UInt8>]) -> Fence? {
        guard fields.count == 3 || fields.count == 4, let sequence = number(fields[0]),
            let reason = RevokeReason(rawValue: String(decoding: fields[1], as: UTF8.self)), let user = KeyEncoding.user(ofTag: fields[2])
        else { return nil }
        guard fields.count == 4 else { return Fence(sequence: sequence, user: user, session: nil, reason: reason) }
        guard let session = KeyEncoding.decode(fields[3]), !session.isEmpty else { return nil }
        return Fence(sequence: sequence, user: user, session: session, reason: reason)
    }

    private static func fields(_ line: ArraySlice<UInt8>) -> [ArraySlice<UInt8>] {
        line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
    }

    /// Ids of gateways are base64url, or what another implementation finds good: anything without blanks and control characters.
    private static func edge(_ field: ArraySlice<UInt8>) -> String? {
        guard (1...128).contains(field.count), field.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else { return nil }
        return String(decoding: field, as: UTF8.self)
    }

    private static func number(_ field: ArraySlice<UInt8>) -> UInt64? {
        guard (1...19).contains(field.count), field.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }) else { return nil }
        return UInt64(String(decoding: field, as: UTF8.self))
    }
}
