// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions

/// What the control plane needs of the data plane in the same process. Called from any task.
package protocol DataPlane: Sendable {
    /// Closes every open exchange of the user (of that session, if given) on all loops and returns when that has happened: a logout is answered after it.
    func endExchanges(of user: UserID, session: String?, reason: RevokeReason) async

    /// The data plane's metrics in Prometheus text format, each line ended.
    func metricsText() async -> String

    /// Draining: `/readyz` is 503.
    var isDraining: Bool { get }

    /// Whether all listeners are open.
    var isReady: Bool { get }
}
