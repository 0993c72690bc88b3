// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Logging
import NIOCore
import Sessions
import Tokens

/// Who vouches for those who log in.
package enum LoginMethod: Sendable {
    case usersFile(UsersFile)
    case endpoint(LoginEndpoint)
}

/// Judges names and passwords (contract §5, Login): asks the counters, then a users file or a login endpoint, and counts what failed.
///
/// Both ways have a bound of their own for how many are judged at once, and for how many wait: hashing is bounded by processors, an endpoint by
/// how many may run without passing the limit of failures.
struct LoginService: Sendable {
    /// Logins that the endpoint is asked about at once. Below the limit of failures: one gateway alone never makes a user or an address wait for
    /// itself.
    static let endpointTurns = LoginThrottle.rules.limit - 2

    /// What was typed.
    struct Credentials: Sendable {
        let username: String
        let password: String

        /// Whether it can be anybody's. What cannot is judged and counted like any other wrong one, but nobody else hears of it.
        var isPossible: Bool { IdentifierRules.isUser(username) && password.utf8.count <= PasswordHash.passwordByteLimit }
    }

    enum Outcome: Sendable {
        /// `admission` has to be released.
        case authenticated(user: String, claims: [UInt8]?, admission: LoginThrottle.Admission)
        case failed
    }

    let throttle: LoginThrottle
    private let hashing: HashingPool
    private let verifier: LoginVerifier
    private let hashingQueue: LoginQueue
    private let endpointQueue = LoginQueue(turns: endpointTurns)

    /// `hashingThreads`: how many passwords are hashed at once.
    init(throttle: LoginThrottle, hashingThreads: Int, group: any EventLoopGroup, logger: Logger) {
        self.throttle = throttle
        hashing = HashingPool(threads: hashingThreads)
        hashingQueue = LoginQueue(turns: hashingThreads)
        verifier = LoginVerifier(group: group, connections: Self.endpointTurns, logger: logger)
    }

    /// A reload: what the method before needed and this one does not is given up when its last login has ended.
    func follow(_ method: LoginMethod?) async {
        guard case .endpoint(let endpoint)? = method else { return await verifier.keep(nil) }
        await verifier.keep(endpoint)
    }

    func shutDown() async {
        await hashing.shutDown()
        await verifier.shutDown()
    }

    /// - Throws: `Refusal` or `StoreUnavailable`; nobody has failed then.
    func judge(_ credentials: Credentials, by method: LoginMethod, from address: String, _ configuration: ControlConfiguration) async throws
        -> Outcome
    {
        let queue =
            switch method {
            case .usersFile: hashingQueue
            case .endpoint: endpointQueue
            }
        // From the question until it is counted, in one turn: what waits counts for nothing yet.
        let outcome = try await queue.withTurn { () async throws -> Outcome in
            let admission = try await throttle.admit(credentials.username, from: address)
            let verdict: LoginVerifier.Verdict
            do throws(Refusal) {
                verdict = try await ask(credentials, method, configuration)
            } catch {
                await throttle.release(admission)
                throw error
            }
            switch verdict {
            case .authenticated(let user, let claims): return .authenticated(user: user, claims: claims, admission: admission)
            case .refused:
                try await throttle.countFailure(admission)
                return .failed
            }
        }
        guard let outcome else { throw Refusal.busy }
        return outcome
    }

    private func ask(
        _ credentials: Credentials, _ method: LoginMethod, _ configuration: ControlConfiguration
    ) async throws(Refusal) -> LoginVerifier.Verdict {
        switch method {
        case .usersFile(let users):
            guard let matches = await hashing.hash({ users.authenticates(credentials.username, password: credentials.password) }) else {
                throw .draining
            }
            return matches && configuration.isOwnUser(credentials.username) ? .authenticated(user: credentials.username, claims: nil) : .refused
        case .endpoint(let endpoint):
            guard credentials.isPossible else { return .refused }
            return try await verifier.verify(
                credentials.username, credentials.password, at: endpoint, isOwnUser: { configuration.isOwnUser($0) })
        }
    }

    /// What `SessionService.begin` refuses of an endpoint's claims is the endpoint's fault.
    func refusal(_ refusal: Refusal, of method: LoginMethod) -> Refusal {
        guard case .endpoint = method, case .badRequest = refusal else { return refusal }
        return verifier.refuseClaims()
    }

    /// Whether the name that was typed may be shown: another one may be a password in the wrong field.
    static func isKnown(_ username: String, by method: LoginMethod) -> Bool {
        switch method {
        case .usersFile(let users): users.knows(username)
        case .endpoint: false
        }
    }
}
