// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import HTTPTypes

/// Whether a browser says that a page of this very origin made the call (contract §5, Same origin).
enum OriginEvidence: Equatable {
    case sameOrigin
    /// Nothing is said: no browser, or one that says nothing.
    case silent
    case foreign

    init(_ request: ControlRequest) {
        let origins = request.fields[values: .origin], sites = request.fields[values: .secFetchSite]
        guard origins.count <= 1, sites.count <= 1 else {
            self = .foreign
            return
        }
        if let site = sites.first, site != "same-origin" {
            self = .foreign
        } else if let origin = origins.first, !Self.isOwn(origin, request.client) {
            self = .foreign
        } else {
            self = origins.isEmpty && sites.isEmpty ? .silent : .sameOrigin
        }
    }

    /// Scheme, host and port of the request are exactly those of `origin` (RFC 6454 §6.1).
    private static func isOwn(_ origin: String, _ client: ControlRequest.Client) -> Bool {
        guard let separator = origin.firstRange(of: "://"), !client.host.isEmpty else { return false }
        let scheme = origin[..<separator.lowerBound].lowercased()
        let port: String? = scheme == "https" ? "443" : scheme == "http" ? "80" : nil
        guard let port, scheme == client.scheme.lowercased() else { return false }
        return withPort(origin[separator.upperBound...].lowercased(), port) == withPort(client.host.lowercased(), port)
    }

    private static func withPort(_ host: String, _ standard: String) -> String {
        guard let colon = host.lastIndex(of: ":"), !host[colon...].contains("]") else { return "\(host):\(standard)" }
        let port = host[host.index(after: colon)...]
        return port.isEmpty ? "\(host)\(standard)" : host
    }
}
