// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Logging

/// What the log tells of a client's connection: once why Redis is not available, again only when the reason changes, and once that it is back,
/// however often was tried in between.
struct OutageLog {
    private let logger: Logger
    /// The last reason that was told, until a command has been answered again.
    private var reason: String?
    /// Whether the next connection is news.
    private var isNews = true

    init(logger: Logger, address: RedisConfiguration.Address) {
        var logger = logger
        logger[metadataKey: "redis"] = "\(address)"
        self.logger = logger
    }

    /// - Parameter reason: nothing that a peer sent, but for the code of an error reply.
    mutating func unavailable(_ reason: String) {
        guard self.reason != reason else { return }
        self.reason = reason
        isNews = true
        logger.warning("Redis is not available", metadata: ["reason": "\(reason)"])
    }

    mutating func connected() {
        guard isNews else { return }
        isNews = false
        // The end of what was told as a warning is told to who reads no more than those.
        logger.log(level: reason == nil ? .info : .notice, "Connected to Redis")
    }

    /// On the hot path: a reply to a command. Only that ends an outage, as a Redis that is too slow connects well, too.
    mutating func answered() {
        guard reason != nil else { return }
        reason = nil
    }
}
