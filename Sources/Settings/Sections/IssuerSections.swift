// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Tokens

/// `issuers`.
extension Settings {
    mutating func readIssuers(_ root: Section) {
        root.read("issuers", into: &issuers) { value in value.list()?.compactMap { Issuer.read($0) } }
        let reader = root.value.reader
        guard reader.isSoundWithin("issuers"), reader.isSound("sessions.issuer") else { return }
        // An issuer in whose place others could be taken is never chosen by chance.
        for (index, issuer) in issuers.enumerated() {
            let before = issuers[..<index]
            func key(_ name: String) -> String { "issuers[\(index)].\(name)" }
            if issuer.issuer.isIdentical(to: sessions.issuer) { reader.report(key("issuer"), "is sessions.issuer, the gateway itself") }
            if before.contains(where: { $0.issuer.isIdentical(to: issuer.issuer) }) {
                reader.report(key("issuer"), "is the issuer of an entry before it")
            }
            if issuer.name.isIdentical(to: sessions.issuer) {
                reader.report(key("name"), "is sessions.issuer, by which routes name the gateway itself")
            }
            if before.contains(where: { $0.name.isIdentical(to: issuer.name) }) { reader.report(key("name"), "is the name of an entry before it") }
            guard issuer.backchannelLogout else { continue }
            if issuer.sessions == .unchecked {
                reader.report(key("backchannel_logout"), "cannot go with sessions: unchecked, as nobody is asked about sessions that have ended")
            }
            if sessions.apiPath == nil, reader.isSound("sessions.api_path") {
                reader.report(key("backchannel_logout"), "needs sessions.api_path, under which logout tokens are taken")
            }
        }
    }
}

extension Settings.Issuer {
    fileprivate static func read(_ value: Value) -> Settings.Issuer? {
        guard let section = Section(value) else { return nil }
        let name = section.require("name") { $0.name() }
        let issuer = section.require("issuer") { $0.line() }
        let algorithms = section.require("algorithms", Self.algorithms)
        let (audiences, anyAudience) = Self.audiences(section)
        let keys = Self.keys(section, algorithms)
        var namespace = name
        section.readOptional("namespace", into: &namespace) { $0.text() }
        if let namespace, !Self.isNamespace(namespace) {
            section.value.reader.report(
                SettingPath.member(section.has("namespace") ? "namespace" : "name", of: section.path),
                "cannot be a namespace: at most \(SettingLimit.nameBytes) bytes without / and control characters, no blank at an end")
        }
        var result = Settings.Issuer(
            name: name ?? "", issuer: issuer ?? "", audiences: audiences, anyAudience: anyAudience, algorithms: algorithms ?? [],
            keys: keys ?? .url("", refresh: .zero, authorities: []), namespace: namespace ?? "")
        section.read("user_claim", into: &result.userClaim) { $0.line() }
        section.read("session_claim", into: &result.sessionClaim) { $0.line() }
        section.read("sessions", into: &result.sessions) { $0.word() }
        section.read("leeway", into: &result.leeway) { $0.duration(orNothing: true) }
        section.read("backchannel_logout", into: &result.backchannelLogout) { $0.boolean() }
        section.finish()
        guard name != nil, issuer != nil, algorithms != nil, keys != nil else { return nil }
        return result
    }

    private static func algorithms(_ value: Value) -> Set<JOSEAlgorithm>? {
        guard let elements = value.list() else { return nil }
        guard !elements.isEmpty else { return value.wrong("needs at least one algorithm") }
        let algorithms = elements.compactMap { $0.word(JOSEAlgorithm.self) }
        return algorithms.count == elements.count ? Set(algorithms) : nil
    }

    private static func audiences(_ section: Section) -> ([String], Bool) {
        var any = false
        section.read("any_audience", into: &any) { $0.boolean() }
        guard let value = section.take("audiences") else {
            if !any { section.value.reader.report(SettingPath.member("audiences", of: section.path), "is missing", at: section.value.node.place) }
            return ([], any)
        }
        let audiences = value.lines()
        if let audiences, audiences.isEmpty, !any { let _: Int? = value.wrong("needs at least one audience, or any_audience: true") }
        if let audiences, !audiences.isEmpty, any { let _: Int? = value.wrong("cannot go with any_audience: true") }
        return (audiences ?? [], any)
    }

    /// Exactly one of `jwks`, `secret` and `public_key`.
    private static func keys(_ section: Section, _ algorithms: Set<JOSEAlgorithm>?) -> Keys? {
        let set = section.take("jwks")
        let secret = section.take("secret")
        let publicKey = section.take("public_key")
        let algorithmsPath = SettingPath.member("algorithms", of: section.path)
        let reader = section.value.reader
        switch (set, secret, publicKey) {
        case (nil, nil, nil): return section.value.wrong("needs keys: one of jwks, secret and public_key")
        case (let set?, nil, nil): return keySet(set, algorithms, algorithmsPath)
        case (nil, let secret?, nil):
            if let algorithms, !algorithms.allSatisfy(\.isSymmetric) { reader.report(algorithmsPath, "must be HS256, HS384 or HS512 with a secret") }
            guard let bytes = secret.secret() else { return nil }
            do throws(KeyProblem) { return .single(try KeySet(secret: bytes)) } catch { return secret.wrong("\(error)") }
        case (nil, nil, let publicKey?):
            if let algorithms, algorithms.contains(where: \.isSymmetric) {
                reader.report(algorithmsPath, "cannot be HS256, HS384 or HS512 with a public_key")
            }
            guard let pem = publicKey.fileInMapping() else { return nil }
            guard let algorithms, !algorithms.contains(where: \.isSymmetric) else { return nil }
            do throws(KeyProblem) { return .single(try KeySet(publicKeyPEM: pem, algorithms: algorithms)) } catch {
                return publicKey.wrong("names a file that \(error)")
            }
        default: return section.value.wrong("must have one of jwks, secret and public_key")
        }
    }

    private static func keySet(_ value: Value, _ algorithms: Set<JOSEAlgorithm>?, _ algorithmsPath: String) -> Keys? {
        guard let section = Section(value) else { return nil }
        let file = section.take("file")
        let url = section.take("url")
        var refresh = Duration.seconds(300)
        section.read("refresh", into: &refresh) { $0.duration() }
        let authority = section.take("ca")
        section.finish()
        switch (file, url) {
        case (let file?, nil):
            for key in ["refresh", "ca"] where section.has(key) {
                value.reader.report(SettingPath.member(key, of: section.path), "is for a url alone")
            }
            guard let bytes = file.file(), let algorithms else { return nil }
            do throws(KeyProblem) {
                let keys = try KeySet(jwks: bytes, algorithms: algorithms)
                for warning in keys.warnings { value.reader.warn(file.path, warning) }
                return .keySet(keys)
            } catch {
                return file.wrong("names a file in which no key can be used: \(error)")
            }
        case (nil, let url?):
            if let algorithms, algorithms.contains(where: \.isSymmetric) {
                value.reader.report(algorithmsPath, "cannot be HS256, HS384 or HS512 with a url: what is published is no secret")
            }
            let authorities = authority.map { $0.certificates() } ?? []
            guard let text = url.url(), let authorities else { return nil }
            return .url(text, refresh: refresh, authorities: authorities)
        default: return value.wrong("must have one of file and url")
        }
    }

    /// Empty: the gateway's own users.
    private static func isNamespace(_ text: String) -> Bool {
        text.isEmpty || IdentifierRules.isUser(text) && text.utf8.count <= SettingLimit.nameBytes && !text.utf8.contains(UInt8(ascii: "/"))
    }
}
