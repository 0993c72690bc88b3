// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import Tokens

@Suite("Remembered headers")
struct HeaderMemoryTests {
    private let memory = HeaderMemory()

    private func refusal(_ token: [UInt8], _ verifier: TokenVerifier) -> TokenRefusal? {
        switch token.withUnsafeBytes({ verifier.judge($0, now: TestIssuer.now, headers: memory) }) {
        case .verified: nil
        case .refused(let refusal, _): refusal
        }
    }

    /// With another letter in the signature.
    private func forged(_ token: [UInt8]) -> [UInt8] {
        var forged = token
        let place = forged.count - 8
        forged[place] = forged[place] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
        return forged
    }

    private func isKnown(_ token: [UInt8]) -> Bool {
        let encoded = Array(token.prefix { $0 != UInt8(ascii: ".") })
        return encoded.withUnsafeBytes { memory.find($0) } != nil
    }

    @Test("A token is judged the same whether its header is known or not", arguments: JOSEAlgorithm.allCases)
    func known(algorithm: JOSEAlgorithm) throws {
        let issuer = try TestIssuer(algorithm), verifier = try issuer.verifier()
        let token = try issuer.token()
        #expect(refusal(token, verifier) == nil && isKnown(token))
        for _ in 0..<2 {
            #expect(refusal(token, verifier) == nil)
            #expect(try refusal(issuer.token(TestIssuer.claims(["exp": "1799999000"])), verifier) == .expired)
            #expect(try refusal(issuer.token(TestIssuer.claims(["aud": #""other""#])), verifier) == .audience)
            #expect(refusal(forged(token), verifier) == .signature)
        }
    }

    @Test("What a known header says counts for nothing where another key or algorithm is trusted")
    func otherTrust() throws {
        let issuer = try TestIssuer(.es256), token = try issuer.token()
        #expect(try refusal(token, issuer.verifier()) == nil && isKnown(token))
        #expect(try refusal(token, issuer.verifier { $0.algorithms = [.rs256] }) == .algorithm)
        #expect(try refusal(token, issuer.verifier { $0.keys = nil }) == .keysUnavailable)
        let renamed = try TestIssuer(.es256, keyID: "new").keySet()
        #expect(try refusal(token, issuer.verifier { $0.keys = renamed }) == .keyUnknown)
        let namesake = try TestIssuer(.es256).keySet()
        #expect(try refusal(token, issuer.verifier { $0.keys = namesake }) == .signature)
    }

    @Test("Headers of tokens whose signature does not hold are not remembered, nor those that are refused or long")
    func onlySigned() throws {
        let issuer = try TestIssuer(.hs256), verifier = try issuer.verifier()
        let forged = try forged(issuer.token())
        #expect(refusal(forged, verifier) == .signature && !isKnown(forged))
        let critical = try issuer.token(header: #"{"alg":"HS256","kid":"key","crit":["exp"],"exp":1}"#)
        for _ in 0..<2 { #expect(refusal(critical, verifier) == .malformed && !isKnown(critical)) }
        let long = try issuer.token(header: #"{"alg":"HS256","kid":"key","x":"\#(String(repeating: "x", count: 400))"}"#)
        for _ in 0..<2 { #expect(refusal(long, verifier) == nil && !isKnown(long)) }
        // One that has expired was signed all the same.
        let expired = try issuer.token(TestIssuer.claims(["exp": "1799999000"]))
        #expect(refusal(expired, verifier) == .expired && isKnown(expired))
    }

    @Test("The newest eight are known")
    func bounded() throws {
        let issuer = try TestIssuer(.hs256), verifier = try issuer.verifier()
        let tokens = try (0..<20).map { try issuer.token(header: #"{"alg":"HS256","kid":"key","n":\#($0)}"#) }
        for token in tokens + tokens.suffix(8) { #expect(refusal(token, verifier) == nil) }
        #expect(tokens.map(isKnown) == (0..<20).map { $0 >= 12 })
    }
}
