// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import PeerTLS

/// Where a Redis is and how to talk to it. Immutable once a client has it.
package struct RedisConfiguration: Sendable {
    package enum Address: Sendable, Hashable, CustomStringConvertible {
        /// A name or an IP address (v6 without brackets), over TCP.
        case host(String, port: Int)
        /// A Unix socket.
        case unix(path: String)

        package var description: String {
            switch self {
            case .host(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
            case .unix(let path): path
            }
        }

        /// What is connected to, for TLS; nil for a Unix socket.
        var hostName: String? {
            switch self {
            case .host(let host, _): host
            case .unix: nil
            }
        }
    }

    /// What the other side has to be, which decides how a connection begins.
    enum Peer: Sendable {
        /// A server that is a primary and says so itself.
        case primary
        /// Any node of a cluster, to be asked for the map alone.
        case node
        /// Without username, password and database.
        case sentinel
    }

    package var address: Address
    var peer = Peer.primary
    /// ACL user; without it, `password` is the default user's.
    package var username: String?
    package var password: String?
    /// Selected on every connection; 0 is what Redis starts with.
    package var database: Int
    /// Nil: not encrypted.
    package var tls: PeerTLS?
    /// For all of a connection's beginning together: name resolution, TCP, TLS, AUTH, SELECT, PING, ROLE, INFO.
    package var connectTimeout: TimeAmount
    /// From the write of a command to its reply. A passed one costs the connection, as the order of what comes later is in doubt.
    package var commandTimeout: TimeAmount
    package var limits: RedisLimits
    /// Shared by all copies: what is told of an outage is told once for all that connect with them.
    let outages = Outages()

    package init(
        address: Address, username: String? = nil, password: String? = nil, database: Int = 0, tls: PeerTLS? = nil,
        connectTimeout: TimeAmount = .seconds(1), commandTimeout: TimeAmount = .milliseconds(250), limits: RedisLimits = RedisLimits()
    ) {
        self.address = address
        self.username = username
        self.password = password
        self.database = database
        self.tls = tls
        self.connectTimeout = connectTimeout
        self.commandTimeout = commandTimeout
        self.limits = limits
    }
}

/// What one connection may use up. The defaults are far above what sessions need: they bound the damage of a peer that is broken or no Redis.
package struct RedisLimits: Sendable, Equatable {
    /// Commands of which the reply is outstanding; one more is refused. At 12 µs a request, a loop gathers 20 000 in the default command timeout.
    package var pipelineDepth = 16_384
    /// One reply with all that is nested in it, bytes.
    package var replyBytes = 64 * 1024 * 1024
    /// Elements of one reply, nested ones included. hiredis allocates by an array's announced length, before the elements come.
    package var replyElements = 1024 * 1024
    /// A simple string or an error, bytes. Redis' own are shorter than 1 KiB but for errors of scripts.
    package var lineBytes = 64 * 1024
    /// Arrays within arrays: hiredis' own limit.
    package var nesting = 7
    /// Primaries of a cluster; a map with more is not believed. Each costs a connection for every event loop.
    package var nodes = 128
    /// Nodes that a redirection has named and that are in no map yet, for each event loop.
    package var guests = 16

    package init() {}
}
