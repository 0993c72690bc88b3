// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import TestSupport
import Testing
import Tokens

@testable import Settings

@Suite("Issuers and their keys")
struct IssuerTests {
    private static let secret = "0123456789abcdef0123456789abcdef"
    private let folder: ConfigurationFolder

    init() throws {
        folder = try ConfigurationFolder()
        let key = try SigningKey.generate(.es256)
        try folder.write("private.pem", key.pem)
        try folder.write("set.json", SigningKey.publicKeySet([key.key]))
        try folder.write("oct.json", #"{"keys":[{"kty":"oct","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}]}"#)
        try folder.write("weak.json", #"{"keys":[{"kty":"oct","k":"MDEyMzQ1"}]}"#)
        try folder.write("empty.json", #"{"keys":[]}"#)
        try folder.write("text.json", "keys")
        try folder.write("short", "0123456789abcdef0123456789abcde\n")
        try folder.write("long", "0123456789abcdef0123456789abcdef\n")
        try openssl(["pkey", "-in", "\(folder.path)/private.pem", "-pubout", "-out", "\(folder.path)/public.pem"])
    }

    private static func issuer(_ algorithms: String, _ keys: String) -> String {
        "issuers: [{name: idp, issuer: \"https://i\", audiences: [a], algorithms: \(algorithms), \(keys)}]"
    }

    @Test(
        "Keys are a set from a file or a URL, a secret, or one public key",
        arguments: [
            issuer("[ES256]", "jwks: {file: set.json}"), issuer("[HS256, HS512]", "jwks: {file: oct.json}"),
            issuer("[RS256, PS384, EdDSA]", "jwks: {url: \"https://a/\", refresh: 1s}"), issuer("[HS256]", "secret: \(secret)"),
            issuer("[HS384]", "secret: {file: long}"), issuer("[HS256]", "secret: {env: SECRET}"),
            issuer("[ES256]", "public_key: {file: public.pem}"),
        ])
    func keys(_ text: String) throws {
        let settings = try folder.read(text, environment: ["SECRET": Self.secret]).settings
        let issuer = try #require(settings.issuers.first)
        switch issuer.keys {
        case .keySet(let keys): #expect(text.contains("file: ") && keys.keys.count == 1)
        case .single(let keys): #expect(!text.contains("jwks") && keys.keys.count == 1)
        case .url(let url, let refresh, let authorities): #expect(url == "https://a/" && refresh == .seconds(1) && authorities.isEmpty)
        }
    }

    @Test(
        "Keys that cannot be used, or not with these algorithms, are a mistake",
        arguments: [
            Mistake(issuer("[HS256]", "secret: ▸short"), "issuers[0].secret: has 5 bytes, a secret needs at least 32"),
            Mistake(issuer("[HS256]", "secret: ▸{file: short}"), "issuers[0].secret: has 31 bytes, a secret needs at least 32"),
            Mistake(issuer("▸[ES256, HS256]", "secret: \(secret)"), "issuers[0].algorithms: must be HS256, HS384 or HS512 with a secret"),
            Mistake(
                issuer("▸[HS256]", "jwks: {url: \"https://a/\"}"),
                "issuers[0].algorithms: cannot be HS256, HS384 or HS512 with a url: what is published is no secret"),
            Mistake(
                issuer("▸[ES256, HS512]", "public_key: {file: public.pem}"),
                "issuers[0].algorithms: cannot be HS256, HS384 or HS512 with a public_key"),
            Mistake(
                issuer("[ES256]", "jwks: {file: ▸text.json}"), "issuers[0].jwks.file: names a file in which no key can be used: is no JSON"),
            Mistake(
                issuer("[ES256]", "jwks: {file: ▸empty.json}"), "issuers[0].jwks.file: names a file in which no key can be used: has no key"),
            Mistake(
                issuer("[HS256]", "jwks: {file: ▸weak.json}"),
                "issuers[0].jwks.file: names a file in which no key can be used: has 1 key, none of which can be used"),
            Mistake(
                issuer("[RS256]", "jwks: {file: ▸set.json}"),
                "issuers[0].jwks.file: names a file in which no key can be used: has 1 key, none of which can be used"),
            Mistake(
                issuer("[ES256]", "jwks: {file: ▸oct.json}"),
                "issuers[0].jwks.file: names a file in which no key can be used: has 1 key, none of which can be used"),
            Mistake(issuer("[ES256]", "jwks: {file: ▸absent}"), "issuers[0].jwks.file: names a file that does not exist"),
            Mistake(
                issuer("[ES256]", "public_key: ▸{file: private.pem}"),
                "issuers[0].public_key: names a file that is a private key, a public key is needed"),
            Mistake(issuer("[ES256]", "public_key: {file: ▸absent}"), "issuers[0].public_key.file: names a file that does not exist"),
            Mistake(issuer("[ES256]", "public_key: ▸public.pem"), "issuers[0].public_key: must be a mapping, not text"),
            Mistake(issuer("[ES256]", "public_key: {▸env: A, file: public.pem}"), "issuers[0].public_key.env: is no key here; there are file"),
            Mistake(issuer("[ES256]", "jwks: ▸{}"), "issuers[0].jwks: must have one of file and url"),
            Mistake(issuer("[ES256]", "jwks: ▸{file: set.json, url: \"https://a/\"}"), "issuers[0].jwks: must have one of file and url"),
            Mistake(
                issuer("[ES256]", "jwks: {file: set.json, refresh: ▸5m, ca: ▸x}"), "issuers[0].jwks.refresh: is for a url alone",
                "issuers[0].jwks.ca: is for a url alone"),
            Mistake(issuer("[ES256]", "jwks: {url: \"https://a/\", ca: ▸set.json}"), "issuers[0].jwks.ca: names a file without a certificate in PEM"),
            Mistake(
                "issuers: [▸{name: n, issuer: i, audiences: [a], algorithms: [HS256], secret: \(secret), jwks: {file: oct.json}}]",
                "issuers[0]: must have one of jwks, secret and public_key"),
            Mistake(
                "issuers: [▸{name: n, issuer: i, audiences: [a], algorithms: [HS256]}]",
                "issuers[0]: needs keys: one of jwks, secret and public_key"),
        ])
    func unusable(_ mistake: Mistake) throws { try mistake.check(in: folder) }

    @Test(
        "Algorithms are those of the list, and at least one",
        arguments: [
            Mistake(issuer("▸[]", "secret: \(secret)"), "issuers[0].algorithms: needs at least one algorithm"),
            Mistake(issuer("▸HS256", "secret: \(secret)"), "issuers[0].algorithms: must be a list, not text"),
            Mistake(issuer("[▸none]", "secret: \(secret)"), "issuers[0].algorithms[0]: \(oneOfAll)"),
            Mistake(
                issuer("[HS256, ▸hs256, ▸ES256K]", "secret: \(secret)"), "issuers[0].algorithms[1]: \(oneOfAll)",
                "issuers[0].algorithms[2]: \(oneOfAll)"),
        ])
    func algorithms(_ mistake: Mistake) throws { try mistake.check() }

    private static let oneOfAll =
        "must be HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 or EdDSA"

    @Test("Audiences may be left out, or empty, with any_audience: true alone")
    func audiences() throws {
        func entry(_ members: String) -> String { "issuers: [▸{name: n, issuer: i, algorithms: [HS256], secret: \(Self.secret)\(members)}]" }
        func marked(_ members: String) -> String { entry(members).replacing("[▸{", with: "[{") }
        for members in [", any_audience: true", ", any_audience: true, audiences: []"] {
            let issuer = try #require(try folder.read(marked(members)).settings.issuers.first)
            #expect(issuer.anyAudience && issuer.audiences.isEmpty)
        }
        for mistake in [
            Mistake(entry(""), "issuers[0].audiences: is missing"), Mistake(entry(", any_audience: false"), "issuers[0].audiences: is missing"),
            Mistake(marked(", audiences: ▸[]"), "issuers[0].audiences: needs at least one audience, or any_audience: true"),
            Mistake(marked(", audiences: ▸[a], any_audience: true"), "issuers[0].audiences: cannot go with any_audience: true"),
            Mistake(marked(", audiences: ▸a"), "issuers[0].audiences: must be a list, not text"),
        ] {
            try mistake.check(in: folder)
        }
    }

    @Test(
        "No issuer can be taken for another, or for the gateway",
        arguments: [
            Mistake("issuers: [{name: n, issuer: ▸portcullis, \(rest)}]", "issuers[0].issuer: is sessions.issuer, the gateway itself"),
            Mistake(
                "sessions: {issuer: own}\nissuers: [{name: n, issuer: ▸own, \(rest)}]", "issuers[0].issuer: is sessions.issuer, the gateway itself"),
            Mistake(
                "issuers: [{name: ▸portcullis, issuer: i, \(rest)}]", "issuers[0].name: is sessions.issuer, by which routes name the gateway itself"),
            Mistake(
                "issuers: [{name: a, issuer: i, \(rest)}, {name: b, issuer: ▸i, \(rest)}]", "issuers[1].issuer: is the issuer of an entry before it"),
            Mistake("issuers: [{name: a, issuer: i, \(rest)}, {name: ▸a, issuer: j, \(rest)}]", "issuers[1].name: is the name of an entry before it"),
            Mistake("issuers: [{name: ▸a/b, issuer: i, \(rest)}]", "issuers[0].name: \(noNamespace)"),
            Mistake("issuers: [{name: a, issuer: i, namespace: ▸a/b, \(rest)}]", "issuers[0].namespace: \(noNamespace)"),
            Mistake("issuers: [{name: a, issuer: i, namespace: ▸\" a\", \(rest)}]", "issuers[0].namespace: \(noNamespace)"),
            Mistake("issuers: [{name: a, issuer: i, namespace: ▸\"a\\u0001\", \(rest)}]", "issuers[0].namespace: \(noNamespace)"),
        ])
    func distinct(_ mistake: Mistake) throws { try mistake.check() }

    private static let rest = "audiences: [a], algorithms: [HS256], secret: \(secret)"
    private static let noNamespace = "cannot be a namespace: at most 128 bytes without / and control characters, no blank at an end"

    @Test("Issuers that differ in their bytes alone are two, and an empty namespace is the gateway's own")
    func alike() throws {
        let issuers = try folder.read(
            "issuers: [{name: a, issuer: \"\\u00e9\", namespace: \"\", \(Self.rest)}, {name: b, issuer: \"e\\u0301\", \(Self.rest)}]"
        ).settings.issuers
        #expect(issuers.map(\.namespace) == ["", "b"])
    }

    @Test("Single keys of a file that cannot be used are left out with a warning, in the order of the file")
    func warnings() throws {
        let good = #"{"kty":"oct","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}"#
        try folder.write("mixed.json", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"MDEy\"},\(good),{\"kty\":\"new\"},5]}")
        let text = Self.issuer("[HS256]", "jwks: {file: mixed.json}")
        let column = (text.components(separatedBy: "mixed").first?.count ?? 0) + 1
        let reading = try folder.read(text)
        guard case .keySet(let keys)? = try reading.settings.issuers.first?.keys else { return }
        #expect(keys.keys.count == 1)
        #expect(
            reading.warnings.map { $0.prefix(27) } == ["issuers[0].jwks.file: key 1", "issuers[0].jwks.file: key 3", "issuers[0].jwks.file: key 4"])
        #expect(reading.loaded?.warnings.allSatisfy { $0.line == 1 && $0.column == column } == true)
    }
}
