// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// `store` and `revocation`.
extension Settings {
    private enum StoreKind: String, CaseIterable { case redis, memory }

    mutating func readStore(_ root: Section) {
        root.section("store") { section in
            var kind = StoreKind.redis
            section.read("kind", into: &kind) { $0.word() }
            var redis = Redis()
            section.section("redis") { redis.read($0) }
            store = kind == .redis ? .redis(redis) : .memory
            if kind == .memory, logging.auditStream != nil {
                section.value.reader.report("logging.audit_stream", "needs a store of kind redis")
            }
        }
        root.section("revocation") { section in
            section.read("mode", into: &revocation.mode) { $0.word() }
            section.read("max_staleness", into: &revocation.maxStaleness) { $0.duration() }
            section.read("when_unavailable", into: &revocation.whenUnavailable) { $0.word() }
            section.read("grace", into: &revocation.grace) { $0.duration(orNothing: true) }
            if revocation.whenUnavailable == .allowRecent, revocation.grace.inMilliseconds == 0 {
                section.value.reader.warn(SettingPath.member("when_unavailable", of: section.path), "does nothing with a grace of nothing")
            }
        }
    }
}

extension Settings.Redis {
    fileprivate mutating func read(_ section: Section) {
        section.read("mode", into: &mode) { $0.word() }
        section.read("addresses", into: &addresses) { value in
            guard let elements = value.list() else { return nil }
            guard !elements.isEmpty else { return value.wrong("needs at least one address") }
            return elements.compactMap { $0.address() }
        }
        section.readOptional("sentinel_master", into: &sentinelMaster) { $0.line(limit: SettingLimit.nameBytes) }
        section.readOptional("username", into: &username) { $0.line(limit: SettingLimit.nameBytes) }
        section.readOptional("password", into: &password) { $0.secret() }
        section.read("database", into: &database) { $0.integer(SettingLimit.databases) }
        section.readOptional("tls", into: &tls) { $0.clientTLS() }
        section.read("key_prefix", into: &keyPrefix) { value in
            guard let prefix = value.text() else { return nil }
            guard prefix.utf8.count <= SettingLimit.nameBytes, prefix.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && !"{}*?[]\\".utf8.contains($0) })
            else {
                return value.wrong("must have at most \(SettingLimit.nameBytes) visible ASCII characters, none of { } [ ] * ? \\")
            }
            return prefix
        }
        section.read("connect_timeout", into: &connectTimeout) { $0.duration() }
        section.read("command_timeout", into: &commandTimeout) { $0.duration() }
        section.read("wait_replicas", into: &waitReplicas) { $0.integer(SettingLimit.replicas) }
        validate(section)
    }

    private func validate(_ section: Section) {
        let reader = section.value.reader
        func key(_ name: String) -> String { SettingPath.member(name, of: section.path) }
        if section.has("username"), !section.has("password") { reader.report(key("username"), "needs a password") }
        guard reader.isSound(key("mode")) else { return }
        switch mode {
        case .standalone:
            if addresses.count > 1 { reader.report(key("addresses"), "must have one address in the mode standalone") }
            if section.has("sentinel_master") { reader.report(key("sentinel_master"), "is for the mode sentinel alone") }
        case .sentinel:
            if !section.has("sentinel_master") { reader.report(key("sentinel_master"), "is missing: the mode sentinel needs it") }
        case .cluster:
            if database != 0 { reader.report(key("database"), "must be 0 in a cluster") }
            if section.has("sentinel_master") { reader.report(key("sentinel_master"), "is for the mode sentinel alone") }
        }
    }
}
