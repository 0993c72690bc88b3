// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import Tokens

@Suite("Malformed tokens")
struct MalformedTests {
    let issuer: TestIssuer
    let verifier: TokenVerifier

    init() throws {
        issuer = try TestIssuer(.hs256)
        verifier = try issuer.verifier()
    }

    @Test("Anything but three parts of canonical base64url is malformed")
    func parts() throws {
        let good = String(decoding: try issuer.token(), as: UTF8.self)
        let parts = good.split(separator: ".").map(String.init)
        let (header, claims, signature) = (parts[0], parts[1], parts[2])
        for text in [
            "", ".", "..", "...", header, "\(header).\(claims)", "\(good).", "\(good).x", "\(good).x.y", ".\(claims).\(signature)",
            "\(header)..\(signature)",
            "\(header)=.\(claims).\(signature)", "\(good)=", "\(good)==", "\(header).\(claims)+/.\(signature)", "\(header).\(claims)*.\(signature)",
            "\(header).\(claims).A",
            " \(good)", "\(good) ", "\(good)\n", "a.b.c", "\(header).\(claims).\(signature)\u{0}", "é.é.é",
        ] {
            #expect(verifier.refusal(Array(text.utf8)) == .malformed)
        }
        #expect(verifier.refusal(Array("\(header).\(claims).".utf8)) == .signature)
    }

    @Test("Other spellings of the last letter of a part are malformed")
    func canonical() throws {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
        let good = try issuer.token()
        let last = try #require(good.last)
        for letter in alphabet where letter != last {
            let refusal = verifier.refusal(good.dropLast() + [letter])
            #expect(refusal == .malformed || refusal == .signature)
        }
        #expect(alphabet.filter { verifier.refusal(good.dropLast() + [$0]) == .malformed }.count == 48)
    }

    @Test(
        "A signed payload that is no JSON object is malformed",
        arguments: [
            "[]", #""alice""#, "7", "null", "", "{", "{}}", #"{"a":1,}"#, "{'a':1}", #"{"exp":NaN}"#, #"{"exp":01}"#, "\u{FEFF}{}",
            #"{"a":"\ud800"}"#, #"{"a":1 "b":2}"#,
            String(repeating: "[", count: 3000), String(repeating: #"{"a":"#, count: 1000),
        ])
    func payload(_ text: String) throws {
        #expect(try verifier.refusal(issuer.token(text)) == .malformed)
        #expect(try verifier.refusal(issuer.token(header: text)) == .malformed)
    }

    @Test("A payload that is not UTF-8 is malformed")
    func notUTF8() throws {
        for bytes in [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xE2, 0x82], [0x80]] as [[UInt8]] {
            let claims = Array(#"{"note":""#.utf8) + bytes + Array(("\"," + TestIssuer.claims().dropFirst()).utf8)
            #expect(try verifier.refusal(issuer.token(header: Array(#"{"alg":"HS256"}"#.utf8), claims: claims)) == .malformed)
        }
    }

    @Test("A member twice is malformed, at any depth and however escaped")
    func twice() throws {
        let claims = TestIssuer.claims().dropLast()
        for member in [#""sub":"root""#, #""\u0073ub":"alice""#, #""sub":"alice""#, #""x":{"a":1,"\u0061":1}"#, #""x":[[{"a":1,"a":2}]]"#] {
            #expect(try verifier.refusal(issuer.token("\(claims),\(member)}")) == .malformed)
        }
        #expect(try verifier.refusal(issuer.token(header: #"{"alg":"HS256","typ":"JWT","alg":"HS256"}"#)) == .malformed)
        #expect(try verifier.refusal(issuer.token(TestIssuer.claims(["sub": nil]).dropLast() + #","\u0073ub":"alice"}"#)) == nil)
    }

    @Test("A token over the limit is malformed without a look inside")
    func limit() throws {
        let token = try issuer.token(TestIssuer.claims(["note": "\"" + String(repeating: "x", count: 1000) + "\""]))
        #expect(TokenVerifier(issuers: verifier.issuers, tokenByteLimit: token.count).refusal(token) == nil)
        #expect(TokenVerifier(issuers: verifier.issuers, tokenByteLimit: token.count - 1).refusal(token) == .malformed)
    }

    @Test("An encrypted token is malformed")
    func encrypted() {
        let parts = [#"{"alg":"dir","enc":"A256GCM"}"#, "", "iv", "text", "tag"].map { Base64URL.encode(Array($0.utf8)) }
        #expect(verifier.refusal(Array(parts.joined(separator: ".").utf8)) == .malformed)
    }

    @Test("A kid that is no string is malformed", arguments: ["1", #"["key"]"#, #"{"a":1}"#, "true", "null"])
    func keyID(_ kid: String) throws {
        #expect(try verifier.refusal(issuer.token(header: #"{"alg":"HS256","kid":\#(kid)}"#)) == .malformed)
    }
}
