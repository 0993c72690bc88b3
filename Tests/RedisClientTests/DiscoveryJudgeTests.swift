// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import RedisClient

@Suite("What Sentinels and nodes say")
struct DiscoveryJudgeTests {
    private static func text(_ words: String) -> RedisReply { .bulk(Array(words.utf8)) }
    private static func list(_ words: String...) -> RedisReply { .array(words.map(text)) }

    // MARK: Sentinel

    private func sentinel(_ count: Int = 3) -> SentinelJudge { SentinelJudge(name: "m", sentinels: (1...count).map { .at($0) }) }

    @Test("a Sentinel's answer is the primary, its epoch and the other Sentinels")
    func sentinelAnswer() {
        let others = RedisReply.array([Self.list("ip", "10.0.0.1", "port", "8"), Self.list("ip", "", "port", "9"), Self.list("port", "9")])
        let answer = sentinel().answer([Self.list("10.0.0.1", "7"), Self.list("name", "m", "config-epoch", "4"), others], from: .at(1))
        #expect(answer == SentinelJudge.Answer(primary: .at(7), epoch: 4, others: [.at(8)]))
    }

    @Test(
        "what is no answer of a Sentinel that knows the primary says nothing",
        arguments: [
            [RedisReply.null, .error(Array("ERR No such master".utf8)), .error(Array("ERR".utf8))],
            [list("10.0.0.1", "7"), list("name", "m"), list()], [list("10.0.0.1", "0"), list("config-epoch", "1"), list()],
            [list("10.0.0.1", "x"), list("config-epoch", "1"), list()], [list("", "7"), list("config-epoch", "1"), list()],
            [list("10.0.0.1", "7"), list("config-epoch", "-1"), list()], [list("10.0.0.1", "7"), list("config-epoch", "1")],
        ])
    func oddSentinel(_ replies: [RedisReply]) {
        #expect(sentinel().answer(replies, from: .at(1)) == nil)
    }

    @Test("the greatest epoch is believed, and within one what most say")
    func epochs() {
        func say(_ port: Int, _ epoch: UInt64) -> SentinelJudge.Answer { .init(primary: .at(port), epoch: epoch, others: []) }
        var judge = sentinel()
        #expect(judge.judge([say(1, 3), say(1, 3), say(2, 4)]) == .verify(.at(2)))
        #expect(judge.judge([say(1, 3), say(2, 3), say(2, 3)]) == .verify(.at(2)))
        #expect(judge.judge([say(1, 3)]) == .verify(.at(1)))
    }

    @Test("what was believed is not given up for an older epoch, unless most of all Sentinels say so")
    func laggard() {
        func say(_ port: Int, _ epoch: UInt64) -> SentinelJudge.Answer { .init(primary: .at(port), epoch: epoch, others: []) }
        var judge = sentinel()
        #expect(judge.judge([say(2, 5)]) == .verify(.at(2)))
        #expect(judge.judge([say(1, 4)]) == .verify(.at(1)), "what was judged is not yet believed")
        _ = judge.judge([say(2, 5)])
        judge.settle(RedisLayout(addresses: [.at(2)]))
        #expect(judge.judge([say(1, 4)]) == .unsettled("the sentinels that answer lag behind"))
        #expect(judge.judge([say(1, 4), say(1, 4)]) == .verify(.at(1)))
    }

    @Test("Sentinels that others know are asked, too, behind the configured ones and up to a limit")
    func learned() {
        var judge = sentinel(1)
        let many = (1...40).map { RedisConfiguration.Address.at($0) }
        _ = judge.judge([SentinelJudge.Answer(primary: .at(99), epoch: 1, others: many)])
        #expect(judge.targets == Array(many.prefix(SentinelJudge.limit)))
        _ = judge.judge([SentinelJudge.Answer(primary: .at(99), epoch: 1, others: [.at(5)])])
        #expect(judge.targets == [.at(1), .at(5)], "who is known to nobody any more is forgotten")
    }

    // MARK: Cluster

    private static let info = text("cluster_state:ok\r\ncluster_current_epoch:6\r\n")

    private static func range(_ first: Int, _ last: Int, _ host: RedisReply, _ port: Int) -> RedisReply {
        .array([.integer(Int64(first)), .integer(Int64(last)), .array([host, .integer(Int64(port)), text("id")]), .array([text("r"), .integer(1)])])
    }

    @Test("a node may name itself by no host, others by name or address, and one that it does not know by ?")
    func hosts() throws {
        let slots = RedisReply.array([
            Self.range(0, 1, .null, 1), Self.range(2, 3, Self.text(""), 2), Self.range(4, 5, Self.text("node-a"), 3),
            Self.range(6, 7, Self.text("::1"), 4), Self.range(8, 9, Self.text("?"), 5),
        ])
        let judge = ClusterJudge(seeds: [.at(1)], nodeLimit: 10)
        let answer = try #require(judge.answer([Self.info, slots], from: .at(6)))
        #expect(
            answer.ranges.map(\.address)
                == [.at(1), .at(2), .host("node-a", port: 3), .host("::1", port: 4), nil])
        #expect(answer.isContent && answer.epoch == 6)
    }

    @Test(
        "what is no map says nothing",
        arguments: [
            .array([]), .null, .error(Array("ERR This instance has cluster support disabled".utf8)), .array([.array([])]),
            .array([range(5, 4, text("h"), 1)]), .array([range(0, 16384, text("h"), 1)]), .array([range(-1, 4, text("h"), 1)]),
            .array([range(0, 4, text("h"), 0)]), .array([.array([.integer(0), .integer(4), .array([text("h")])])]),
        ] as [RedisReply])
    func oddMap(_ slots: RedisReply) {
        #expect(ClusterJudge(seeds: [.at(1)], nodeLimit: 10).answer([Self.info, slots], from: .at(1)) == nil)
    }

    private func answer(_ ranges: [(ClosedRange<Int>, Int?)], isContent: Bool = true, epoch: UInt64 = 1) -> ClusterJudge.Answer {
        .init(isContent: isContent, epoch: epoch, ranges: ranges.map { .init(slots: $0.0, address: $0.1.map { .at($0) }) })
    }

    @Test("of several answers the best informed counts")
    func best() {
        var judge = ClusterJudge(seeds: [.at(1)], nodeLimit: 10)
        let all = 0...16383
        let cases: [(ClusterJudge.Answer, ClusterJudge.Answer)] = [
            (answer([(all, 1)], epoch: 2), answer([(all, 2)], epoch: 1)), (answer([(all, 1)]), answer([(0...9, 2)], epoch: 9)),
            (answer([(all, 1)]), answer([(all, 2)], isContent: false, epoch: 9)),
            (answer([(0...9, 1)]), answer([(0...9, 2), (10...16383, nil)], epoch: 9)),
        ]
        for (better, worse) in cases {
            for answers in [[better, worse], [worse, better]] {
                guard case .settled(let layout) = judge.judge(answers) else {
                    Issue.record("not settled")
                    continue
                }
                #expect(layout.addresses == [.at(1)])
            }
        }
    }

    @Test("slots of a node that nobody knows stay where they were, and such that nobody has are nobody's")
    func unknownHost() {
        var judge = ClusterJudge(seeds: [.at(1)], nodeLimit: 10)
        #expect(judge.judge([answer([(0...16383, nil)])]) == .unsettled("no node knows where the slots are"))
        let first = judge.judge([answer([(0...99, 1), (100...199, 2)])])
        guard case .settled(let layout) = first else {
            Issue.record("not settled")
            return
        }
        judge.settle(layout)
        #expect(judge.judge([answer([(0...99, nil), (100...199, 2)])]) == first)
        #expect(layout.owners[0] == 0 && layout.owners[199] == 1 && layout.owners[200] == RedisPrimaries.nobody)
        #expect(judge.targets == [.at(1), .at(2)])
    }

    @Test("a map with more nodes than the limit is not believed")
    func tooMany() {
        var judge = ClusterJudge(seeds: [.at(1)], nodeLimit: 2)
        let verdict = judge.judge([answer([(0...1, 1), (2...3, 2), (4...5, 3)])])
        #expect(verdict == .unsettled("the cluster has more primaries than the limit"))
    }

    // MARK: Snapshots

    @Test("an address keeps its id as long as it is a primary, and an id never names two")
    func ids() {
        var next = 1
        let first = RedisPrimaries.unknown.succeeded(by: RedisLayout(addresses: [.at(1), .at(2)]), nextID: &next)
        let second = first.succeeded(by: RedisLayout(addresses: [.at(2), .at(3)]), nextID: &next)
        let third = second.succeeded(by: RedisLayout(addresses: [.at(1), .at(2)]), nextID: &next)
        #expect(first.nodes.map(\.id) == [1, 2] && second.nodes.map(\.id) == [2, 3] && third.nodes.map(\.id) == [4, 2])
        #expect([first, second, third].map(\.generation) == [1, 2, 3])
    }

    // MARK: Redirections

    @Test("redirections are read from their error replies, and nothing else is one")
    func redirections() {
        let cases: [(String, Redirection?)] = [
            ("MOVED 3999 10.0.0.1:6381", .moved(.at(6381))), ("ASK 3999 10.0.0.1:6381", .ask(.at(6381))),
            ("MOVED 1 ::1:7000", .moved(.host("::1", port: 7000))), ("MOVED 1 node-a:7000", .moved(.host("node-a", port: 7000))),
            ("MOVED 1 :9", .moved(.at(9))), ("MOVED 1 ?:9", .moved(nil)), ("ASK 1 nowhere", .ask(nil)), ("MOVED 1 h:0", .moved(nil)),
            ("MOVED 1 h:99999", .moved(nil)), ("TRYAGAIN Multiple keys request", .tryAgain), ("TRYAGAIN", .tryAgain),
            ("MOVED", nil), ("ASK 1", nil), ("CLUSTERDOWN The cluster is down", nil), ("ERR MOVED 1 h:1", nil), ("moved 1 h:1", nil), ("", nil),
        ]
        for (text, expected) in cases { #expect(Redirection(.error(Array(text.utf8)), from: .at(1)) == expected, "\(text)") }
        #expect(Redirection(Self.text("MOVED 1 h:1"), from: .at(1)) == nil, "a value may hold anything")
    }

    @Test("five hops are followed in a row, and a pause begins anew")
    func hops() {
        var rule = RedirectionRule()
        for _ in 1...RedirectionRule.hopLimit { #expect(rule.step(.moved(.at(1))) == .go(.at(1), asking: false)) }
        #expect(rule.step(.ask(.at(2))) == .stop)
        #expect(rule.step(.tryAgain) == .again)
        #expect(rule.step(.ask(.at(2))) == .go(.at(2), asking: true))
        #expect(rule.step(.moved(nil)) == .again)
    }

    @Test("slots are those of the cluster specification, with a tag or without")
    func slots() {
        let cases = [
            ("123456789", 0x31C3), ("", 0), ("{user1000}.following", 3443), ("{user1000}.followers", 3443), ("user1000", 3443),
            ("foo{}{bar}", 8363), ("foo{{bar}}zap", 4015), ("{bar", 4015), ("foo{bar}{zap}", 5061), ("bar", 5061),
        ]
        for (key, slot) in cases { #expect(Int(RedisSlot(key: Array(key.utf8)).number) == slot, "\(key)") }
        #expect(RedisSlot(key: Array("foo{{bar}}zap".utf8)) == RedisSlot(key: Array("{bar".utf8)))
    }
}
