// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Logging
import NIOCore
import Synchronization

/// What all clients that share it have found wrong with each address: a process has several for each event loop, and what they meet is one outage.
/// Any thread.
final class Outages: Sendable {
    /// A reason is told again when nobody has met it for that long.
    static let silence = TimeAmount.seconds(10)
    /// Reasons remembered for an address: codes of error replies are among them, which a peer makes up.
    static let reasonLimit = 32

    private struct Outage {
        var metAt: [String: NIODeadline] = [:]
        /// How many clients have lost their connection and not made another.
        var away = 0
        /// Something has been told that has not been told to be over.
        var isTold = false
        var wasConnected = false
    }

    /// What is to be told of a client that has connected.
    enum News { case none, first, again }

    private let state = Mutex<[RedisConfiguration.Address: Outage]>([:])

    /// Whether the reason is to be told. `isNew`: the client was connected before, or is just being made.
    func met(_ reason: String, at address: RedisConfiguration.Address, isNew: Bool, now: NIODeadline) -> Bool {
        state.withLock { state in
            var outage = state[address] ?? Outage()
            if isNew { outage.away += 1 }
            outage.metAt = outage.metAt.filter { now - $0.value < Self.silence }
            let isNews = outage.metAt[reason] == nil && outage.metAt.count < Self.reasonLimit
            if isNews { outage.isTold = true }
            if isNews || outage.metAt[reason] != nil { outage.metAt[reason] = now }
            state[address] = outage
            return isNews
        }
    }

    /// A client has connected, or is closed for good. `wasAway`: it had met something before.
    func over(at address: RedisConfiguration.Address, wasAway: Bool, isConnected: Bool) -> News {
        state.withLock { state in
            var outage = state[address] ?? Outage()
            if wasAway { outage.away -= 1 }
            var news = News.none
            if isConnected, outage.away == 0 {
                if outage.isTold { news = .again } else if !outage.wasConnected { news = .first }
                outage.isTold = false
                outage.wasConnected = true
            }
            state[address] = outage
            return news
        }
    }
}

/// What the log tells of one client's connection: why Redis is not available, once for all clients of the process, and that it is back when the last
/// of them is, however often was tried in between.
struct OutageLog {
    private let logger: Logger
    private let address: RedisConfiguration.Address
    private let outages: Outages
    private var isAway = false

    init(logger: Logger, configuration: RedisConfiguration) {
        var logger = logger
        address = configuration.address
        outages = configuration.outages
        logger[metadataKey: "redis"] = "\(address)"
        self.logger = logger
    }

    /// - Parameter reason: nothing that a peer sent, but for the code of an error reply.
    mutating func unavailable(_ reason: String) {
        let isNews = outages.met(reason, at: address, isNew: !isAway, now: .now())
        isAway = true
        if isNews { logger.warning("Redis is not available", metadata: ["reason": "\(reason)"]) }
    }

    mutating func connected() {
        let news = outages.over(at: address, wasAway: isAway, isConnected: true)
        isAway = false
        switch news {
        // The end of what was told as a warning is told to who reads no more than those.
        case .again: logger.notice("Connected to Redis")
        case .first: logger.info("Connected to Redis")
        case .none: break
        }
    }

    /// The client ends: nobody waits for its return.
    mutating func closed() {
        _ = outages.over(at: address, wasAway: isAway, isConnected: false)
        isAway = false
    }

    /// An old connection has gone, and another is made before anybody has missed it.
    func replaced(_ reason: String) { logger.debug("A connection to Redis is made anew", metadata: ["reason": "\(reason)"]) }
}
