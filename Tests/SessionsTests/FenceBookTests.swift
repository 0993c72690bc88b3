// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Sessions
import Testing

@testable import RedisSessions

@Suite("The book of fences")
struct FenceBookTests {
    /// Of one fence; `a` and `b` are alive, and only `a` answers.
    enum Stage: CaseIterable {
        case opened, acknowledgedEarly, echoed, decided, acknowledged
    }

    private static let settings = FenceBook.Settings(resend: .milliseconds(100), patience: .seconds(5))
    private let start = NIODeadline.uptimeNanoseconds(9_000_000_000)
    private let fence = FleetMessage.Fence(sequence: 0, user: UserID(name: "u"), session: "s", reason: .logout)
    private var decided: NIODeadline { start + .milliseconds(10) }

    private func living(_ edges: [String], knowsSince: NIODeadline = .uptimeNanoseconds(0), until: NIODeadline = .distantFuture) -> FleetView.Living {
        FleetView.Living(
            edges: edges.map { (edge: $0, staleness: TimeAmount.seconds($0 == "a" ? 1 : 2), until: until) }, knowsSince: knowsSince,
            assumed: .seconds(3))
    }

    private func book(_ stage: Stage, edges: [String] = ["a", "b"]) -> FenceBook {
        var book = FenceBook(Self.settings)
        #expect(book.open(fence, now: start).sequence == 1)
        if stage == .opened { return book }
        if stage == .acknowledgedEarly {
            book.heardAcknowledgement("a", upTo: 1)
            return book
        }
        book.echoed(1)
        if stage == .echoed { return book }
        book.decide(living: living(edges), now: decided)
        if stage == .decided { return book }
        book.heardAcknowledgement("a", upTo: 1)
        return book
    }

    private func answered(_ book: inout FenceBook, at time: NIODeadline) -> String {
        let (confirmed, failed) = book.settle(now: time)
        return confirmed == [1] ? "confirmed" : failed == [1] ? "failed" : "waits"
    }

    @Test("sequences count up, and nothing is lost of what was opened")
    func opening() {
        var book = book(.opened)
        let second = book.open(fence, now: start)
        #expect(second.sequence == 2)
        #expect((second.user, second.session, second.reason) == (fence.user, fence.session, fence.reason))
        #expect(!book.isEmpty)
    }

    @Test("it is confirmed when the last one's time is over, and by nothing else than an answer before", arguments: Stage.allCases)
    func settling(_ stage: Stage) {
        var book = book(stage)
        #expect(answered(&book, at: decided) == "waits")
        switch stage {
        case .opened, .acknowledgedEarly, .echoed:
            #expect(answered(&book, at: start + .milliseconds(4999)) == "waits")
            #expect(answered(&book, at: start + .seconds(5)) == "failed")
        case .decided, .acknowledged:
            #expect(answered(&book, at: decided + .milliseconds(1999)) == "waits")
            #expect(answered(&book, at: decided + .seconds(2)) == "confirmed")
        }
        #expect(book.isEmpty)
        #expect(book.size == 0)
    }

    @Test("both have answered", arguments: Stage.allCases)
    func answering(_ stage: Stage) {
        var book = book(stage)
        book.heardAcknowledgement("a", upTo: 1)
        book.heardAcknowledgement("b", upTo: 3)
        let isDecided = stage == .decided || stage == .acknowledged
        #expect(answered(&book, at: decided) == (isDecided ? "confirmed" : "waits"))
        guard !isDecided else { return }
        book.echoed(1)
        book.decide(living: living(["a", "b"]), now: decided)
        #expect(answered(&book, at: decided) == "confirmed")
    }

    @Test("an answer to an earlier fence is none")
    func earlier() {
        var book = book(.decided, edges: ["a"])
        book.heardAcknowledgement("a", upTo: 0)
        #expect(answered(&book, at: decided) == "waits")
    }

    @Test("an echo leads on only where it was waited for", arguments: Stage.allCases)
    func echo(_ stage: Stage) {
        var book = book(stage)
        book.echoed(1)
        book.echoed(7)
        book.decide(living: living([]), now: decided)
        let wasDecided = stage == .decided || stage == .acknowledged
        #expect(answered(&book, at: decided) == (wasDecided ? "waits" : "confirmed"))
    }

    @Test("nothing is decided without the echo, or without a view", arguments: Stage.allCases)
    func deciding(_ stage: Stage) {
        var book = book(stage)
        book.decide(living: nil, now: decided)
        let isUndecided = stage != .decided && stage != .acknowledged
        #expect(book.undecidedSince == (isUndecided ? start : nil))
        book.decide(living: living([]), now: decided)
        #expect(book.undecidedSince == (stage == .opened || stage == .acknowledgedEarly ? start : nil))
    }

    @Test("whoever was alive when it was opened is waited for, though dead by now")
    func deadSince() {
        var book = book(.echoed)
        book.decide(living: living(["a"], until: start + .nanoseconds(1)), now: decided)
        #expect(answered(&book, at: decided) == "waits")
        book = self.book(.echoed)
        book.decide(living: living(["a"], until: start), now: decided)
        #expect(answered(&book, at: decided) == "confirmed")
    }

    @Test("where there may be strangers nobody's answer makes it quick", arguments: Stage.allCases)
    func strangers(_ stage: Stage) {
        guard stage == .echoed || stage == .opened || stage == .acknowledgedEarly else { return }
        var book = book(stage)
        book.echoed(1)
        book.decide(living: living(["a"], knowsSince: start + .nanoseconds(1)), now: decided)
        book.heardAcknowledgement("a", upTo: 1)
        #expect(book.due == start + .milliseconds(100))
        #expect(answered(&book, at: decided + .milliseconds(2999)) == "waits")
        #expect(answered(&book, at: decided + .seconds(3)) == "confirmed")
    }

    @Test("who ends properly is not waited for", arguments: Stage.allCases)
    func farewell(_ stage: Stage) {
        var book = book(stage)
        book.heardFarewell("a")
        book.heardFarewell("b")
        let isDecided = stage == .decided || stage == .acknowledged
        #expect(answered(&book, at: decided) == (isDecided ? "confirmed" : "waits"))
    }

    @Test("what is not answered is published again, from time to time", arguments: Stage.allCases)
    func resending(_ stage: Stage) {
        var book = book(stage)
        #expect(book.resend(now: start + .milliseconds(99)).isEmpty)
        #expect(book.resend(now: start + .milliseconds(100)).map(\.sequence) == [1])
        #expect(book.resend(now: start + .milliseconds(150)).isEmpty)
        #expect(book.due == start + .milliseconds(300))
        #expect(book.resend(now: start + .milliseconds(299)).isEmpty)
        #expect(book.resend(now: start + .milliseconds(300)).map(\.sequence) == [1])
        #expect(book.due == start + .milliseconds(700))
    }

    @Test("nothing is due when nothing is pending")
    func idle() {
        var book = FenceBook(Self.settings)
        #expect(book.isEmpty)
        #expect(book.due == nil)
        #expect(book.undecidedSince == nil)
        book.echoed(1)
        book.heardFarewell("a")
        book.heardAcknowledgement("a", upTo: 1)
        #expect(book.settle(now: .distantFuture) == ([], []))
        #expect(book.size == 0)
    }
}
