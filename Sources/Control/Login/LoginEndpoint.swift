// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import AsyncHTTPClient
import Logging
import NIOCore
import NIOSSL
import Sessions
import Synchronization
import Tokens

/// Who is asked about a name and a password instead of a users file (`sessions.login.verify_url`).
package struct LoginEndpoint: Sendable, Equatable {
    package var url: String
    /// Those that are trusted instead of the system's; empty: the system's.
    package var authorities: [NIOSSLCertificate]

    package init(url: String, authorities: [NIOSSLCertificate]) {
        self.url = url
        self.authorities = authorities
    }
}

/// Asks a login endpoint: `POST` with `{"username", "password"}`, answered with 401, or with 200 and `{"user", "claims"}` (contract §5, Login).
/// Everything else is a fault of ours or of the endpoint's, never a login that has failed.
///
/// The password goes into the request's body and nowhere else.
final class LoginVerifier: Sendable {
    /// Contract §5: for everything, from the name's resolution to the last byte.
    static let timeLimit = Duration.seconds(5)
    /// Of an answer, in bytes: claims have to fit into `limits.token_bytes`.
    static let answerByteLimit = 64 << 10

    enum Verdict: Sendable {
        /// The endpoint vouches for this user; `claims` are those of the session, as one JSON object.
        case authenticated(user: String, claims: [UInt8]?)
        case refused
    }

    private let client: StrictHTTPClient
    private let logger: Logger
    /// Why the endpoint did not do it when it was asked last; nil: it did. One fault that goes on is told once.
    private let fault = Mutex<String?>(nil)

    /// - Parameter connections: to the endpoint at once; as many as logins are asked about at once.
    init(group: any EventLoopGroup, connections: Int, logger: Logger) {
        client = StrictHTTPClient(group: group, connections: connections)
        self.logger = logger
    }

    /// A reload: connections that were made under other authorities end with their last login.
    func keep(_ endpoint: LoginEndpoint?) async {
        await client.keep(Set(endpoint.map { [$0.authorities] } ?? []))
    }

    func shutDown() async { await client.shutDown() }

    /// - Parameter isOwnUser: whether the gateway may have a user of that name.
    func verify(
        _ username: String, _ password: String, at endpoint: LoginEndpoint, isOwnUser: (String) -> Bool
    ) async throws(Refusal) -> Verdict {
        var request = HTTPClientRequest(url: endpoint.url)
        request.method = .POST
        request.headers.add(name: "Content-Type", value: "application/json")
        request.headers.add(name: "Accept", value: "application/json")
        request.headers.add(name: "User-Agent", value: "portcullis")
        request.body = .bytes(
            JSONWriter.object { json in
                json.member("username", username)
                json.member("password", password)
            })
        let result = await client.answer(
            to: request, trusting: endpoint.authorities, within: Self.timeLimit, reading: [200, 401], upTo: Self.answerByteLimit)
        let answer: StrictHTTPClient.Answer
        do throws(StrictHTTPClient.Failure) {
            answer = try result.get()
        } catch {
            throw refusal(UpstreamFault(error), "\(error)")
        }
        switch answer.status {
        case 401:
            answered()
            return .refused
        case 200:
            let verdict = try verdict(answer.body, isOwnUser)
            answered()
            return verdict
        default: throw refusal(.malformed, "the status is \(answer.status)")
        }
    }

    private func verdict(_ body: [UInt8], _ isOwnUser: (String) -> Bool) throws(Refusal) -> Verdict {
        guard let object = try? JSONObject(parsing: body) else { throw refusal(.malformed, "the answer is no JSON object") }
        guard let user = object["user"]?.string, isOwnUser(user) else {
            throw refusal(.malformed, "the answer has no user that can be one of the gateway's own")
        }
        guard let claims = object["claims"] else { return .authenticated(user: user, claims: nil) }
        do throws(Refusal) {
            guard claims.object != nil else { throw .badRequest("claims has to be an object") }
            return .authenticated(user: user, claims: try AccessToken.sessionClaims(claims))
        } catch {
            throw refusal(.malformed, "the claims of the answer are no object, or hold one of the gateway's own")
        }
    }

    /// The claims that the endpoint has given make a token that is too long.
    func refuseClaims() -> Refusal { refusal(.malformed, "the claims of the answer make a token that is longer than limits.token_bytes") }

    private func refusal(_ fault: UpstreamFault, _ reason: String) -> Refusal {
        let isNews = self.fault.withLock { last in
            defer { last = reason }
            return last != reason
        }
        logger.log(level: isNews ? .warning : .debug, "The login endpoint did not do it", metadata: ["reason": "\(reason)"])
        return .upstream(fault)
    }

    private func answered() {
        let wasFaulty = fault.withLock { last in
            defer { last = nil }
            return last != nil
        }
        if wasFaulty { logger.notice("The login endpoint answers again") }
    }
}

/// How a service that was asked failed, as the codes `upstream_*` of contract §4 have it.
enum UpstreamFault: String, Sendable {
    case refused, reset, malformed, timeout

    init(_ failure: StrictHTTPClient.Failure) {
        switch failure {
        case .timeout: self = .timeout
        case .url, .unreachable: self = .refused
        case .cut: self = .reset
        case .tooLarge, .malformed: self = .malformed
        }
    }
}
