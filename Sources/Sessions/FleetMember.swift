// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// What a gateway tells the fleet of itself.
package struct EdgeDescription: Sendable, Equatable {
    /// 128 random bits, base64url: another one for each start of a process.
    package var id: String
    /// Where it listens, for people.
    package var address: String
    package var version: String

    package init(id: String, address: String, version: String) {
        self.id = id
        self.address = address
        self.version = version
    }
}

/// A gateway of the fleet as `GET /v1/edges` shows it.
package struct FleetMember: Sendable, Equatable {
    package var edge: EdgeDescription
    package var lastHeartbeatAt: UnixMilliseconds?
    /// Milliseconds since its last heartbeat: what it acts on is not older.
    package var staleness: Int64?

    package init(edge: EdgeDescription, lastHeartbeatAt: UnixMilliseconds? = nil, staleness: Int64? = nil) {
        self.edge = edge
        self.lastHeartbeatAt = lastHeartbeatAt
        self.staleness = staleness
    }
}
