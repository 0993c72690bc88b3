// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// What a login that is about to be judged finds under one of the keys that failures are counted by (a user, an address).
package enum AttemptStart: Sendable, Equatable {
    /// It may be judged, and counts as running until it is ended.
    case admitted
    /// So many have failed within the window that no more are judged.
    case limited
    /// Fewer have failed, but so many run at this moment that they may all fail: it has to wait until some have ended.
    case crowded
}

/// How many failures under one key are too many.
package struct AttemptRules: Sendable, Equatable {
    /// Failed and running attempts together never exceed it within a window.
    package var limit: Int
    /// Milliseconds that a failure counts for, and an attempt that nobody has ended, as its gateway is gone.
    package var window: Int64

    package init(limit: Int, window: Int64) {
        self.limit = limit
        self.window = window
    }
}

/// The attempts of a memory store. Bounded however many names are made up: the oldest are forgotten first.
struct AttemptLedger {
    private struct Attempt {
        let id: String
        var isRunning: Bool
        /// When it began or, of one that has failed, when it ended.
        var at: UnixMilliseconds
    }

    /// Keys of one generation; there are two. A key with the most attempts that the rules allow takes about 3 KiB, one of a made-up name 300 bytes.
    static let keyLimit = 50_000

    private var recent: [ExactText: [Attempt]] = [:]
    private var older: [ExactText: [Attempt]] = [:]
    private var turnsAt: UnixMilliseconds = 0

    var keyCount: Int { recent.count + older.count }

    mutating func begin(_ id: String, under key: String, rules: AttemptRules, now: UnixMilliseconds) -> AttemptStart {
        var attempts = take(key, rules, now)
        defer { keep(attempts, key) }
        guard attempts.count(where: { !$0.isRunning }) < rules.limit else { return .limited }
        guard attempts.count < rules.limit else { return .crowded }
        attempts.append(Attempt(id: id, isRunning: true, at: now))
        return .admitted
    }

    mutating func end(_ id: String, under key: String, failed: Bool, rules: AttemptRules, now: UnixMilliseconds) {
        var attempts = take(key, rules, now)
        attempts.removeAll { $0.isRunning && $0.id.utf8.elementsEqual(id.utf8) }
        if failed { attempts.append(Attempt(id: id, isRunning: false, at: now)) }
        keep(attempts, key)
    }

    /// What still counts under a key, taken out.
    private mutating func take(_ key: String, _ rules: AttemptRules, _ now: UnixMilliseconds) -> [Attempt] {
        if now >= turnsAt || recent.count >= Self.keyLimit {
            // Whatever is dropped here is over by its time, or the oldest of more than there is room for.
            older = recent
            recent = [:]
            turnsAt = now + rules.window
        }
        let key = ExactText(key)
        let attempts = recent.removeValue(forKey: key) ?? older.removeValue(forKey: key) ?? []
        return attempts.filter { $0.at > now - rules.window }
    }

    private mutating func keep(_ attempts: [Attempt], _ key: String) {
        if !attempts.isEmpty { recent[key] = attempts }
    }
}
