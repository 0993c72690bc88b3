// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Testing

@testable import RedisSessions

@Suite("The view of the fleet")
struct FleetViewTests {
    /// What is known of one gateway, `a`.
    enum Stage: CaseIterable {
        case unheard, heard, known, gone
    }

    private let start = NIODeadline.uptimeNanoseconds(5_000_000_000)
    private let assumed = TimeAmount.seconds(1)
    private var long: TimeAmount { .hours(1) }

    private func view(_ stage: Stage, isRead: Bool = true) -> FleetView {
        var view = FleetView(assumed: assumed)
        view.subscribed(now: start)
        if isRead { view.completed(undisturbed: long) }
        switch stage {
        case .unheard: break
        case .heard: #expect(view.heard("a", now: start) == true)
        case .known:
            #expect(view.heard("a", now: start) == true)
            view.learned("a", staleness: .seconds(2), now: start)
        case .gone:
            #expect(view.heard("a", now: start) == true)
            view.notFound("a")
        }
        return view
    }

    private func until(_ view: FleetView) -> NIODeadline? { view.living()?.edges.first { $0.edge == "a" }?.until }

    @Test("nobody is known before all that have a heartbeat are read", arguments: Stage.allCases)
    func unread(_ stage: Stage) {
        #expect(view(stage, isRead: false).living() == nil)
    }

    @Test("one that was heard of is unknown until its heartbeat is read, or is gone", arguments: Stage.allCases)
    func living(_ stage: Stage) {
        let view = view(stage)
        switch stage {
        case .unheard: #expect(view.living()?.edges.isEmpty == true)
        case .heard: #expect(view.living() == nil)
        case .known: #expect(until(view) == start + .seconds(2))
        case .gone: #expect(until(view) == start + assumed)
        }
        #expect(view.isUnknown("a") == (stage == .heard))
    }

    @Test("whoever is heard again lives longer, and is asked about once", arguments: Stage.allCases)
    func hearing(_ stage: Stage) {
        var view = view(stage)
        #expect(view.heard("a", now: start + .milliseconds(500)) == (stage == .unheard))
        if stage == .known { #expect(until(view) == start + .milliseconds(2500)) }
        if stage == .gone { #expect(until(view) == start + .milliseconds(1500)) }
    }

    @Test("what its heartbeat says is how long it lives from now", arguments: Stage.allCases)
    func learning(_ stage: Stage) {
        var view = view(stage)
        view.learned("a", staleness: .seconds(10), now: start)
        #expect(until(view) == start + .seconds(10))
        view.learned("a", staleness: .hours(5), now: start)
        #expect(until(view) == start + FleetView.longestStaleness)
        view.learned("b", staleness: nil, now: start)
        #expect(view.living()?.edges.first { $0.edge == "b" }?.until == start + FleetView.longestStaleness)
    }

    @Test("what is learned makes nobody die sooner")
    func learningLess() {
        var view = view(.known)
        view.learned("a", staleness: .milliseconds(100), now: start)
        #expect(until(view) == start + .seconds(2))
    }

    @Test("a farewell takes one away at once", arguments: Stage.allCases)
    func leaving(_ stage: Stage) {
        var view = view(stage)
        view.left("a")
        #expect(view.living()?.edges.isEmpty == true)
        #expect(view.size == 0)
    }

    @Test("a key that is gone takes nobody away", arguments: Stage.allCases)
    func missing(_ stage: Stage) {
        var view = view(stage)
        let before = until(view)
        view.notFound("a")
        #expect(until(view) == (stage == .heard ? start + assumed : before))
    }

    @Test("a lost connection takes nobody away, but the view has to be read again", arguments: Stage.allCases)
    func losing(_ stage: Stage) {
        var view = view(stage)
        let size = view.size
        view.lost()
        #expect(view.living() == nil)
        view.completed(undisturbed: long)
        #expect(view.living() == nil)
        view.subscribed(now: start + .milliseconds(1))
        #expect(view.living() == nil)
        view.completed(undisturbed: long)
        #expect(view.size == size)
        if stage == .known { #expect(until(view) == start + .seconds(2)) }
    }

    @Test("only what is over at that moment is forgotten", arguments: Stage.allCases)
    func forgetting(_ stage: Stage) {
        var view = view(stage)
        let end = start + (stage == .known ? .seconds(2) : assumed)
        view.forget(before: end - .nanoseconds(1))
        #expect((view.size > 0) == (stage != .unheard))
        view.forget(before: end)
        #expect(view.size == 0)
    }

    @Test("after a flush it is known from max_staleness after the subscription who is there, else at once")
    func young() {
        var view = view(.known)
        #expect(view.living()?.knowsSince == .uptimeNanoseconds(0))
        view.completed(undisturbed: assumed - .nanoseconds(1))
        // As long as for whoever counts longest of those that are known.
        #expect(view.living()?.knowsSince == start + .seconds(2))
        #expect(view.living()?.assumed == .seconds(2))
    }

    @Test("of one that has not been read it is assumed that it counts as long as any that is known, and no shorter than ourselves")
    func unreadCountsLong() {
        var view = view(.known)
        #expect(view.heard("b", now: start) == true)
        view.notFound("b")
        #expect(view.living()?.edges.first { $0.edge == "b" }?.until == start + .seconds(2))
        view.left("a")
        view.left("b")
        #expect(view.living()?.assumed == assumed)
    }
}
