// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// A Lua script and the name under which Redis remembers it. Run with `RedisClient.run`.
package struct RedisScript: Sendable {
    package let source: String
    /// SHA-1 of the source, 40 lower-case hex digits: how `EVALSHA` names a script. A name, not a protection.
    package let sha1: String

    package init(_ source: String) {
        self.source = source
        sha1 = hexadecimal(sha1Digest(Array(source.utf8)))
    }
}

extension RedisClient {
    /// Runs a script on Redis, atomically, by its name; where Redis does not know it (restarted, flushed) once more with its source, which it then
    /// remembers. So there is one extra round trip after each restart of Redis, and nothing to prepare on a connection.
    ///
    /// `NOSCRIPT` means that nothing was carried out: repeating is safe.
    ///
    /// - Parameter then: commands sent right behind the script, in the same write and on the same connection (`WAIT` is meaningful only so). They
    ///   are repeated with the script.
    /// - Returns: the script's reply, then those of `then`.
    package nonisolated func run(
        _ script: RedisScript, keys: [[UInt8]], arguments: [[UInt8]] = [], then: [RedisCommand] = []
    ) async throws(RedisFailure) -> [RedisReply] {
        let replies = try await callAll([script.byName(keys, arguments)] + then)
        guard replies[0].errorCode == "NOSCRIPT" else { return replies }
        return try await callAll([script.bySource(keys, arguments)] + then)
    }
}

extension RedisScript {
    func byName(_ keys: [[UInt8]], _ arguments: [[UInt8]]) -> RedisCommand { command("EVALSHA", Array(sha1.utf8), keys, arguments) }
    func bySource(_ keys: [[UInt8]], _ arguments: [[UInt8]]) -> RedisCommand { command("EVAL", Array(source.utf8), keys, arguments) }

    private func command(_ name: String, _ script: [UInt8], _ keys: [[UInt8]], _ arguments: [[UInt8]]) -> RedisCommand {
        RedisCommand([Array(name.utf8), script, Array(String(keys.count).utf8)] + keys + arguments)
    }
}

private func hexadecimal(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
}

/// SHA-1 (RFC 3174), which Redis uses for the names of scripts.
func sha1Digest(_ message: [UInt8]) -> [UInt8] {
    var padded = message
    padded.append(0x80)
    while padded.count % 64 != 56 { padded.append(0) }
    let bits = UInt64(message.count) * 8
    for shift in stride(from: 56, through: 0, by: -8) { padded.append(UInt8(truncatingIfNeeded: bits >> UInt64(shift))) }

    var hash: (UInt32, UInt32, UInt32, UInt32, UInt32) = (0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0)
    var words = [UInt32](repeating: 0, count: 80)
    for block in stride(from: 0, to: padded.count, by: 64) {
        for index in 0..<16 {
            words[index] = (0..<4).reduce(0) { $0 << 8 | UInt32(padded[block + index * 4 + $1]) }
        }
        for index in 16..<80 {
            words[index] = rotate(words[index - 3] ^ words[index - 8] ^ words[index - 14] ^ words[index - 16], 1)
        }
        var (a, b, c, d, e) = hash
        for index in 0..<80 {
            let (mix, constant): (UInt32, UInt32) =
                switch index {
                case ..<20: ((b & c) | (~b & d), 0x5A82_7999)
                case ..<40: (b ^ c ^ d, 0x6ED9_EBA1)
                case ..<60: ((b & c) | (b & d) | (c & d), 0x8F1B_BCDC)
                default: (b ^ c ^ d, 0xCA62_C1D6)
                }
            (a, b, c, d, e) = (rotate(a, 5) &+ mix &+ e &+ constant &+ words[index], a, rotate(b, 30), c, d)
        }
        hash = (hash.0 &+ a, hash.1 &+ b, hash.2 &+ c, hash.3 &+ d, hash.4 &+ e)
    }
    return [hash.0, hash.1, hash.2, hash.3, hash.4].flatMap { word in
        stride(from: 24, through: 0, by: -8).map { UInt8(truncatingIfNeeded: word >> UInt32($0)) }
    }
}

private func rotate(_ word: UInt32, _ count: UInt32) -> UInt32 { word << count | word >> (32 - count) }
