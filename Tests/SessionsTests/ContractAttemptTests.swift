// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import TestSupport
import Testing

extension AttemptRules {
    /// As many failures as a login may have.
    static let usual = AttemptRules(limit: 30, window: 60_000)
}

extension StoreWorld {
    func begin(_ id: String, under key: String = "alice", rules: AttemptRules = .usual) async throws -> AttemptStart {
        try await store.beginAttempt(id, under: key, rules: rules, now: systemTime())
    }

    func end(_ id: String, under key: String = "alice", failed: Bool, rules: AttemptRules = .usual) async throws {
        try await store.endAttempt(id, under: key, failed: failed, rules: rules, now: systemTime())
    }
}

extension EverySessionStore {
    @Suite("Login attempts")
    struct Attempts {
        @Test("fail as often as the rules allow and no more, by key", arguments: StoreKind.allCases)
        func limit(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let rules = AttemptRules(limit: 3, window: 60_000)
                for key in ["alice 192.0.2.1", "{x}:/% \u{e9}"] {
                    for number in 1...3 {
                        #expect(try await world.begin("\(number)", under: key, rules: rules) == .admitted)
                        try await world.end("\(number)", under: key, failed: true, rules: rules)
                    }
                    #expect(try await world.begin("4", under: key, rules: rules) == .limited)
                }
                #expect(try await world.begin("1", under: "alice 192.0.2.2", rules: rules) == .admitted)
            }
        }

        @Test("that succeed count for nothing, however many there are", arguments: StoreKind.allCases)
        func successes(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let rules = AttemptRules(limit: 2, window: 60_000)
                for number in 1...10 {
                    #expect(try await world.begin("\(number)", rules: rules) == .admitted)
                    try await world.end("\(number)", failed: false, rules: rules)
                }
            }
        }

        @Test("that run may all fail: one more has to wait, and is not refused", arguments: StoreKind.allCases)
        func running(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let rules = AttemptRules(limit: 2, window: 60_000)
                #expect(try await world.begin("1", rules: rules) == .admitted)
                #expect(try await world.begin("2", rules: rules) == .admitted)
                #expect(try await world.begin("3", rules: rules) == .crowded)
                try await world.end("1", failed: false, rules: rules)
                #expect(try await world.begin("3", rules: rules) == .admitted)
                try await world.end("2", failed: true, rules: rules)
                #expect(try await world.begin("4", rules: rules) == .crowded)
                try await world.end("3", failed: true, rules: rules)
                #expect(try await world.begin("4", rules: rules) == .limited)
            }
        }

        @Test("never fail more often than allowed, however many begin at once", arguments: StoreKind.allCases)
        func parallel(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let failures = try await withThrowingTaskGroup(of: Bool.self) { group in
                    for number in 0..<100 {
                        group.addTask {
                            while true {
                                switch try await world.begin("\(number)") {
                                case .limited: return false
                                case .crowded: await Task.yield()
                                case .admitted:
                                    try await world.end("\(number)", failed: true)
                                    return true
                                }
                            }
                        }
                    }
                    return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
                }
                #expect(failures == 30)
            }
        }

        @Test("are over with their window, also those that nobody has ended", arguments: StoreKind.allCases)
        func window(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let rules = AttemptRules(limit: 1, window: 200)
                #expect(try await world.begin("1", rules: rules) == .admitted)
                try await eventually("forgotten") { try await world.begin("2", rules: rules) == .admitted }
                try await world.end("2", failed: true, rules: rules)
                try await eventually("forgiven") { try await world.begin("3", rules: rules) == .admitted }
            }
        }
    }
}
