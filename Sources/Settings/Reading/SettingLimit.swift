// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// How large what is read may be. Bytes, unless the name says otherwise.
enum SettingLimit {
    /// The configuration: 10 000 long routes are a megabyte.
    static let configurationBytes = 4 << 20
    /// One file that it names: a users file with 100 000 bcrypt hashes is 8 MB.
    static let fileBytes = 64 << 20
    /// A name of ours: of an issuer, a namespace, an upstream.
    static let nameBytes = 128
    /// What a Unix socket's path can have (`sun_path` without its end).
    static let socketPathBytes = 107
    /// Longer durations are mistakes, and their nanoseconds would not fit.
    static let durationSeconds: Int64 = 100 * 366 * 86_400
    static let cookieNameBytes = 128
    /// Any other text: of an issuer, a claim, a path.
    static let textBytes = 8 << 10

    static let workers = 1...1024
    static let databases = 0...1_000_000
    static let replicas = 0...1000
    static let sessionsPerUser = 1...1_000_000
    static let headerCount = 1...100_000
    /// Heads are kept in memory, and offsets into them have 32 bits.
    static let headBytes = 1...(16 << 20)
    static let bodyBytes = 0...Int.max
    static let connections = 1...10_000_000
    static let connectionsPerEndpoint = 1...1_000_000
    static let retries = 0...100
    static let healthCheckResults = 1...1000
    /// At some 300 bytes each.
    static let auditEntries = 1...100_000_000
    static let rateLimitRequests = 1...1_000_000_000
    static let scenarioRequests = 1000
    /// All requests together have a table of a million places at most.
    static let scenarioWeight = 1...1000
}
