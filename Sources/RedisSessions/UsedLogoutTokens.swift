// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import RedisClient
import Sessions

/// Logout tokens that have been used: one key each, which ends by itself.
extension RedisSessionStore {
    package func hasUsed(logoutToken tokenID: String, of issuer: String, now: UnixMilliseconds) async throws(StoreUnavailable) -> Bool {
        let key = keys.usedToken(tokenID, of: issuer)
        switch try await call(RedisCommand([Array("EXISTS".utf8), key]), of: key) {
        case .integer(0): return false
        case .integer(1): return true
        default: throw Self.odd
        }
    }

    /// Replicas are not waited for: the logout itself has been, just before, and a mark that was made but not confirmed would refuse a token
    /// whose sender was told to repeat it.
    package func use(logoutToken tokenID: String, of issuer: String, until: UnixMilliseconds, now: UnixMilliseconds) async throws(StoreUnavailable)
        -> Bool
    {
        // For a while and not until a moment: the clock of Redis has no part in it.
        let key = keys.usedToken(tokenID, of: issuer)
        let command = RedisCommand([
            Array("SET".utf8), key, Array("1".utf8), Array("NX".utf8), Array("PX".utf8), text(max(1, until - now)),
        ])
        switch try await call(command, of: key) {
        case .simple: return true
        case .null: return false
        default: throw Self.odd
        }
    }
}
