// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Logging
import NIOCore
import NIOPosix

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
        switch address {
        case .host(let host, let port): logger[metadataKey: "redis"] = "\(host):\(port)"
        case .unix(let path): logger[metadataKey: "redis"] = "\(path)"
        }
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
        logger.info("connected to Redis")
    }

    /// On the hot path: a reply to a command. Only that ends an outage, as a Redis that is too slow connects well, too.
    mutating func answered() {
        guard reason != nil else { return }
        reason = nil
    }
}

/// The cause of a failed connect, without the parts that a person who reads the log does not need.
func describe(_ error: any Error) -> String {
    guard let error = error as? NIOConnectionError else { return String(describing: error) }
    if let first = error.connectionErrors.first { return String(describing: first.error) }
    return "the name \(error.host) cannot be resolved"
}
