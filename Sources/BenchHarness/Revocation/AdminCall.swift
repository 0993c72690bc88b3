// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Tokens

/// One call of the admin API (contract §6) on a connection of its own, so that its time is its own. Confined to its loop.
final class AdminCall: LinkOwner {
    struct Answer {
        /// When the request was sent, and when its answer was whole.
        var sent: Int64
        var now: Int64
        var status: Int
        var body: [UInt8]
    }

    enum Outcome {
        case answer(Answer)
        case failure(FailureKind)
    }

    private var completion: ((Outcome) -> Void)?
    private var sending: () -> Void
    private var link: (any Link)?

    /// Begins at once.
    ///
    /// - Parameters:
    ///   - sending: called when the request leaves.
    ///   - completion: called exactly once.
    init(
        _ dialer: Dialer, token: String, _ shape: RequestShape, on eventLoop: any EventLoop, sending: @escaping () -> Void = {},
        completion: @escaping (Outcome) -> Void
    ) {
        self.completion = completion
        self.sending = sending
        let table = RequestTable(dialer.target, shapes: [shape], tokens: [token])
        link = dialer.dial(self, table: table, keepsBody: true, on: eventLoop)
    }

    func linkOpened(_ link: any Link) {
        sending()
        link.send(Flight(intended: BenchClock.now()), RequestChoice(shape: 0, token: 0))
    }

    func link(_ link: any Link, answered flight: Flight, status: Int, at now: Int64) {
        finish(.answer(Answer(sent: flight.intended, now: now, status: status, body: link.takeBody())))
        link.close(.reset)
    }

    func link(_ link: any Link, failed flight: Flight, _ kind: FailureKind) { finish(.failure(kind)) }

    func linkGone(_ link: any Link, _ kind: FailureKind?) {
        self.link = nil
        finish(.failure(kind ?? .reset))
    }

    /// Gives up a call that has taken too long.
    func expire(sentBefore limit: Int64) { link?.expire(intendedBefore: limit) }

    private func finish(_ outcome: Outcome) {
        guard let completion else { return }
        self.completion = nil
        completion(outcome)
    }
}

@available(*, unavailable)
extension AdminCall: Sendable {}

extension RequestShape {
    static func makeSession(of user: String) -> RequestShape {
        RequestShape(
            method: "POST", target: "/v1/users/\(user)/sessions", fields: [.init("Content-Type", "application/json")], body: Array("{}".utf8))
    }

    /// - Parameter id: as the gateway made it: base64url.
    static func endSession(_ session: BenchSession) -> RequestShape {
        RequestShape(method: "DELETE", target: "/v1/users/\(session.user)/sessions/\(session.id)")
    }
}

extension BenchSession {
    /// Nil for what is no answer to the making of a session.
    init?(user: String, answer body: [UInt8]) {
        guard let members = try? JSONObject(parsing: body), let id = members["session_id"]?.string, let token = members["access_token"]?.string else {
            return nil
        }
        self.init(user: user, id: id, token: token)
    }
}
