// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// What the control plane needs of the data plane in the same process. Called from any task.
package protocol DataPlane: Sendable {
    /// The data plane's metrics in Prometheus text format, each line ended.
    func metricsText() async -> String

    /// Draining: `/readyz` is 503.
    var isDraining: Bool { get }

    /// Whether all listeners are open.
    var isReady: Bool { get }
}
