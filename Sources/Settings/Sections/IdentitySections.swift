// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// `identity_headers` and `token_sources`.
extension Settings {
    mutating func readIdentity(_ root: Section) {
        root.section("identity_headers") { identityHeaders.read($0, hasSigningKey: root.value.reader.has("sessions.signing_key")) }
        root.read("token_sources", into: &tokenSources, Self.tokenSources)
        let reader = root.value.reader
        guard reader.isSoundWithin("identity_headers"), reader.isSoundWithin("token_sources") else { return }
        let taken = Set(identityHeaders.names.map(FieldNameRules.alias))
        for (index, source) in tokenSources.enumerated() {
            if case .header(let name) = source, taken.contains(FieldNameRules.alias(name)) {
                reader.report("token_sources[\(index)].header", "is an identity header: those never come from clients")
            }
        }
    }

    private static func tokenSources(_ value: Value) -> [TokenSource]? {
        guard let elements = value.list() else { return nil }
        guard !elements.isEmpty else { return value.wrong("needs at least one source") }
        var sources: [TokenSource] = []
        var seen: Set<String> = []
        for element in elements {
            guard let source = tokenSource(element) else { continue }
            let mark: String
            switch source {
            case .authorization: mark = "authorization"
            case .cookie: mark = "cookie"
            case .query(let name): mark = "query \(name)"
            case .header(let name): mark = "header \(FieldNameRules.alias(name))"
            }
            if seen.insert(mark).inserted { sources.append(source) } else { let _: Int? = element.wrong("is in the list already") }
        }
        return sources
    }

    private static func tokenSource(_ value: Value) -> TokenSource? {
        switch value.node.content {
        case .sequence: return value.wrong("must be header, cookie, {query: NAME} or {header: NAME}")
        case .scalar:
            switch value.text() {
            case "header"?: return .authorization
            case "cookie"?: return .cookie
            case nil: return nil
            default: return value.wrong("must be header, cookie, {query: NAME} or {header: NAME}")
            }
        case .mapping:
            guard let section = Section(value) else { return nil }
            let query = section.take("query")
            let header = section.take("header")
            section.finish()
            switch (query, header) {
            case (let query?, nil):
                guard let name = query.line(limit: SettingLimit.nameBytes) else { return nil }
                let isPlain = name.utf8.allSatisfy { byte in
                    byte &- UInt8(ascii: "0") < 10 || (byte | 0x20) &- UInt8(ascii: "a") < 26 || "-._~".utf8.contains(byte)
                }
                return isPlain ? .query(name) : query.wrong("must have letters, digits and - . _ ~ alone")
            case (nil, let header?):
                guard let name = header.fieldName() else { return nil }
                return FieldNameRules.isTaken(name) ? header.wrong("is a field that has another meaning") : .header(name)
            default: return value.wrong("must be header, cookie, {query: NAME} or {header: NAME}")
            }
        }
    }
}

extension Settings.IdentityHeaders {
    /// All of them.
    var names: [String] { [user, session, issuer] + claims.map(\.field) + (assertion.map { [$0] } ?? []) }

    fileprivate mutating func read(_ section: Section, hasSigningKey: Bool) {
        section.read("user", into: &user, Self.field)
        section.read("session", into: &session, Self.field)
        section.read("issuer", into: &issuer, Self.field)
        var places = [("user", user), ("session", session), ("issuer", issuer)].map { (SettingPath.member($0, of: section.path), $1) }
        section.readOptional("assertion", into: &assertion, Self.field)
        if let assertion { places.append((SettingPath.member("assertion", of: section.path), assertion)) }
        if section.has("assertion"), !hasSigningKey {
            section.value.reader.report(SettingPath.member("assertion", of: section.path), "needs sessions.signing_key")
        }
        section.read("claims", into: &claims) { value in
            value.members()?.compactMap { member in
                let claim = Value(member.value, path: SettingPath.member(member.name, of: value.path), reader: value.reader)
                guard Self.check(member.name, claim, at: member.place), let name = claim.line() else { return nil }
                places.append((claim.path, member.name))
                return (member.name, name)
            }
        }
        var owners: Set<String> = []
        for (path, name) in places where !owners.insert(FieldNameRules.alias(name)).inserted {
            section.value.reader.report(path, "looks like another identity header when case and punctuation do not count")
        }
    }

    private static func field(_ value: Value) -> String? {
        guard let name = value.fieldName() else { return nil }
        return FieldNameRules.isReserved(name) ? value.wrong("is a field that has another meaning") : name
    }

    private static func check(_ name: String, _ value: Value, at place: Place) -> Bool {
        guard FieldNameRules.isToken(name), name.utf8.count <= SettingLimit.nameBytes else {
            value.reader.report(value.path, "must be a field name: letters, digits and -", at: place)
            return false
        }
        guard !FieldNameRules.isReserved(name) else {
            value.reader.report(value.path, "is a field that has another meaning", at: place)
            return false
        }
        return true
    }
}
