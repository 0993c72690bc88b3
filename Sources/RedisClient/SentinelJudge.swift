// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// What Sentinels say of the primary (https://redis.io/docs/latest/develop/reference/sentinel-clients/).
///
/// They need not agree: one that was away lags behind, and while a failover goes on its leader is ahead of the others. Each failover has a greater
/// epoch, so the greatest is believed, and within it what most say. Once an epoch has been believed, an older one is not, unless most of the known
/// Sentinels say so (they may have been set up anew).
struct SentinelJudge: DiscoveryJudge {
    struct Answer: Sendable, Equatable {
        var primary: RedisConfiguration.Address
        var epoch: UInt64
        /// The other Sentinels that this one knows.
        var others: [RedisConfiguration.Address]
    }

    /// Sentinels that are asked and listened to; who is configured comes first.
    static let limit = 16

    private let name: String
    private let configured: [RedisConfiguration.Address]
    private var learned: [RedisConfiguration.Address] = []
    private var believedEpoch: UInt64 = 0
    private var judgedEpoch: UInt64 = 0

    init(name: String, sentinels: [RedisConfiguration.Address]) {
        self.name = name
        configured = sentinels
    }

    var questions: [RedisCommand] {
        [
            RedisCommand("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name), RedisCommand("SENTINEL", "MASTER", name),
            RedisCommand("SENTINEL", "SENTINELS", name),
        ]
    }

    var targets: [RedisConfiguration.Address] {
        var seen: Set<RedisConfiguration.Address> = []
        return Array((configured + learned).filter { seen.insert($0).inserted }.prefix(Self.limit))
    }

    func isEnough(_ answers: Int) -> Bool { answers * 2 > targets.count }

    func answer(_ replies: [RedisReply], from source: RedisConfiguration.Address) -> Answer? {
        guard replies.count == 3, let pair = replies[0].elements, pair.count == 2, let primary = Self.address(pair[0].bytes, pair[1].bytes),
            let master = Self.fields(replies[1]), let epoch = master["config-epoch"].flatMap({ UInt64(String(decoding: $0, as: UTF8.self)) })
        else { return nil }
        let others = (replies[2].elements ?? []).prefix(Self.limit).compactMap { other in
            Self.fields(other).flatMap { Self.address($0["ip"], $0["port"]) }
        }
        return Answer(primary: primary, epoch: epoch, others: others)
    }

    mutating func judge(_ answers: [Answer]) -> DiscoveryVerdict {
        var seen: Set<RedisConfiguration.Address> = []
        learned = answers.flatMap(\.others).filter { seen.insert($0).inserted }
        let voices = Dictionary(grouping: answers, by: \.primary)
        func weight(_ answer: Answer) -> (UInt64, Int) {
            let same = voices[answer.primary] ?? []
            return (same.map(\.epoch).max() ?? 0, same.count)
        }
        guard let best = answers.max(by: { weight($0) < weight($1) }) else { return .unsettled("no sentinel has answered") }
        let (epoch, count) = weight(best)
        guard epoch >= believedEpoch || count * 2 > targets.count else { return .unsettled("the sentinels that answer lag behind") }
        judgedEpoch = epoch
        return .verify(best.primary)
    }

    mutating func settle(_ layout: RedisLayout) { believedEpoch = judgedEpoch }

    /// Names and values in turn.
    private static func fields(_ reply: RedisReply) -> [String: [UInt8]]? {
        guard let parts = reply.elements else { return nil }
        var fields: [String: [UInt8]] = [:]
        for index in stride(from: 0, to: parts.count - 1, by: 2) {
            guard let name = parts[index].bytes, let value = parts[index + 1].bytes else { return nil }
            fields[String(decoding: name, as: UTF8.self)] = value
        }
        return fields
    }

    private static func address(_ host: [UInt8]?, _ port: [UInt8]?) -> RedisConfiguration.Address? {
        guard let host, !host.isEmpty, let port, let number = UInt16(String(decoding: port, as: UTF8.self)), number > 0 else { return nil }
        return .host(String(decoding: host, as: UTF8.self), port: Int(number))
    }
}
