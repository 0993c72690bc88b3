// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import HTTPRules
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

    private static func isOwn(_ origin: String, _ client: ControlRequest.Client) -> Bool {
        guard client.scheme == "https" || client.scheme == "http" else { return false }
        var origin = origin
        var host = client.host
        return origin.withUTF8 { origin in
            host.withUTF8 { host in
                WebOrigin.isOwn(UnsafeRawBufferPointer(origin), isSecure: client.scheme == "https", host: UnsafeRawBufferPointer(host))
            }
        }
    }
}
