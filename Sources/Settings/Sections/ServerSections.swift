// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// `listeners`, `trusted_proxies`, `admin`, `workers`, `limits`, `paths`, `logging`, `shutdown`.
extension Settings {
    mutating func readServer(_ root: Section, _ rules: ValueRules) {
        root.read("listeners", into: &listeners, Self.listeners)
        root.read("trusted_proxies", into: &trustedProxies) { value in
            value.list()?.compactMap { element in
                guard let range = element.line() else { return nil }
                return rules.isAddressRange(range) ? range : element.wrong("must be an IP address or a range such as 10.0.0.0/8")
            }
        }
        root.section("admin") { section in
            section.read("address", into: &admin.address) { $0.address() }
            section.readOptional("token", into: &admin.token) { value in
                guard let token = value.secret() else { return nil }
                guard token.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
                    return value.wrong("must have visible ASCII characters alone, as Authorization has to carry it")
                }
                return token
            }
        }
        root.read("workers", into: &workers) { value in
            value.isText("auto") ? .auto : value.integer(SettingLimit.workers).map { .count($0) }
        }
        root.section("limits") { limits.read($0) }
        root.section("paths") { section in
            section.read("duplicate_slashes", into: &paths.duplicateSlashes) { $0.word() }
            section.read("encoded_slashes", into: &paths.encodedSlashes) { $0.word() }
        }
        root.section("logging") { section in
            section.read("level", into: &logging.level) { $0.word() }
            section.read("access_log", into: &logging.accessLog) { $0.boolean() }
            section.readOrNull("audit_stream", into: &logging.auditStream, Self.auditStream)
        }
        root.section("shutdown") { section in
            section.read("drain", into: &shutdown.drain) { $0.duration(orNothing: true) }
        }
        refuseSharedAddresses(root.value.reader)
    }

    private static func auditStream(_ value: Value) -> AuditStream? {
        guard let section = Section(value) else { return nil }
        var stream = AuditStream()
        section.read("max_entries", into: &stream.maxEntries) { $0.integer(SettingLimit.auditEntries) }
        section.read("retain", into: &stream.retain) { $0.duration() }
        section.finish()
        return stream
    }

    private static func listeners(_ value: Value) -> [Listener]? {
        guard let elements = value.list() else { return nil }
        guard !elements.isEmpty else { return value.wrong("needs at least one listener") }
        return elements.compactMap { element in
            guard let section = Section(element) else { return nil }
            var listener = Listener()
            let address = section.require("address") { $0.address() }
            section.read("proxy_protocol", into: &listener.proxyProtocol) { $0.booleanNotYetTrue() }
            section.readOptional("tls", into: &listener.tls) { $0.serverTLS() }
            section.read("protocols", into: &listener.protocols, protocols)
            section.finish()
            guard let address else { return nil }
            listener.address = address
            return listener
        }
    }

    private static func protocols(_ value: Value) -> [Listener.ApplicationProtocol]? {
        guard let elements = value.list() else { return nil }
        guard !elements.isEmpty else { return value.wrong("needs at least one protocol") }
        var seen: Set<Listener.ApplicationProtocol> = []
        return elements.compactMap { element in
            guard let word = element.word(Listener.ApplicationProtocol.self) else { return nil }
            guard seen.insert(word).inserted else { return element.wrong("is in the list already") }
            return word == .http2 ? element.notYet("h2") : word
        }
    }

    /// Two sockets cannot have one address.
    private func refuseSharedAddresses(_ reader: SettingsReader) {
        guard reader.isSoundWithin("listeners") else { return }
        var owners: [Address: Int] = [:]
        for (index, listener) in listeners.enumerated() {
            if owners.updateValue(index, forKey: listener.address) != nil {
                reader.report("listeners[\(index)].address", "is the address of another listener")
            }
        }
        if reader.isSound("admin.address"), let index = owners[admin.address] {
            // The one that was written is the mistake.
            reader.report(
                reader.has("admin.address") ? "admin.address" : "listeners[\(index)].address", "is both the admin's and a listener's address")
        }
    }
}

extension Settings.Limits {
    fileprivate mutating func read(_ section: Section) {
        section.read("header_bytes", into: &headerBytes) { $0.size(SettingLimit.headBytes) }
        section.read("header_count", into: &headerCount) { $0.integer(SettingLimit.headerCount) }
        section.read("target_bytes", into: &targetBytes) { $0.size(SettingLimit.headBytes) }
        section.read("token_bytes", into: &tokenBytes) { $0.size(SettingLimit.headBytes) }
        section.read("body_bytes", into: &bodyBytes) { $0.size(SettingLimit.bodyBytes) }
        section.read("connections", into: &connections) { $0.integer(SettingLimit.connections) }
        section.read("head_timeout", into: &headTimeout) { $0.duration() }
        section.read("idle_timeout", into: &idleTimeout) { $0.duration() }
        section.read("stream_idle_timeout", into: &streamIdleTimeout) { $0.duration() }
    }
}

extension Value {
    /// For what the configuration has and this version does not.
    func notYet<Result>(_ what: String) -> Result? { wrong("\(what) is not supported yet") }

    func booleanNotYetTrue() -> Bool? {
        guard let value = boolean() else { return nil }
        return value ? notYet("true") : value
    }
}
