// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Tokens

/// `pcr_` and the base64url of: version (1), length of the user (2 bytes), user, length of the session id (2 bytes), session id, 256 random bits, MAC (32 bytes).
///
/// Two proofs, for two questions. That a token is the session's *current* one is proven by its hash in the store alone, so it outlives every
/// signing key. That a token which is not current *was* given out by us, so that its use is a theft and not somebody's invention, is proven by
/// the MAC (contract §5, Refresh).
struct RefreshToken: Sendable, Equatable {
    static let prefix = "pcr_"
    private static let version: UInt8 = 1
    private static let randomByteCount = 32
    private static let macByteCount = 32
    /// Of the whole spelling: the longest user and session id.
    private static let byteLimit = 4 + ((5 + 2 * IdentifierRules.byteLimit + randomByteCount + macByteCount) * 4 + 2) / 3

    /// A user of the gateway's own namespace: no other has sessions that the gateway issues tokens for.
    let user: String
    let session: String
    /// As it is spelled; a secret.
    let text: String
    /// What the MAC is over.
    private let claimed: [UInt8]
    private let mac: [UInt8]

    /// The form is checked, nothing else. Nil for what cannot be one of ours.
    init?(_ text: String) {
        guard text.utf8.count <= Self.byteLimit, text.utf8.starts(with: Self.prefix.utf8),
            let bytes = Base64URL.decode(Array(text.utf8.dropFirst(Self.prefix.utf8.count))),
            bytes.first == Self.version
        else { return nil }
        var rest = bytes.dropFirst()
        guard let user = Self.takeText(&rest), let session = Self.takeText(&rest), rest.count == Self.randomByteCount + Self.macByteCount,
            IdentifierRules.isUser(user), IdentifierRules.isSession(session)
        else { return nil }
        self.user = user
        self.session = session
        self.text = text
        claimed = Array(bytes.dropLast(Self.macByteCount))
        mac = Array(bytes.suffix(Self.macByteCount))
    }

    /// The first of a session.
    init(user: String, session: String, key: SigningKey) {
        self.init(user: user, session: session, random: Digest.randomBytes(Self.randomByteCount), key: key)
    }

    private init(user: String, session: String, random: [UInt8], key: SigningKey) {
        var claimed = [Self.version]
        for text in [user, session] {
            let count = UInt16(clamping: text.utf8.count)
            claimed += [UInt8(count >> 8), UInt8(truncatingIfNeeded: count)] + Array(text.utf8)
        }
        claimed += random
        self.user = user
        self.session = session
        self.claimed = claimed
        mac = Self.mac(of: claimed, key)
        text = Self.prefix + Base64URL.encode(claimed + mac)
    }

    /// SHA-256 of the spelling: all that the store knows of it.
    var hash: [UInt8] { Digest.sha256(Array(text.utf8)) }

    /// Whether one of the keys made it.
    func isProven(by keys: [SigningKey]) -> Bool {
        var proven = false
        for key in keys where Digest.constantTimeEquals(mac, Self.mac(of: claimed, key)) { proven = true }
        return proven
    }

    /// The one that replaces it: always the same under the same key, so that a retry gets it without the store keeping it, and not to be foretold without the key.
    func successor(key: SigningKey) -> RefreshToken {
        RefreshToken(user: user, session: session, random: key.mac(Array("portcullis refresh successor 1\0".utf8) + Array(text.utf8)), key: key)
    }

    private static func mac(of claimed: [UInt8], _ key: SigningKey) -> [UInt8] {
        key.mac(Array("portcullis refresh token 1\0".utf8) + claimed)
    }

    private static func takeText(_ rest: inout ArraySlice<UInt8>) -> String? {
        guard rest.count >= 2 else { return nil }
        let count = Int(rest[rest.startIndex]) << 8 | Int(rest[rest.startIndex + 1])
        rest = rest.dropFirst(2)
        guard rest.count >= count else { return nil }
        defer { rest = rest.dropFirst(count) }
        return String(validating: rest.prefix(count), as: UTF8.self)
    }
}
