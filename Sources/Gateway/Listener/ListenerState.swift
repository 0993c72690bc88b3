// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import NIOSSL
import NIOTLS

/// What one event loop knows of one listener. A reload changes its TLS context in place: connections that are open keep
/// the one that they began with.
final class ListenerState {
    var tls: NIOSSLContext?
    var usesTLS: Bool { tls != nil }

    init(tls: NIOSSLContext?) { self.tls = tls }

    func isHandshakeCompleted(_ event: Any) -> Bool {
        if case .handshakeCompleted = event as? TLSUserEvent { true } else { false }
    }
}

@available(*, unavailable)
extension ListenerState: Sendable {}
