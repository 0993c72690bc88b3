// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

extension Settings {
    package enum Store: Sendable, Equatable {
        /// One process, lost at its end.
        case memory
        case redis(Redis)
    }

    /// `store.redis`.
    package struct Redis: Sendable, Equatable {
        package enum Mode: String, Sendable, CaseIterable { case standalone, sentinel, cluster }

        package var mode = Mode.standalone
        /// One in `standalone`; sentinels or seed nodes in the other modes.
        package var addresses: [Address] = [.inet(host: "127.0.0.1", port: 6379)]
        /// There if and only if the mode is `sentinel`.
        package var sentinelMaster: String?
        /// Only with a password.
        package var username: String?
        package var password: [UInt8]?
        /// 0 in a cluster.
        package var database = 0
        package var tls: ClientTLS?
        package var keyPrefix = "portcullis:"
        package var connectTimeout = Duration.seconds(1)
        package var commandTimeout = Duration.milliseconds(250)
        /// A logout is answered only after this many replicas have it.
        package var waitReplicas = 0
        package init() {}
    }
}
