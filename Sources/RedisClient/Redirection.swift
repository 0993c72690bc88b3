// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// What a node of a cluster says instead of carrying a command out: nothing has happened, and repeating is safe.
enum Redirection: Equatable {
    /// The slot is another's for good. Nil: of one that the node does not know.
    case moved(RedisConfiguration.Address?)
    /// The slot is on its way to another, and this key has gone there already, or never was.
    case ask(RedisConfiguration.Address?)
    /// The keys of this command are partly here and partly there.
    case tryAgain

    /// - Parameter source: who has said so.
    init?(_ reply: RedisReply, from source: RedisConfiguration.Address) {
        guard case .error(let text) = reply else { return nil }
        // MOVED 3999 127.0.0.1:6381, ASK 3999 [host]:6381
        let words = text.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        switch words.first.map({ String(decoding: $0, as: UTF8.self) }) {
        case "MOVED" where words.count >= 3: self = .moved(Self.address(words[2], source))
        case "ASK" where words.count >= 3: self = .ask(Self.address(words[2], source))
        case "TRYAGAIN": self = .tryAgain
        case .some, .none: return nil
        }
    }

    private static func address(_ word: ArraySlice<UInt8>, _ source: RedisConfiguration.Address) -> RedisConfiguration.Address? {
        // A v6 address stands there without brackets: the last colon counts.
        guard let colon = word.lastIndex(of: UInt8(ascii: ":")),
            let port = UInt16(String(decoding: word[(colon + 1)...], as: UTF8.self)), port > 0
        else { return nil }
        return ClusterJudge.announced(String(decoding: word[..<colon], as: UTF8.self), Int(port), by: source)
    }
}

/// How a command follows redirections: it goes on to who is named, a few times; and where nobody is, it comes again after a pause. Its deadline,
/// which is not renewed, bounds the rest.
struct RedirectionRule {
    enum Step: Equatable {
        case go(RedisConfiguration.Address, asking: Bool)
        /// To the owner of the slot, after `pause`.
        case again
        /// It has gone round in circles: the redirection is its answer.
        case stop
    }

    /// One after the other, without a pause.
    static let hopLimit = 5
    static let pause = TimeAmount.milliseconds(10)

    private var hops = 0

    mutating func step(_ redirection: Redirection) -> Step {
        switch redirection {
        case .tryAgain:
            // Each time it may be sent on anew; the pause keeps that from being a storm.
            hops = 0
            return .again
        case .moved(let address), .ask(let address):
            hops += 1
            guard hops <= Self.hopLimit else { return .stop }
            guard let address else { return .again }
            return .go(address, asking: redirection == .ask(address))
        }
    }
}
