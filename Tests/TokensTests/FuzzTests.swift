// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import TestSupport
import Testing

@testable import Tokens

/// Feeds the parsers of hostile bytes with what never was: mutations of good texts, the same ones in every run.
///
/// `PORTCULLIS_FUZZ_SECONDS` makes each test run so long, from another seed (`PORTCULLIS_FUZZ_SEED`) if that is wanted; what it finds is
/// added to `FuzzFindings`, which are replayed by every run.
@Suite("Fuzzing", .serialized)
struct FuzzTests {
    private func repeated(_ rounds: Int, _ body: (inout SeededGenerator) -> Void) {
        SeededGenerator.run(rounds: rounds) { random in
            body(&random)
            return true
        }
    }

    @Test("Whatever our JSON scanner takes, Foundation's takes, and it means the same when it is written again")
    func json() {
        for text in FuzzFindings.json { checkJSON(text) }
        repeated(20_000) { random in
            var text = FuzzFindings.json.randomElement(using: &random) ?? []
            random.mutate(&text, dictionary: FuzzFindings.jsonWords)
            checkJSON(text)
        }
    }

    private func checkJSON(_ text: [UInt8]) {
        checkClaims(text)
        guard let value = try? JSONValue(parsing: text) else { return }
        var writer = JSONWriter()
        writer.value(value)
        let again = try? JSONValue(parsing: writer.bytes)
        #expect(again == value, "\(text)")
        // Numbers that no Double can hold are JSON for us, as we keep their spelling.
        guard hasFiniteNumbers(value) else { return }
        guard let theirs = try? JSONSerialization.jsonObject(with: Data(text), options: .fragmentsAllowed) else {
            Issue.record("only we take \(text)")
            return
        }
        #expect(isSame(value, theirs), "\(text)")
    }

    /// Claims are read without making values of them: what is taken, what is refused and where, and what is then found are the same.
    private func checkClaims(_ text: [UInt8]) {
        let object = Result { () throws(JSONProblem) in try JSONObject(parsing: text) }
        let claims = Result { () throws(JSONProblem) in try Claims(parsing: text) }
        switch (object, claims) {
        case (.failure(let expected), .failure(let problem)):
            #expect(problem == expected, "\(text)")
        case (.success(let object), .success(let claims)):
            for member in object.members { #expect(claims[member.name] == member.value && claims.agree(with: member), "\(text)") }
            #expect(claims["no such claim"] == object["no such claim"])
        case (.success, .failure), (.failure, .success):
            Issue.record("taken by one of them: \(text)")
        }
    }

    private func hasFiniteNumbers(_ value: JSONValue) -> Bool {
        switch value {
        case .number(let number): number.value != nil
        case .array(let elements): elements.allSatisfy(hasFiniteNumbers)
        case .object(let object): object.members.allSatisfy { hasFiniteNumbers($0.value) }
        case .null, .boolean, .string: true
        }
    }

    /// Numbers are compared by their presence alone, as Foundation rounds long ones in its own way.
    private func isSame(_ ours: JSONValue, _ theirs: Any) -> Bool {
        switch ours {
        case .null: return theirs is NSNull
        case .boolean(let flag): return (theirs as? NSNumber)?.boolValue == flag
        case .number: return theirs is NSNumber
        case .string(let text): return (theirs as? String).map { withoutMarks($0).isIdentical(to: withoutMarks(text)) } ?? false
        case .array(let elements):
            guard let theirs = theirs as? [Any], theirs.count == elements.count else { return false }
            return zip(elements, theirs).allSatisfy { isSame($0, $1) }
        case .object(let object):
            guard let theirs = theirs as? [String: Any] else { return false }
            // Names that are canonically equivalent are one key of a Dictionary.
            return object.members.allSatisfy { theirs.keys.contains($0.name) || $0.name.unicodeScalars.contains("\u{FEFF}") }
        }
    }

    /// Foundation loses U+FEFF at the beginning of a string.
    private func withoutMarks(_ text: String) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.filter { $0 != "\u{FEFF}" }))
    }

    @Test("No mutation of a token is accepted but the token itself")
    func tokens() throws {
        let issuers = try [JOSEAlgorithm.hs256, .es256, .eddsa, .rs256].map { try TestIssuer($0) }
        let good = try issuers.map { try $0.token() }
        let keys = try KeySet(jwks: TestIssuer.keySet(issuers[0].jwk, issuers[1].jwk, issuers[2].jwk, issuers[3].jwk))
        let verifier = try issuers[0].verifier {
            $0.keys = keys
            $0.algorithms = Set(JOSEAlgorithm.allCases)
        }
        for token in good { #expect(verifier.refusal(token) == nil) }
        for token in FuzzFindings.tokens { #expect(verifier.refusal(token) != nil) }
        repeated(5_000) { random in
            var token = good.randomElement(using: &random) ?? []
            if Bool.random(using: &random), let other = good.randomElement(using: &random) { random.graft(&token, other) }
            random.mutate(&token, dictionary: FuzzFindings.tokenWords)
            #expect(verifier.refusal(token) != nil || good.contains(token), "\(String(decoding: token, as: UTF8.self))")
        }
    }

    @Test("Mutated headers and claims, well signed, are judged without a crash, and what passes is sane")
    func signedTokens() throws {
        let issuer = try TestIssuer(.hs256)
        let verifier = try issuer.verifier()
        repeated(10_000) { random in
            var header = Array(#"{"alg":"HS256","typ":"JWT","kid":"key"}"#.utf8)
            var claims = Array(TestIssuer.claims(["nbf": "1799999990.5", "roles": #"["a","b"]"#]).utf8)
            if Bool.random(using: &random) { random.mutate(&header, dictionary: FuzzFindings.jsonWords) }
            random.mutate(&claims, dictionary: FuzzFindings.jsonWords)
            guard let token = try? verifier.verify(issuer.token(header: header, claims: claims), now: TestIssuer.now) else { return }
            #expect(IdentifierRules.isUser(token.user) && TestIssuer.now < token.acceptUntil && token.expiresAt.isFinite)
            #expect(token.claims["iss"]?.string == "https://idp.test" && token.claims["aud"]?.holds("api") == true)
        }
    }

    @Test("Mutated logout tokens, well signed, are judged without a crash; what passes is sane, and no access token")
    func logoutTokens() throws {
        let issuer = try TestIssuer(.hs256)
        let verifier = try issuer.verifier { $0.sendsLogoutTokens = true }
        repeated(10_000) { random in
            var header = Array(#"{"alg":"HS256","typ":"logout+jwt","kid":"key"}"#.utf8)
            var claims = Array(TestIssuer.logoutClaims(["nbf": "1799999990.5", "aud": #"["api","x"]"#]).utf8)
            if Bool.random(using: &random) { random.mutate(&header, dictionary: FuzzFindings.jsonWords) }
            random.mutate(&claims, dictionary: FuzzFindings.jsonWords + FuzzFindings.logoutWords)
            guard let bytes = try? issuer.token(header: header, claims: claims), let token = try? verifier.logoutToken(bytes) else { return }
            #expect(verifier.refusal(bytes) == .claims)
            #expect(IdentifierRules.isUser(token.user) && token.session.map(IdentifierRules.isSession) ?? true)
            #expect(IdentifierRules.isSession(token.tokenID))
            #expect(token.acceptUntil > TestIssuer.now && token.acceptUntil <= TestIssuer.now + LogoutToken.ageLimit)
            #expect(token.issuedAtSecond <= Int64(TestIssuer.now))
            let members = (try? JSONObject(parsing: claims)) ?? JSONObject()
            #expect(members["nonce"] == nil && members["sub"]?.string == token.user && members["sid"]?.string == token.session)
        }
    }

    @Test("Mutated key sets and key files are taken or refused without a crash")
    func keys() throws {
        let jwks = try TestIssuer.keySet(TestIssuer(.es256).jwk, TestIssuer(.eddsa).jwk, TestIssuer(.rs256).jwk, TestIssuer(.hs256).jwk)
        let files = [KeyFiles.publicKey, KeyFiles.pkcs1PublicKey, KeyFiles.sec1, KeyFiles.x25519, KeyFiles.mixedHalves, KeyFiles.explicitCurve].map {
            Array($0.utf8)
        }
        repeated(1_000) { random in
            var text = jwks
            random.mutate(&text, dictionary: FuzzFindings.jsonWords)
            _ = try? KeySet(jwks: text)
            var file = files.randomElement(using: &random) ?? []
            random.mutate(&file, dictionary: [])
            _ = try? KeySet(publicKeyPEM: file)
            _ = try? SigningKey(pkcs8PEM: file)
        }
    }

    @Test("Base64url takes exactly what it would write")
    func base64() {
        repeated(50_000) { random in
            let size = Int.random(in: 0..<24, using: &random)
            let text = (0..<size).map { _ in FuzzFindings.base64Letters.randomElement(using: &random) ?? 0 }
            if let bytes = Base64URL.decode(text) { #expect(Base64URL.encodeToBytes(bytes) == text) }
        }
    }
}

extension Claims {
    /// Whether what the checks of a token ask about this claim is answered as its value would.
    fileprivate func agree(with member: JSONMember) -> Bool {
        guard let place = find(ClaimName(member.name)) else { return false }
        let value = member.value
        let texts = value.array.map { $0.map(\.string) } ?? [value.string]
        let wanted = texts.last.flatMap(\.self) ?? "x"
        let holds = texts.allSatisfy { $0 != nil } && texts.contains { $0?.isIdentical(to: wanted) ?? false }
        return string(place).map { Array($0.utf8) } == value.string.map { Array($0.utf8) } && number(place) == value.number?.value
            && isOrHas(place, oneOf: [[0], Array(wanted.utf8)]) == holds && !isOrHas(place, oneOf: [])
    }
}
