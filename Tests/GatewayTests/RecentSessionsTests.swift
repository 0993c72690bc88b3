// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import NIOEmbedded
import Sessions
import Testing

@testable import Gateway

@Suite("Sessions that the store has confirmed")
struct RecentSessionsTests {
    private let user = UserID(name: "alice")
    private let moment = NIODeadline.uptimeNanoseconds(5_000_000_000)

    @Test("count from the latest confirmation, in whatever order they are told, until everything may have been removed")
    func latest() {
        let lookup = SessionLookup(eventLoop: EmbeddedEventLoop())
        let reference = lookup.reference(user: user, session: "s1", kind: .registered, issuedAt: nil), recent = RecentSessions()
        recent.confirm(reference, at: moment)
        // A remembered answer is of some time before.
        recent.confirm(reference, at: moment - .seconds(1))
        #expect(recent.lastConfirmed(user: user, reference.questionKey) == moment)
        recent.confirm(reference, at: moment + .seconds(1))
        #expect(recent.lastConfirmed(user: user, reference.questionKey) == moment + .seconds(1))
        recent.removeAll()
        #expect(recent.lastConfirmed(user: user, reference.questionKey) == nil)
        #expect(recent.doubt(user).isEmpty)
    }

    @Test("count for what was asked alone: not for an earlier token, another kind of session, or another spelling of the id")
    func questions() {
        let lookup = SessionLookup(eventLoop: EmbeddedEventLoop()), recent = RecentSessions()
        func reference(_ session: String, _ kind: SessionKind = .revocable, issuedAt: Int64 = 200) -> SessionReference {
            lookup.reference(user: user, session: session, kind: kind, issuedAt: issuedAt)
        }
        let confirmed = reference("\u{e9}")
        let others = [reference("\u{e9}", issuedAt: 100), reference("\u{e9}", .registered), reference("e\u{301}")]
        recent.confirm(confirmed, at: moment)
        #expect(others.allSatisfy { recent.lastConfirmed(user: user, $0.questionKey) == nil })
        for other in others { recent.confirm(other, at: moment) }
        #expect(recent.doubt(user).count == 4)
        #expect(recent.lastConfirmed(user: user, confirmed.questionKey) == nil)
        for one in others + [confirmed] { recent.confirm(one, at: moment) }
        recent.remove(user: user, session: "\u{e9}")
        #expect(([confirmed] + others).map { recent.lastConfirmed(user: user, $0.questionKey) } == [nil, nil, nil, moment])
    }
}
