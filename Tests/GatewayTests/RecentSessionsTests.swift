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
        #expect(recent.lastConfirmed(user: user, session: "s1") == moment)
        recent.confirm(reference, at: moment + .seconds(1))
        #expect(recent.lastConfirmed(user: user, session: "s1") == moment + .seconds(1))
        recent.removeAll()
        #expect(recent.lastConfirmed(user: user, session: "s1") == nil)
        #expect(recent.doubt(user).isEmpty)
    }
}
