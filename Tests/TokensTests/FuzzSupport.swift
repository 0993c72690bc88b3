// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport

extension SeededGenerator {
    /// One to four small changes.
    mutating func mutate(_ bytes: inout [UInt8], dictionary: [[UInt8]]) {
        for _ in 0..<Int.random(in: 1...4, using: &self) { change(&bytes, dictionary) }
    }

    /// Replaces a part of the token by the same part of another one.
    mutating func graft(_ token: inout [UInt8], _ other: [UInt8]) {
        var parts = token.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        let others = other.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        let index = Int.random(in: 0..<min(parts.count, others.count), using: &self)
        parts[index] = others[index]
        token = Array(parts.joined(separator: [UInt8(ascii: ".")]))
    }

    private mutating func change(_ bytes: inout [UInt8], _ dictionary: [[UInt8]]) {
        let place = Int.random(in: 0...bytes.count, using: &self)
        switch Int.random(in: 0..<8, using: &self) {
        case 0 where place < bytes.count: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &self)
        case 1 where place < bytes.count: bytes[place] = UInt8.random(in: .min ... .max, using: &self)
        case 2 where place < bytes.count: bytes.remove(at: place)
        case 3: bytes.insert(UInt8.random(in: .min ... .max, using: &self), at: place)
        case 4: bytes.removeSubrange(place..<min(bytes.count, place + Int.random(in: 0..<16, using: &self)))
        case 5:
            let source = Int.random(in: 0...bytes.count, using: &self)
            bytes.insert(contentsOf: Array(bytes[source..<min(bytes.count, source + Int.random(in: 0..<32, using: &self))]), at: place)
        case 6:
            let end = Int.random(in: place...bytes.count, using: &self)
            if Int.random(in: 0..<8, using: &self) == 0 { bytes.removeSubrange(end...) }
        default:
            guard let word = dictionary.randomElement(using: &self) else { return }
            bytes.replaceSubrange(place..<min(bytes.count, place + Int.random(in: 0...word.count, using: &self)), with: word)
        }
    }
}

/// Where fuzzing begins: texts that once were trouble, here or elsewhere, and words that parsers care for.
enum FuzzFindings {
    static let json: [[UInt8]] = [
        #"{"iss":"https://idp.test","aud":["api","x"],"exp":1800000300,"nbf":1.5e9,"a":{"b":[true,false,null,{"c":""}]}}"#,
        #"{"\u0061":1,"b":"\ud83d\ude00\"\\\/\b\f\n\r\t","é":"王"}"#, "[-0,0.5,1E+2,1e-2,123456789012345678901234567890]", #"" ""#, " [ ] ", "{}", "0",
        "null",
        #""\ud800\ud800""#, #""\ud800\udc00""#, #"{"a":1,"A":2,"":3}"#, "[[[[[[[[]]]]]]]]", "1e9999", "[1e400]", #""\u0000""#, "-", "[1,2", #"{"a""#,
        #"{"\u00e9":1,"é":2}"#,
        "{\"\u{E9}\":1,\"e\u{301}\":2}", "\u{FEFF}1",
    ].map { Array($0.utf8) }

    static let jsonWords: [[UInt8]] =
        [
            "{", "}", "[", "]", ":", ",", "\"", "\\", "\\u0000", "\\ud800", "\\udc00", "\\u0061", "true", "false", "null", "0", "-", "1e400", "1.5",
            "e", " ", "\n", "\"a\":", "\"exp\":", "\"sub\":\"x\"",
            "\"crit\":[]", "\u{FEFF}", "é", "\u{85}",
        ].map { Array($0.utf8) } + [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0]]

    static let logoutWords: [[UInt8]] = [
        "\"nonce\":null,", "\"events\":{},", "\"sid\":", "\"jti\":\"\",", "http://schemas.openid.net/event/backchannel-logout", "\"iat\":0,",
    ].map { Array($0.utf8) }

    static let tokens: [[UInt8]] = [
        "..", ".", "", "....", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJIUzI1NiJ9.e30.", "eyJhbGciOiJIUzI1NiJ9..", "e30.e30.e30", "bnVsbA.bnVsbA.",
    ].map { Array($0.utf8) }

    static let tokenWords: [[UInt8]] = [".", "..", "=", "A", "eyJ", "e30", "-", "_", "+", "/", "\n"].map { Array($0.utf8) }

    static let base64Letters: [UInt8] = Array("AAAABQgwxyz019-_-_+/=. ".utf8) + [0, 0x80, 0xFF]
}
