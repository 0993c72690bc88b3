// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Control
import Logging
import NIOCore
import PeerTLS
import RedisClient
import RedisSessions
import Sessions
import Settings
import Tokens
import WallTime

/// The store that a configuration asks for, not yet opened.
struct StorePlan: Sendable {
    private enum Kind: Sendable {
        case memory(EdgeDescription)
        case redis(RedisDeployment, RedisConfiguration, keyPrefix: String, waitReplicas: Int, FleetSettings)
    }

    private let kind: Kind
    /// `logging.audit_stream`; nil: off, as always with a memory store.
    let auditStream: AuditStream.Rules?

    /// Throws what NIOSSL finds wrong.
    init(_ settings: Settings) throws {
        auditStream = settings.logging.auditStream.map { AuditStream.Rules(maxEntries: $0.maxEntries, retain: $0.retain.inMilliseconds) }
        switch settings.store {
        case .memory: kind = .memory(FleetSettings(settings).edge)
        case .redis(let redis):
            let addresses = redis.addresses.map(RedisConfiguration.Address.init)
            let deployment: RedisDeployment =
                switch redis.mode {
                case .standalone: .standalone(addresses[0])
                case .sentinel: .sentinel(addresses, primary: redis.sentinelMaster ?? "")
                case .cluster: .cluster(addresses)
                }
            kind = .redis(
                deployment,
                RedisConfiguration(
                    address: addresses[0], username: redis.username, password: redis.password.map { String(decoding: $0, as: UTF8.self) },
                    database: redis.database, tls: try redis.tls.map { try PeerTLS($0.configuration, serverName: $0.serverName) },
                    connectTimeout: TimeAmount(redis.connectTimeout), commandTimeout: TimeAmount(redis.commandTimeout)),
                keyPrefix: redis.keyPrefix, waitReplicas: redis.waitReplicas, FleetSettings(settings))
        }
    }

    /// Returns at once; a store that cannot be reached yet is reached later.
    ///
    /// - Parameter eventLoop: of the connection that the control plane uses.
    func open(eventLoop: any EventLoop, logger: Logger) -> OpenStore {
        switch kind {
        case .memory(let edge): return OpenStore(memory: MemorySessionStore(edge: edge, now: { systemTime() }))
        case .redis(let deployment, let configuration, let keyPrefix, let waitReplicas, let fleet):
            let store = RedisSessionStore(
                deployment, configuration: configuration, keyPrefix: keyPrefix, waitReplicas: waitReplicas, fleet: fleet, eventLoop: eventLoop,
                logger: logger)
            store.start()
            let audit = AuditStream(
                topology: store.topology, configuration: configuration, keyPrefix: keyPrefix, eventLoop: eventLoop, logger: logger)
            audit.update(auditStream)
            return OpenStore(redis: store, audit: audit)
        }
    }
}

/// The store while the process lives.
struct OpenStore: Sendable {
    enum Eviction: Sendable, Equatable {
        case none
        case evicts(policy: String)
        /// The store has not been reached.
        case unknown
    }

    let sessions: any SessionStore
    /// Nil where the store cannot have one.
    let audit: AuditStream?
    private let redis: RedisSessionStore?

    fileprivate init(memory: MemorySessionStore) {
        sessions = memory
        audit = nil
        redis = nil
    }

    fileprivate init(redis: RedisSessionStore, audit: AuditStream) {
        sessions = redis
        self.audit = audit
        self.redis = redis
    }

    /// Whether the store may drop keys that nobody has deleted.
    func eviction() async -> Eviction {
        guard let redis else { return .none }
        do throws(StoreUnavailable) {
            return try await redis.evictionPolicy().map { .evicts(policy: $0) } ?? .none
        } catch {
            return .unknown
        }
    }

    /// A reload.
    func use(_ settings: Settings) { redis?.use(FleetSettings(settings)) }

    func close() async {
        await audit?.close()
        await redis?.close()
    }
}

extension AuditStream: AuditCopy {}

extension RedisConfiguration.Address {
    fileprivate init(_ address: Settings.Address) {
        switch address {
        case .inet(let host, let port): self = .host(host, port: port)
        case .unix(let path): self = .unix(path: path)
        }
    }
}

extension FleetSettings {
    init(_ settings: Settings) {
        self.init(
            edge: EdgeDescription(
                id: Base64URL.encode(Digest.randomBytes(16)), address: settings.listeners.first?.address.description ?? "", version: Version.text),
            staleness: TimeAmount(settings.revocation.maxStaleness), remembers: settings.revocation.mode == .tracked)
    }
}
