// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import TestSupport
import Testing

/// What goes wrong only sometimes. A few rounds by default; `PORTCULLIS_ROUNDS` for many.
extension EverySessionStore {
    @Suite("At the same time", .serialized)
    struct Race {
        @Test("a login and a logout from everywhere: it is before, and ended, or after, and whole", arguments: StoreKind.allCases)
        func loginAndLogoutAll(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                for round in 0..<rounds(20) {
                    let now = systemTime(), user = UserID(name: "user\(round)")
                    try await world.login("old", of: user, at: now - 1)
                    async let logins: Void = withThrowingTaskGroup(of: Void.self) { group in
                        for number in 0..<4 { group.addTask { try await world.login("s\(number)", of: user, at: now) } }
                        try await group.waitForAll()
                    }
                    async let ended = world.logoutAll(of: user, at: now)
                    let count = try await (logins, ended).1
                    let listed = try await world.list(of: user, at: now)
                    #expect(listed.count == 5 && count + listed.count(where: \.active) == 5, "each was ended and counted, or is still there")
                    #expect(listed.first { $0.session == "old" }?.active == false)
                    for record in listed {
                        try await world.expect(record.active ? .active : .revoked, record.session, of: user)
                        #expect(record.active ? record.revokeReason == nil : record.revokeReason == .logoutAll)
                        let outcome = try await world.refresh(record.session, "first", to: "second", of: user, at: now)
                        if case .rotated = outcome { #expect(record.active) } else { #expect(outcome == .ended && !record.active) }
                    }
                    try world.expectIndexesOfActiveSessions(user)
                    #expect(try await world.logoutAll(of: user, at: now + 1) == 5 - count)
                    for record in listed { try await world.expect(.revoked, record.session, of: user) }
                }
            }
        }

        @Test("50 refreshes with one token: exactly one successor, which all others get again", arguments: StoreKind.allCases)
        func refreshes(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                for round in 0..<rounds(5) {
                    let now = systemTime(), session = "s\(round)", user = UserID(name: "user\(round)")
                    try await world.login(session, of: user, at: now)
                    let outcomes = try await withThrowingTaskGroup(of: (Int, Rotation).self) { group in
                        for number in 0..<50 {
                            group.addTask { (number, try await world.refresh(session, "first", to: "next \(number)", of: user, at: now)) }
                        }
                        return try await group.reduce(into: [(Int, Rotation)]()) { $0.append($1) }
                    }
                    var successors: [Int] = [], repeated = 0
                    for (number, outcome) in outcomes {
                        if case .rotated = outcome { successors.append(number) }
                        if case .repeated = outcome { repeated += 1 }
                    }
                    #expect(successors.count == 1 && repeated == 49)
                    let current = Array("next \(successors.first ?? -1)".utf8)
                    #expect(try await world.store.record(session, of: user, currentHash: current)?.active == true)
                    #expect(try await world.list(of: user, at: now).map(\.session) == [session])
                    try world.expectIndexesOfActiveSessions(user)
                }
            }
        }

        @Test("a refresh and whatever ends the session: it never comes back", arguments: StoreKind.allCases)
        func refreshAndEnd(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let users = rounds(20)
                for round in 0..<users {
                    let now = systemTime(), user = UserID(name: "user\(round)")
                    try await world.login("s1", of: user, at: now)
                    async let rotations: Void = withThrowingTaskGroup(of: Void.self) { group in
                        for number in 0..<5 { group.addTask { _ = try await world.refresh("s1", "first", to: "next \(number)", of: user, at: now) } }
                        try await group.waitForAll()
                    }
                    async let ending: Void = {
                        switch round % 4 {
                        case 0: _ = try await world.logout("s1", of: user, at: now)
                        case 1: _ = try await world.logoutAll(of: user, at: now)
                        case 2: try await world.login("s2", of: user, rules: .usual.with { $0.maxPerUser = 1 }, at: now + 1)
                        default:
                            if let redis = world.redis {
                                try redis.command("SREM", "\(StoreWorld.prefix)sessions:{user\(round)}", "s1")
                            } else {
                                _ = try await world.refresh("s1", "none of it", to: "next", of: user, at: now)
                            }
                        }
                    }()
                    _ = try await (rotations, ending)
                    try await world.expect(.revoked, "s1", of: user)
                    for token in ["first"] + (0..<5).map({ "next \($0)" }) {
                        #expect(try await world.refresh("s1", token, to: "later", of: user, at: now + 2) == .ended)
                    }
                    try await world.expect(.revoked, "s1", of: user)
                }
            }
        }

        @Test("50 logins at the limit: never more than that are left, and who gave way is told once", arguments: StoreKind.allCases)
        func loginsAtLimit(kind: StoreKind) async throws {
            try await StoreWorld.run(kind) { world in
                let five = SessionRules.usual.with { $0.maxPerUser = 5 }
                for round in 0..<rounds(3) {
                    let now = systemTime(), user = UserID(name: "user\(round)")
                    for number in 0..<5 { try await world.login("old\(number)", of: user, rules: five, at: now - 1) }
                    let gone = try await withThrowingTaskGroup(of: [String].self) { group in
                        for number in 0..<50 { group.addTask { try await world.login("s\(number)", of: user, rules: five, at: now) } }
                        return try await group.reduce([], +)
                    }
                    let active = try await world.list(of: user, at: now).filter(\.active).map(\.session)
                    #expect(active.count == 5 && gone.count == 50 && Set(gone).isDisjoint(with: active) && Set(gone).count == 50)
                    try world.expectIndexesOfActiveSessions(user)
                }
            }
        }
    }
}

@Suite("A restart of Redis with all writes on disk")
struct RestartTests {
    @Test("in the middle of everything loses nothing that was answered, and revives nothing")
    func restart() async throws {
        // A new one after some rounds, as each restart reads all that was ever written.
        for start in stride(from: 0, to: rounds(3), by: 50) { try await restarts(start..<min(start + 50, rounds(3))) }
    }

    private func restarts(_ rounds: Range<Int>) async throws {
        try await withRedisServer(durable: true) { redis in
            try await StoreWorld.run(on: redis) { world in
                for round in rounds {
                    let now = systemTime(), users = (0..<6).map { UserID(name: "user\(round).\($0)") }
                    for user in users {
                        for session in ["out", "refreshed", "stays"] {
                            // The disk that Redis writes to may be busy with something else for long.
                            try await eventually("logged in", within: .seconds(60)) {
                                try await world.login(session, of: user, at: now)
                                return true
                            }
                        }
                    }
                    // For each user: what was answered before Redis died. The others may have taken effect or not.
                    let done = await withTaskGroup(of: (Int, Set<String>).self) { group in
                        for (index, user) in users.enumerated() {
                            group.addTask {
                                var done: Set<String> = []
                                if (try? await world.logout("out", of: user, at: now)) == .ended { done.insert("out") }
                                if case .rotated? = try? await world.refresh("refreshed", "first", to: "second", of: user, at: now) {
                                    done.insert("refreshed")
                                }
                                if (try? await world.login("new", of: user, at: now)) != nil { done.insert("new") }
                                if index.isMultiple(of: 3), (try? await world.logoutAll(of: user, at: now)) != nil { done.insert("all") }
                                return (index, done)
                            }
                        }
                        group.addTask {
                            // Somewhere among them, and never at the same place.
                            for _ in 0..<Int.random(in: 0..<12) { _ = try? await world.ask("stays", of: users[0]) }
                            redis.kill()
                            return (-1, [])
                        }
                        return await group.reduce(into: [Int: Set<String>]()) { $0[$1.0] = $1.1 }
                    }
                    try await redis.restart()
                    try await eventually("it answers again", within: .seconds(60)) {
                        try await world.ask("stays", of: users[1]) != .unavailable && world.store.health.isUp
                    }
                    for (index, user) in users.enumerated() {
                        let done = done[index] ?? []
                        let mayBeAll = index.isMultiple(of: 3)
                        if done.contains("all") {
                            for session in ["out", "refreshed", "stays", "new"] { try await world.expect(.revoked, session, of: user) }
                            continue
                        }
                        if done.contains("out") { try await world.expect(.revoked, "out", of: user) }
                        if !mayBeAll { try await world.expect(.active, "stays", of: user) }
                        if done.contains("new"), !mayBeAll { try await world.expect(.active, "new", of: user) }
                        if done.contains("refreshed") {
                            let successor = try await world.store.record("refreshed", of: user, currentHash: Array("second".utf8))
                            #expect(successor != nil, "the token that was given out is the current one")
                        }
                        if !mayBeAll {
                            // Whether or not the refresh had been answered: the client's retry gets the session on.
                            switch try await world.refresh("refreshed", "first", to: "second", of: user, at: now + 1) {
                            case .rotated, .repeated: break
                            case let outcome: Issue.record("lost by the restart: \(outcome)")
                            }
                        }
                        try world.expectIndexesOfActiveSessions(user)
                    }
                }
            }
        }
    }
}

extension StoreWorld {
    /// In Redis, what stands beside the set names the same sessions as the set.
    func expectIndexesOfActiveSessions(_ user: UserID, location: SourceLocation = #_sourceLocation) throws {
        guard let redis else { return }
        let connection = try redis.connect()
        defer { connection.close() }
        let members = Set(try connection("SMEMBERS", "\(Self.prefix)sessions:{\(user.name)}").strings)
        for index in ["ends", "begins"] {
            let named = Set(try connection("ZRANGE", "\(Self.prefix)\(index):{\(user.name)}", "0", "-1").strings)
            #expect(named.isSuperset(of: members), "\(index)", sourceLocation: location)
        }
        let remembered = Set(try connection("ZRANGE", "\(Self.prefix)records:{\(user.name)}", "0", "-1").strings)
        #expect(remembered.isSuperset(of: members), sourceLocation: location)
    }
}
