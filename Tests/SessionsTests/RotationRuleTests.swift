// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import TestSupport
import Testing

@Suite("What a presented refresh token means")
struct RotationRuleTests {
    enum Token: CaseIterable { case current, previous, other }
    enum Moment: CaseIterable { case inWindow, windowEnd, after }

    /// The rule once more, as a table that is read from above.
    private static func expected(_ token: Token, _ moment: Moment, proven: Bool, active: Bool, over: Bool) -> RotationRule.Decision {
        if token == .other && !proven { return .unknown }
        if !active { return .ended }
        switch (token, moment) {
        case (.current, _): return over ? .expired : .rotate
        case (.previous, .inWindow): return over ? .expired : .repeat
        case (.previous, .windowEnd), (.previous, .after), (.other, _): return .reuse
        }
    }

    @Test(
        "depends on which token it is, when it comes, and what is known of the session: every combination", arguments: Token.allCases, Moment.allCases
    )
    func all(token: Token, moment: Moment) {
        for proven in [true, false] {
            for active in [true, false] {
                for end in [nil, 1_999, 2_000, 2_001] as [UnixMilliseconds?] {
                    let presented: [UInt8] =
                        switch token {
                        case .current: [1]
                        case .previous: [2]
                        case .other: [3]
                        }
                    let age: UnixMilliseconds =
                        switch moment {
                        case .inWindow: 99
                        case .windowEnd: 100
                        case .after: 101
                        }
                    let decision = RotationRule.decide(
                        presented: presented, current: [1], previous: [2], rotatedAt: 2_000 - age, isActive: active, expiresAt: end,
                        provenOrigin: proven, reuseWindow: 100, now: 2_000)
                    let over = end.map { $0 <= 2_000 } ?? false
                    #expect(decision == Self.expected(token, moment, proven: proven, active: active, over: over))
                }
            }
        }
    }

    @Test("is decided by Redis' script as by the rule: every combination")
    func script() async throws {
        try await withRedisServer { redis in
            let connection = try redis.connect()
            defer { connection.close() }
            try await StoreWorld.run(on: redis) { world in
                let now = systemTime()
                for (token, presented) in zip(Token.allCases, ["current", "previous", "other"]) {
                    for (moment, age) in zip(Moment.allCases, [9_999, 10_000, 10_001] as [Int64]) {
                        for combination in 0..<12 {
                            let proven = combination & 1 == 1, active = combination & 2 == 2, end = now + Int64(combination >> 2) - 1
                            let key = "\(StoreWorld.prefix)session:{alice}:s1"
                            try connection("DEL", key, "\(StoreWorld.prefix)sessions:{alice}")
                            try connection(
                                "HSET", key, "refresh_hash", "current", "previous_hash", "previous", "rotated_at", "\(now - age)",
                                "created_at", "\(now - 60_000)", "expires_at", "\(end)")
                            if active {
                                try connection("SADD", "\(StoreWorld.prefix)sessions:{alice}", "s1")
                            } else {
                                try connection("HSET", key, "revoked_at", "\(now - 1)", "revoke_reason", "logout")
                            }
                            let outcome = try await world.refresh("s1", presented, to: "next", proven: proven, at: now)
                            let expected = Self.expected(token, moment, proven: proven, active: active, over: end <= now)
                            #expect(outcome.decision == expected, "\(token) \(moment) \(proven) \(active) \(end - now)")
                            let current = try connection("HGET", key, "refresh_hash")
                            #expect(current == .text(expected == .rotate ? "next" : "current"))
                            let isMember = try connection("SISMEMBER", "\(StoreWorld.prefix)sessions:{alice}", "s1")
                            #expect(isMember == .integer(active && expected != .reuse ? 1 : 0))
                        }
                    }
                }
            }
        }
    }

    @Test("of a session that has none is that it was never given out, or is no longer known")
    func none() {
        func decide(proven: Bool) -> RotationRule.Decision {
            RotationRule.decide(
                presented: [], current: nil, previous: nil, rotatedAt: 0, isActive: true, expiresAt: nil, provenOrigin: proven, reuseWindow: 100,
                now: 50)
        }
        #expect(decide(proven: false) == .unknown)
        #expect(decide(proven: true) == .reuse)
    }
}

extension Rotation {
    fileprivate var decision: RotationRule.Decision {
        switch self {
        case .rotated: .rotate
        case .repeated: .repeat
        case .reused: .reuse
        case .unknown: .unknown
        case .ended: .ended
        case .expired: .expired
        }
    }
}
