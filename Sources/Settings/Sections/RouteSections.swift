// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// What routes can name.
struct RouteContext {
    let upstreams: Set<String>
    /// Nil where they have mistakes themselves, so that nobody can tell.
    let issuers: [String]?
    let isPath: (String) -> Bool
}

/// `routes`.
extension Settings {
    mutating func readRoutes(_ root: Section, _ context: RouteContext) {
        root.read("routes", into: &routes) { value in value.list()?.compactMap { Route.read($0, context) } }
        warnOfUnreachableRoutes(root.value.reader)
    }

    /// The first route that matches counts: one behind another that takes all of it is a mistake, if one that harms nobody.
    private func warnOfUnreachableRoutes(_ reader: SettingsReader) {
        // Where one has been left out, the others' places are not known.
        guard reader.isSoundWithin("routes"), reader.isSound("sessions.api_path") else { return }
        let api = sessions.apiPath.map { Route(path: $0, upstream: "") }
        for (index, route) in routes.enumerated() {
            let path = SettingPath.member("path", of: SettingPath.element(index, of: "routes"))
            if let api, api.covers(route) {
                reader.warn(path, "is never reached: the session API, sessions.api_path, comes before all routes")
            } else if let other = routes[..<index].firstIndex(where: { $0.covers(route) }) {
                reader.warn(path, "is never reached: \(SettingPath.element(other, of: "routes")) takes all of it")
            }
        }
    }
}

extension Settings.Route {
    fileprivate static func read(_ value: Value, _ context: RouteContext) -> Settings.Route? {
        guard let section = Section(value) else { return nil }
        let path = section.require("path") { value -> String? in
            guard let path = value.line() else { return nil }
            guard path.hasPrefix("/") else { return value.wrong("must begin with a slash") }
            return context.isPath(path) ? path : value.wrong("is a path that no request can have: see paths")
        }
        let upstream = section.require("upstream") { value -> String? in
            guard let name = value.line() else { return nil }
            return context.upstreams.contains(name) ? name : value.wrong("is none of upstreams")
        }
        var route = Settings.Route(path: path ?? "/", upstream: upstream ?? "")
        section.read("exact", into: &route.exact) { $0.boolean() }
        section.read("hosts", into: &route.hosts) { $0.list()?.compactMap { $0.hostPattern() } }
        section.read("methods", into: &route.methods) { $0.list()?.compactMap { $0.method() } }
        section.read("auth", into: &route.auth) { $0.word() }
        section.read("issuers", into: &route.issuers) { value in
            value.list()?.compactMap { element in
                guard let name = element.line() else { return nil }
                guard let known = context.issuers, !known.contains(where: { $0.isIdentical(to: name) }) else { return name }
                return element.wrong("is the name of none of issuers, nor sessions.issuer")
            }
        }
        section.read("scopes", into: &route.scopes, Self.scopes)
        section.read("claims", into: &route.claims, Self.claims)
        section.read("forward_token", into: &route.forwardToken) { $0.boolean() }
        section.read("strip_prefix", into: &route.stripPrefix) { $0.boolean() }
        section.readOrNull("login_redirect", into: &route.loginRedirect, Self.redirect)
        section.readOrNull("when_unavailable", into: &route.whenUnavailable) { $0.word() }
        section.readOrNull("rate_limit", into: &route.rateLimit, Self.rateLimit)
        section.finish()
        route.validate(section)
        return path == nil || upstream == nil ? nil : route
    }

    private func validate(_ section: Section) {
        let reader = section.value.reader
        func key(_ name: String) -> String { SettingPath.member(name, of: section.path) }
        guard auth == .none else { return }
        for (name, isSet) in [
            ("issuers", !issuers.isEmpty), ("scopes", !scopes.isEmpty), ("claims", !claims.isEmpty), ("login_redirect", loginRedirect != nil),
        ] where isSet {
            reader.report(key(name), "needs authentication, and this route has auth: none")
        }
        if let rateLimit, rateLimit.by != .address { reader.report(key("rate_limit"), "can only be by address with auth: none") }
    }

    /// Whether this route, where it comes first, leaves `other` nothing. Hosts are compared as they are written, patterns included.
    fileprivate func covers(_ other: Settings.Route) -> Bool {
        let hosts = Set(hosts.map { $0.lowercased() })
        let isOfItsHosts = hosts.isEmpty || !other.hosts.isEmpty && hosts.isSuperset(of: other.hosts.map { $0.lowercased() })
        let isOfItsMethods = methods.isEmpty || !other.methods.isEmpty && Set(methods).isSuperset(of: other.methods)
        return isOfItsHosts && isOfItsMethods && coversPath(of: other)
    }

    private func coversPath(of other: Settings.Route) -> Bool {
        if exact { return other.exact && path.isIdentical(to: other.path) }
        func withoutEnd(_ path: String) -> [UInt8] { Array(path.utf8.reversed().drop { $0 == UInt8(ascii: "/") }.reversed()) }
        let (own, others) = (withoutEnd(path), other.exact ? Array(other.path.utf8) : withoutEnd(other.path))
        return others == own || others.starts(with: own + [UInt8(ascii: "/")])
    }

    private static func scopes(_ value: Value) -> [String]? {
        value.list()?.compactMap { element in
            guard let scope = element.line() else { return nil }
            return scope.utf8.contains(UInt8(ascii: " ")) ? element.wrong("must be one scope, without blanks") : scope
        }
    }

    private static func claims(_ value: Value) -> [(claim: String, values: [String])]? {
        value.members()?.compactMap { member in
            let claim = Value(member.value, path: SettingPath.member(member.name, of: value.path), reader: value.reader)
            guard let elements = claim.list() else { return nil }
            guard !elements.isEmpty else { return claim.wrong("needs at least one value") }
            return (member.name, elements.compactMap { $0.spelling() })
        }
    }

    /// A path of this host, or a URL.
    private static func redirect(_ value: Value) -> String? {
        guard let text = value.line() else { return nil }
        guard text.hasPrefix("/") else { return value.url() }
        let isPath = !text.hasPrefix("//") && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\\") }
        return isPath ? text : value.wrong("must be a path or an http or https URL")
    }

    private static func rateLimit(_ value: Value) -> Settings.RateLimit? {
        guard let section = Section(value) else { return nil }
        let requests = section.require("requests") { $0.integer(SettingLimit.rateLimitRequests) }
        let per = section.require("per") { $0.duration() }
        let by = section.require("by") { $0.word(Settings.RateLimit.Key.self) }
        section.finish()
        guard let requests, let per, let by else { return nil }
        return Settings.RateLimit(requests: requests, per: per, by: by)
    }
}
