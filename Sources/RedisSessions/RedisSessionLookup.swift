// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import RedisClient
import Sessions

/// The question about one session, ready to be sent: formatted once, when its token was verified.
final class RedisSessionReference: SessionReference {
    let isMember: RedisCommand
    /// `revocable` alone: the moment of the last logout-all.
    let revokedBefore: RedisCommand?

    init(user: UserID, session: String, kind: SessionKind, issuedAt: Int64?, keys: SessionKeys) {
        let set = kind == .registered ? keys.sessions(user) : keys.revoked(user)
        isMember = RedisCommand([Array("SISMEMBER".utf8), set, Array(session.utf8)])
        revokedBefore = kind == .revocable ? RedisCommand([Array("GET".utf8), keys.revokedBefore(user)]) : nil
        super.init(user: user, session: session, kind: kind, issuedAt: issuedAt)
    }
}

/// Asks Redis for every request, over its loop's own connection. Confined to the loop.
final class RedisSessionLookup: SessionLookup {
    /// Questions kept for use again. More than that are rarely under way at once on a loop.
    private static let spareLimit = 4096

    private let client: RedisClient
    private let keys: SessionKeys
    private let notes: UseNotes
    private var spare: [Question] = []

    init(client: RedisClient, keys: SessionKeys, notes: UseNotes) {
        self.client = client
        self.keys = keys
        self.notes = notes
    }

    override func reference(user: UserID, session: String, kind: SessionKind, issuedAt: Int64?) -> SessionReference {
        RedisSessionReference(user: user, session: session, kind: kind, issuedAt: issuedAt, keys: keys)
    }

    override func ask(_ reference: SessionReference, _ waiter: SessionWaiter) {
        guard let reference = reference as? RedisSessionReference else { return waiter.sessionAnswered(.unavailable) }
        let question = spare.popLast() ?? Question(self)
        question.begin(waiter, reference)
        client.send(reference.isMember, question)
        // Both leave in one write; the second is answered after the first.
        if let revokedBefore = reference.revokedBefore { client.send(revokedBefore, question) }
    }

    fileprivate func answered(_ question: Question, _ reference: RedisSessionReference, _ answer: SessionAnswer) {
        if answer == .active { notes.note(reference) }
        if spare.count < Self.spareLimit { spare.append(question) }
    }
}

/// One question on its way: counts the replies that it still waits for and judges them together.
private final class Question: RedisRequest {
    private unowned let lookup: RedisSessionLookup
    private var waiter: SessionWaiter?
    private var reference: RedisSessionReference?
    private var left = 0
    private var answer = SessionAnswer.active

    init(_ lookup: RedisSessionLookup) {
        self.lookup = lookup
        super.init()
    }

    func begin(_ waiter: SessionWaiter, _ reference: RedisSessionReference) {
        self.waiter = waiter
        self.reference = reference
        left = reference.revokedBefore == nil ? 1 : 2
        answer = .active
    }

    override func redisCompleted(_ outcome: RedisOutcome) {
        guard let reference else { return }
        let asksMoment = reference.revokedBefore != nil
        let isFirst = left == (asksMoment ? 2 : 1)
        left -= 1
        let one = isFirst ? Self.membership(outcome, revokes: asksMoment) : RevokedBeforeRule.judge(outcome, issuedAt: reference.issuedAt)
        switch (answer, one) {
        case (.unavailable, _), (_, .unavailable): answer = .unavailable
        case (.revoked, _), (_, .revoked): answer = .revoked
        case (.active, .active): break
        }
        guard left == 0, let waiter else { return }
        self.waiter = nil
        self.reference = nil
        let answer = answer
        lookup.answered(self, reference, answer)
        waiter.sessionAnswered(answer)
    }

    /// 1 and 0 are answers; everything else (an error, another type, silence) is none.
    private static func membership(_ outcome: RedisOutcome, revokes: Bool) -> SessionAnswer {
        guard case .reply(.integer(let isMember)) = outcome, isMember == 0 || isMember == 1 else { return .unavailable }
        return (isMember == 1) != revokes ? .active : .revoked
    }
}

/// What `revoked_before:{U}` says of a token (contract §7).
enum RevokedBeforeRule {
    /// The longest number that is one: seconds for the next 30,000 years.
    static let digitLimit = 12

    static func judge(_ outcome: RedisOutcome, issuedAt: Int64?) -> SessionAnswer {
        guard case .reply(let reply) = outcome else { return .unavailable }
        switch reply {
        case .null: return .active
        case .bulk(let text):
            guard let moment = number(text) else { return .unavailable }
            guard let issuedAt else { return .revoked }
            return issuedAt > moment ? .active : .revoked
        case .integer, .simple, .error, .array: return .unavailable
        }
    }

    private static func number(_ text: [UInt8]) -> Int64? {
        guard !text.isEmpty, text.count <= digitLimit else { return nil }
        var value: Int64 = 0
        for byte in text {
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
            value = value * 10 + Int64(byte - UInt8(ascii: "0"))
        }
        return value
    }
}
