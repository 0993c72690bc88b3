// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import Tokens

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// Failed logins are counted in the store, for the fleet, by user and by client address; correct ones are not.
struct LoginThrottle: Sendable {
    /// Failures a minute after which the next attempt is 429. Logins that run at the same moment (`HashingPool`, on every gateway) can pass it by their number:
    /// it stands so far below the promised 30 a minute for that.
    static let failureLimit = 20
    /// Milliseconds.
    static let window: UnixMilliseconds = 60_000

    let store: any SessionStore

    /// Whether the next attempt has to wait. Asks for both at once, whoever the user is.
    func refuses(_ keys: Keys, now: UnixMilliseconds) async throws(StoreUnavailable) -> Bool {
        let byUser = try await store.countFailures(keys.user, adding: 0, window: Self.window, now: now)
        let byAddress = try await store.countFailures(keys.address, adding: 0, window: Self.window, now: now)
        return byUser >= Self.failureLimit || byAddress >= Self.failureLimit
    }

    func countFailure(_ keys: Keys, now: UnixMilliseconds) async throws(StoreUnavailable) {
        _ = try await store.countFailures(keys.user, adding: 1, window: Self.window, now: now)
        _ = try await store.countFailures(keys.address, adding: 1, window: Self.window, now: now)
    }

    /// What failures are counted under.
    struct Keys: Sendable {
        /// Hashed: what was typed as a name may be anything, also a password.
        let user: String
        let address: String

        init(user: String, address: String) {
            self.user = "user:" + Base64URL.encode(Digest.sha256(Array(user.utf8)))
            self.address = "address:" + Self.spelling(address)
        }

        /// Letters, digits, `.` and `-` alone. An IPv6 client counts by its /64, which is what one customer has.
        static func spelling(_ address: String) -> String {
            var four = in_addr()
            if inet_pton(AF_INET, address, &four) == 1 { return address }
            var six = in6_addr()
            guard inet_pton(AF_INET6, address, &six) == 1 else { return Base64URL.encode(Digest.sha256(Array(address.utf8))) }
            let bytes = withUnsafeBytes(of: six) { Array($0) }
            let mapped: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
            if bytes.starts(with: mapped) { return bytes[12...].map { String($0) }.joined(separator: ".") }
            return bytes[..<8].map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() + "-64"
        }
    }
}
