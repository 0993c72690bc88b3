// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// `upstreams`.
extension Settings {
    /// - Returns: the names of all entries, also of those that have mistakes.
    mutating func readUpstreams(_ root: Section) -> Set<String> {
        var names: Set<String> = []
        root.read("upstreams", into: &upstreams) { value in
            value.members()?.compactMap { member in
                names.insert(member.name)
                let entry = Value(member.value, path: SettingPath.member(member.name, of: value.path), reader: value.reader)
                guard FieldNameRules.isToken(member.name), member.name.utf8.count <= SettingLimit.nameBytes else {
                    value.reader.report(
                        entry.path, "must have a name of letters, digits, - _ and dots, at most \(SettingLimit.nameBytes)", at: member.place)
                    return nil
                }
                return Upstream.read(entry, name: member.name)
            }
        }
        return names
    }
}

extension Settings.Upstream {
    fileprivate static func read(_ value: Value, name: String) -> Settings.Upstream? {
        guard let section = Section(value) else { return nil }
        let endpoints = section.require("endpoints", Self.endpoints)
        var upstream = Settings.Upstream(name: name, endpoints: endpoints ?? [])
        section.read("balance", into: &upstream.balance) { value in
            guard let balance = value.word(Balance.self) else { return nil }
            return balance == .roundRobin ? balance : value.notYet(balance.rawValue)
        }
        section.read("connect_timeout", into: &upstream.connectTimeout) { $0.duration() }
        section.read("response_timeout", into: &upstream.responseTimeout) { $0.duration() }
        section.read("idle_timeout", into: &upstream.idleTimeout) { $0.duration() }
        section.read("max_connections", into: &upstream.maxConnections) { $0.integer(SettingLimit.connectionsPerEndpoint) }
        section.read("retries", into: &upstream.retries) { $0.integer(SettingLimit.retries) }
        section.readOptional("health_check", into: &upstream.healthCheck, Self.healthCheck)
        section.readOptional("tls", into: &upstream.tls) { $0.clientTLS() }
        section.finish()
        return upstream
    }

    private static func endpoints(_ value: Value) -> [Settings.Address]? {
        guard let elements = value.list() else { return nil }
        guard !elements.isEmpty else { return value.wrong("needs at least one endpoint") }
        var endpoints: [Settings.Address] = []
        for element in elements {
            guard let address = element.address() else { continue }
            if endpoints.contains(address) { let _: Int? = element.wrong("is in the list already") } else { endpoints.append(address) }
        }
        return endpoints
    }

    private static func healthCheck(_ value: Value) -> Settings.HealthCheck? {
        guard let section = Section(value) else { return nil }
        let path = section.require("path") { value -> String? in
            guard let path = value.line() else { return nil }
            let isPath = path.hasPrefix("/") && path.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "#") }
            return isPath ? path : value.wrong("must be a path, and perhaps a query")
        }
        var check = Settings.HealthCheck(path: path ?? "/")
        section.read("interval", into: &check.interval) { $0.duration() }
        section.read("timeout", into: &check.timeout) { $0.duration() }
        section.read("unhealthy_after", into: &check.unhealthyAfter) { $0.integer(SettingLimit.healthCheckResults) }
        section.read("healthy_after", into: &check.healthyAfter) { $0.integer(SettingLimit.healthCheckResults) }
        section.finish()
        return value.notYet("a health_check")
    }
}
