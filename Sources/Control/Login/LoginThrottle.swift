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
///
/// A login is counted before its password is looked at, and taken back when it was right: so that logins at the same moment, on whatever gateway,
/// cannot fail more often than contract §5 allows. Where so many run that they may all fail, the next one waits for them.
struct LoginThrottle: Sendable {
    /// Failures of a user, and of an address, in any minute (contract §5); the next attempt is 429.
    static let rules = AttemptRules(limit: 30, window: 60_000)
    /// How long a login waits for others of the same user or address, and how long between two questions.
    static let crowdPatience = Duration.seconds(5)
    private static let crowdPause = Duration.milliseconds(50)

    let store: any SessionStore
    let now: @Sendable () -> UnixMilliseconds

    /// A login that is counted as running.
    struct Admission: Sendable {
        fileprivate let id: String
        fileprivate let keys: [String]
    }

    /// Admits a login, or throws `rateLimited`, or `busy` where the others do not come to an end. Asks about user and address at once, whoever the
    /// user is.
    func admit(_ user: String, from address: String) async throws -> Admission {
        let keys = Keys(user: user, address: address), end = ContinuousClock.now + Self.crowdPatience
        while true {
            let admission = Admission(id: Base64URL.encode(Digest.randomBytes(9)), keys: [keys.user, keys.address])
            async let byUser = begin(admission, keys.user)
            let byAddress = await begin(admission, keys.address)
            let starts = (user: try await byUser.get(), address: try byAddress.get())
            if starts == (.admitted, .admitted) { return admission }
            // What was admitted for one of the two does not run.
            if starts.user == .admitted { try await finish(admission, keys.user, failed: false).get() }
            if starts.address == .admitted { try await finish(admission, keys.address, failed: false).get() }
            guard starts.user != .limited, starts.address != .limited else { throw Refusal.rateLimited }
            guard .now < end else { throw Refusal.busy }
            try await Task.sleep(for: Self.crowdPause)
        }
    }

    /// It has failed, and goes on counting.
    func countFailure(_ admission: Admission) async throws(StoreUnavailable) {
        try await settle(admission, failed: true).get()
    }

    /// It counts for nothing. Where the store does not take that, it ends by its time.
    func release(_ admission: Admission) async {
        _ = await settle(admission, failed: false)
    }

    private func settle(_ admission: Admission, failed: Bool) async -> Result<Void, StoreUnavailable> {
        async let first = finish(admission, admission.keys[0], failed: failed)
        let second = await finish(admission, admission.keys[1], failed: failed)
        return await first.flatMap { second }
    }

    private func begin(_ admission: Admission, _ key: String) async -> Result<AttemptStart, StoreUnavailable> {
        do throws(StoreUnavailable) {
            return .success(try await store.beginAttempt(admission.id, under: key, rules: Self.rules, now: now()))
        } catch {
            return .failure(error)
        }
    }

    private func finish(_ admission: Admission, _ key: String, failed: Bool) async -> Result<Void, StoreUnavailable> {
        do throws(StoreUnavailable) {
            return .success(try await store.endAttempt(admission.id, under: key, failed: failed, rules: Self.rules, now: now()))
        } catch {
            return .failure(error)
        }
    }

    /// What failures are counted under.
    struct Keys: Sendable {
        /// Hashed: what was typed as a name may be anything, also a password. Without the case of letters: a login endpoint may ignore it, and each
        /// spelling of one user's name would be worth as many guesses as the name.
        let user: String
        let address: String

        init(user: String, address: String) {
            self.user = "user:" + Base64URL.encode(Digest.sha256(Array(user.uppercased().lowercased().utf8)))
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
