// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import Synchronization

/// The metrics that are the control plane's own (contract §9), in Prometheus text format. The data plane's are added by whoever answers `/metrics`.
final class ControlMetrics: Sendable {
    /// Upper bounds in seconds: from a round trip to the store, past `max_staleness`, to what a broken store takes.
    private static let bounds: [Double] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

    private struct State {
        var buckets = [Int](repeating: 0, count: bounds.count)
        var count = 0
        var sum = 0.0
        var applied = 0
        var rejected = 0
    }

    private let state = Mutex(State())

    /// Of a logout, logout-all or revocation that took effect, from its beginning to its answer.
    func logoutTook(_ duration: Duration) {
        let seconds = Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
        state.withLock { state in
            state.count += 1
            state.sum += seconds
            if let bucket = Self.bounds.firstIndex(where: { seconds <= $0 }) { state.buckets[bucket] += 1 }
        }
    }

    func reloaded(applied: Bool) {
        state.withLock { state in
            if applied { state.applied += 1 } else { state.rejected += 1 }
        }
    }

    /// - Parameter droppedAudits: of the audit stream.
    func text(store: StoreHealth, droppedAudits: Int) -> String {
        let state = state.withLock { $0 }
        var lines = [
            "# HELP portcullis_store_up Whether the session store can be reached now.",
            "# TYPE portcullis_store_up gauge",
            "portcullis_store_up \(store.isUp ? 1 : 0)",
        ]
        if let staleness = store.staleness {
            lines += [
                "# HELP portcullis_revocation_staleness_seconds Time since the last moment up to which every revocation had been heard.",
                "# TYPE portcullis_revocation_staleness_seconds gauge",
                "portcullis_revocation_staleness_seconds \(staleness)",
            ]
        }
        if let remembers = store.remembers {
            lines += [
                "# HELP portcullis_revocation_tracking Whether answers are remembered until a change is pushed (revocation.mode: tracked); 0: strict.",
                "# TYPE portcullis_revocation_tracking gauge",
                "portcullis_revocation_tracking \(remembers ? 1 : 0)",
            ]
        }
        lines += [
            "# HELP portcullis_config_reloads_total Reloads of the configuration by outcome.",
            "# TYPE portcullis_config_reloads_total counter",
            "portcullis_config_reloads_total{outcome=\"applied\"} \(state.applied)",
            "portcullis_config_reloads_total{outcome=\"rejected\"} \(state.rejected)",
            "# HELP portcullis_audit_dropped_total Audit entries that did not reach the Redis stream, or perhaps not.",
            "# TYPE portcullis_audit_dropped_total counter",
            "portcullis_audit_dropped_total \(droppedAudits)",
            "# HELP portcullis_logout_duration_seconds Time from the beginning of a logout to its answer.",
            "# TYPE portcullis_logout_duration_seconds histogram",
        ]
        var below = 0
        for (bound, count) in zip(Self.bounds, state.buckets) {
            below += count
            lines.append("portcullis_logout_duration_seconds_bucket{le=\"\(bound)\"} \(below)")
        }
        lines.append("portcullis_logout_duration_seconds_bucket{le=\"+Inf\"} \(state.count)")
        lines.append("portcullis_logout_duration_seconds_sum \(state.sum)")
        lines.append("portcullis_logout_duration_seconds_count \(state.count)")
        return lines.joined(separator: "\n") + "\n"
    }
}
