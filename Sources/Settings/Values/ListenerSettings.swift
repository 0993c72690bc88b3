// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

extension Settings {
    /// One entry of `listeners`: a public address.
    package struct Listener: Sendable, Equatable {
        package enum ApplicationProtocol: String, Sendable, CaseIterable {
            case http2 = "h2"
            case http1 = "http/1.1"
        }

        package var address = Address.inet(host: "127.0.0.1", port: 8080)
        /// Every connection begins with a PROXY header.
        package var proxyProtocol = false
        /// Nil: plain text.
        package var tls: ServerTLS?
        /// In the order of preference.
        package var protocols: [ApplicationProtocol] = [.http1]
        package init() {}
    }

    package struct Admin: Sendable, Equatable {
        package var address = Address.inet(host: "127.0.0.1", port: 9180)
        /// Not empty. Nil: health and metrics only.
        package var token: [UInt8]?
        package init() {}
    }
}
