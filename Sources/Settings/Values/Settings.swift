// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// The whole configuration: decoded, validated, frozen. The names are those of the file, in Swift's spelling; an empty value has the defaults.
///
/// Only `SettingsLoader` makes one from outside text. Files that it names have been read: nothing here is read again, so that all parts of the
/// gateway see the same bytes.
package struct Settings: Sendable {
    package var listeners: [Listener] = [Listener()]
    /// `trusted_proxies`: CIDRs or single addresses, found valid.
    package var trustedProxies: [String] = []
    package var admin = Admin()
    package var workers = Workers.auto
    package var store = Store.redis(Redis())
    package var revocation = Revocation()
    package var sessions = Sessions()
    package var issuers: [Issuer] = []
    /// In the order of the file, none twice.
    package var tokenSources: [TokenSource] = [.authorization, .cookie]
    package var identityHeaders = IdentityHeaders()
    /// In the order of the file; names are unique.
    package var upstreams: [Upstream] = []
    /// The first that matches counts.
    package var routes: [Route] = []
    package var paths = Paths()
    package var limits = Limits()
    package var logging = Logging()
    package var shutdown = Shutdown()

    package init() {}

    package enum Workers: Sendable, Equatable {
        /// One event loop a core.
        case auto
        case count(Int)
    }

    /// Where to listen, or whom to talk to.
    package enum Address: Sendable, Hashable, CustomStringConvertible {
        /// A name or an IP address, v6 without brackets; the port is 1 to 65535.
        case inet(host: String, port: Int)
        /// Absolute: relative paths of the file start at its folder.
        case unix(path: String)

        /// `host:port`, `[v6]:port` or `unix:/path`.
        package var description: String {
            switch self {
            case .inet(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
            case .unix(let path): "unix:\(path)"
            }
        }
    }

    package enum WhenUnavailable: String, Sendable, CaseIterable {
        /// 503.
        case reject
        /// Sessions that the store confirmed within `revocation.grace` pass.
        case allowRecent = "allow_recent"
    }

    package struct Revocation: Sendable, Equatable {
        package enum Mode: String, Sendable, CaseIterable { case strict, tracked }
        package var mode = Mode.strict
        /// No answer of the store older than this is ever used; a gateway that is silent for this long is not waited for.
        package var maxStaleness = Duration.seconds(1)
        package var whenUnavailable = WhenUnavailable.reject
        /// How long a confirmed session passes while the store is down, with `allow_recent`. May be zero.
        package var grace = Duration.zero
        package init() {}
    }

    /// Where requests may carry their token.
    package enum TokenSource: Sendable, Hashable {
        /// `header`: Authorization: Bearer.
        case authorization
        /// `cookie`: `sessions.cookies.access_name`.
        case cookie
        /// A parameter of the query.
        case query(String)
        /// A field that has the token alone.
        case header(String)
    }

    /// `paths`: what is done about links that are not tidy.
    package struct Paths: Sendable, Equatable {
        package enum DuplicateSlashes: String, Sendable, CaseIterable { case reject, merge }
        package enum EncodedSlashes: String, Sendable, CaseIterable { case reject, keep }
        package var duplicateSlashes = DuplicateSlashes.reject
        package var encodedSlashes = EncodedSlashes.reject
        package init() {}
    }

    /// Sizes in bytes.
    package struct Limits: Sendable, Equatable {
        /// Request line and fields together; also trailers, and answers of upstreams.
        package var headerBytes = 32 << 10
        package var headerCount = 100
        package var targetBytes = 8 << 10
        package var tokenBytes = 8 << 10
        /// 0: no limit.
        package var bodyBytes = 0
        /// Without those of the admin listener.
        package var connections = 10_000
        /// From the first byte of a head to its end; bounds the TLS handshake, too.
        package var headTimeout = Duration.seconds(10)
        package var idleTimeout = Duration.seconds(75)
        /// No byte either way.
        package var streamIdleTimeout = Duration.seconds(300)
        package init() {}
    }

    package struct Logging: Sendable, Equatable {
        package enum Level: String, Sendable, CaseIterable { case trace, debug, info, notice, warning, error }
        package var level = Level.info
        package var accessLog = true
        /// Nil: the audit log is on standard output alone. Only with a store in Redis.
        package var auditStream: AuditStream?
        package init() {}
    }

    /// `logging.audit_stream`: a copy of the audit log in Redis.
    package struct AuditStream: Sendable, Equatable {
        /// About so many entries are kept.
        package var maxEntries = 100_000
        /// How long an entry is kept.
        package var retain = Duration.seconds(30 * 86_400)
        package init() {}
    }

    package struct Shutdown: Sendable, Equatable {
        /// How long exchanges may go on after SIGTERM. Zero cuts them at once.
        package var drain = Duration.seconds(30)
        package init() {}
    }
}

extension Duration {
    /// Whole milliseconds: the finest unit that the configuration has.
    package var inMilliseconds: Int64 { components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000 }
}
