// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Sessions
import Synchronization
import TestSupport
import Testing

@testable import RedisSessions

@Suite("Requests that wait for one question")
struct JoinedQuestionTests {
    /// As many as it is asked for.
    private final class Tally: SessionWaiter {
        let answers: Answers

        init(_ answers: Answers) {
            self.answers = answers
            super.init()
        }

        override func sessionAnswered(_ answer: SessionAnswer, from source: SessionAnswerSource) { answers.all.withLock { $0.append(answer) } }
    }

    private final class Answers: Sendable {
        let all = Mutex<[SessionAnswer]>([])
    }

    @Test("are answered together by the next one, where its answer was worth nothing to those that came later, as while a slot moves")
    func together() async throws {
        try await withRedisServer { redis in
            try await StoreWorld.run(on: redis) { world in
                try await world.login("s1", at: systemTime())
                try redis.command("CONFIG", "RESETSTAT")
                let answers = Answers(), count = 50
                try await world.onLoop { lookup in
                    lookup.remember(true)
                    let made = lookup.reference(user: StoreWorld.user, session: "s1", kind: .registered, issuedAt: nil)
                    let reference = try #require(made as? RedisSessionReference)
                    let tally = Tally(answers)
                    for _ in 0..<count { lookup.ask(reference, tally) }
                    // Every answer comes from a node that the slot is about to be moved to.
                    let bound = NIOLoopBound((reference: reference, lookup: lookup), eventLoop: lookup.eventLoop)
                    @Sendable func redirect() {
                        bound.value.reference.question?.wasAsked = true
                        if answers.all.withLock({ $0.count < count }) { bound.eventLoop.scheduleTask(in: .microseconds(10), redirect) }
                    }
                    redirect()
                }
                try await eventually("all are answered") { answers.all.withLock { $0.count == count } }
                #expect(answers.all.withLock { $0.allSatisfy { $0 == .active } })
                let statistics = try #require(try redis.command("INFO", "commandstats").text)
                let line = try #require(statistics.split(whereSeparator: \.isNewline).first { $0.hasPrefix("cmdstat_sismember:calls=") })
                #expect(line.hasPrefix("cmdstat_sismember:calls=2,"), "the first one's, and one for all others: \(line)")
            }
        }
    }
}
