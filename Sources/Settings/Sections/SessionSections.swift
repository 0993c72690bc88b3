// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Tokens

/// `sessions`.
extension Settings.Sessions {
    mutating func read(_ section: Section, _ rules: ValueRules) {
        section.readOrNull("api_path", into: &apiPath) { Self.apiPath($0, rules) }
        section.read("issuer", into: &issuer) { $0.line() }
        section.read("audience", into: &audience) { value in
            guard let audience = value.lines() else { return nil }
            return audience.isEmpty ? value.wrong("needs at least one audience") : audience
        }
        section.readOptional("signing_key", into: &signingKey) { $0.signingKey() }
        section.read("previous_keys", into: &previousKeys) { $0.list()?.compactMap { $0.signingKey() } }
        section.read("access_token_lifetime", into: &accessTokenLifetime) { $0.duration() }
        section.read("refresh_token_lifetime", into: &refreshTokenLifetime) { $0.duration() }
        section.read("session_lifetime", into: &sessionLifetime) { $0.duration() }
        section.read("refresh_reuse_window", into: &refreshReuseWindow) { $0.duration(orNothing: true) }
        section.read("max_per_user", into: &maxPerUser) { $0.integer(SettingLimit.sessionsPerUser) }
        section.read("retain_revoked", into: &retainRevoked) { $0.duration(orNothing: true) }
        section.section("cookies") { cookies.read($0, apiPath: apiPath) }
        section.readOptional("login", into: &login) { Self.login($0, rules) }
        validate(section)
    }

    private static func apiPath(_ value: Value, _ rules: ValueRules) -> String? {
        guard let path = value.line() else { return nil }
        guard path.hasPrefix("/"), path == "/" || !path.hasSuffix("/") else { return value.wrong("must begin with a slash and not end with one") }
        guard rules.isNormalPath(path) else { return value.wrong("must be a path in its normal form") }
        return path
    }

    private static func login(_ value: Value, _ rules: ValueRules) -> Settings.Login? {
        guard let section = Section(value) else { return nil }
        let users = section.take("users_file")
        let url = section.take("verify_url")
        let authority = section.take("ca")
        section.finish()
        switch (users, url) {
        case (nil, nil): return value.wrong("needs users_file or verify_url")
        case (_?, _?): return value.wrong("must have one of users_file and verify_url")
        case (let users?, nil):
            if let authority { return authority.wrong("is for verify_url alone") }
            guard let bytes = users.secretFile() else { return nil }
            if let problem = rules.usersFileProblem(bytes) { return users.wrong("names a file in which \(problem)") }
            return .usersFile(bytes)
        case (nil, let url?):
            let authorities = authority.map { $0.certificates() } ?? []
            guard let url = url.url(), let authorities else { return nil }
            return .verify(url: url, authorities: authorities)
        }
    }

    private func validate(_ section: Section) {
        let reader = section.value.reader
        func key(_ name: String) -> String { SettingPath.member(name, of: section.path) }
        if section.has("login"), !section.has("signing_key") { reader.report(key("login"), "needs a signing_key: a login issues tokens") }
        if section.has("previous_keys"), !section.has("signing_key") {
            reader.report(key("previous_keys"), "needs a signing_key that comes after them")
        }
        guard reader.isSound(key("signing_key"), key("previous_keys")) else { return }
        var seen = Set(signingKey.map { [$0.keyID] } ?? [])
        for (index, previous) in previousKeys.enumerated() where !seen.insert(previous.keyID).inserted {
            reader.report(SettingPath.element(index, of: key("previous_keys")), "is the signing_key or in the list already")
        }
    }
}

extension Settings.Cookies {
    fileprivate mutating func read(_ section: Section, apiPath: String?) {
        section.read("enabled", into: &enabled) { $0.boolean() }
        section.read("access_name", into: &accessName, Self.name)
        section.read("refresh_name", into: &refreshName, Self.name)
        section.read("same_site", into: &sameSite) { $0.word() }
        section.read("secure", into: &secure) { $0.boolean() }
        guard enabled else { return }
        let reader = section.value.reader
        func key(_ name: String) -> String { SettingPath.member(name, of: section.path) }
        // Browsers drop cookies that break these rules (RFC 6265bis §4.1.3, §5.6).
        var insecure: [String] = []
        for (name, cookie) in [("access_name", accessName), ("refresh_name", refreshName)] where !secure {
            guard Self.has(cookie, prefix: "__host-") || Self.has(cookie, prefix: "__secure-") else { continue }
            // Of names that nobody has written, secure is the mistake, and one.
            let written = key(section.has(name) ? name : "secure")
            if !insecure.contains(written) { insecure.append(written) }
        }
        for key in insecure {
            reader.report(key, "browsers take cookies whose name begins with __Host- or __Secure- only if they are secure")
        }
        if Self.has(refreshName, prefix: "__host-"), apiPath != "/" {
            reader.report(key("refresh_name"), "cannot begin with __Host-: browsers want the path / for it, and this cookie's is sessions.api_path")
        }
        if accessName == refreshName {
            reader.report(key(section.has("refresh_name") ? "refresh_name" : "access_name"), "is the name of both cookies")
        }
        if sameSite == .none, !secure { reader.report(key("same_site"), "browsers take same_site none only with secure") }
    }

    private static func name(_ value: Value) -> String? {
        guard let name = value.line(limit: SettingLimit.cookieNameBytes) else { return nil }
        return FieldNameRules.isToken(name) ? name : value.wrong("must be a cookie's name: letters, digits, - and _")
    }

    private static func has(_ name: String, prefix: String) -> Bool { name.lowercased().hasPrefix(prefix) }
}
