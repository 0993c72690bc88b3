// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOSSL
import Tokens

/// Where an issuer publishes its keys (`issuers[].jwks` with a `url`).
package struct KeySource: Sendable, Hashable {
    /// The issuer's `name`.
    package var issuer: String
    package var url: String
    /// Milliseconds.
    package var refresh: Int64
    /// Those that are trusted instead of the system's; empty: the system's.
    package var authorities: [NIOSSLCertificate]
    /// Keys that fit none of them are left out.
    package var algorithms: Set<JOSEAlgorithm>

    package init(issuer: String, url: String, refresh: Int64, authorities: [NIOSSLCertificate], algorithms: Set<JOSEAlgorithm>) {
        self.issuer = issuer
        self.url = url
        self.refresh = refresh
        self.authorities = authorities
        self.algorithms = algorithms
    }

    /// Whether keys that were fetched for `other` are still what is asked for.
    func hasKeys(of other: KeySource) -> Bool {
        url == other.url && authorities == other.authorities && algorithms == other.algorithms
    }
}

/// When a source is asked again: a value that decides, with time passed in.
struct KeyFetchSchedule: Sendable, Equatable {
    /// Between two fetches that unknown keys ask for (contract §3).
    static let unknownKeyInterval = Duration.seconds(10)
    /// After a failure, doubled with each further one up to the source's own interval: an issuer that comes back is heard soon.
    static let firstRetry = Duration.milliseconds(500)

    private(set) var failures = 0
    private var lastAskedForUnknown: ContinuousClock.Instant?

    /// How long to wait after a fetch.
    mutating func pause(succeeded: Bool, refresh: Duration) -> Duration {
        guard !succeeded else {
            failures = 0
            return refresh
        }
        failures += 1
        return min(refresh, Self.firstRetry * (1 << min(failures - 1, 16)))
    }

    /// Whether an unknown key is a reason to ask now.
    mutating func asksForUnknown(at now: ContinuousClock.Instant) -> Bool {
        if let last = lastAskedForUnknown, now - last < Self.unknownKeyInterval { return false }
        lastAskedForUnknown = now
        return true
    }
}
