// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOEmbedded
import Testing

@testable import Sessions

@Suite("References to sessions")
struct SharedReferenceTests {
    private let lookup = SessionLookup(eventLoop: EmbeddedEventLoop())
    private let alice = UserID(name: "alice")

    private func reference(_ session: String, _ kind: SessionKind = .registered, issuedAt: Int64? = nil, of user: UserID? = nil) -> SessionReference {
        lookup.reference(user: user ?? alice, session: session, kind: kind, issuedAt: issuedAt)
    }

    @Test("are shared by tokens that ask the same, and by no others")
    func shared() {
        let registered = reference("a", issuedAt: 1), revocable = reference("a", .revocable, issuedAt: 1)
        #expect(reference("a", issuedAt: 2) === registered && reference("a", .revocable, issuedAt: 1) === revocable)
        let others = [
            reference("b"), reference("A"), reference("a", .revocable, issuedAt: 2), reference("a", .revocable),
            reference("a", of: UserID(namespace: "idp", name: "alice")), reference("a", of: UserID(name: "bob")),
        ]
        let all = [registered, revocable] + others
        for (index, one) in all.enumerated() {
            for other in all[..<index] { #expect(one !== other && !one.asksTheSame(as: other) || one.user != other.user) }
        }
        // The same to Unicode, and two sessions to Redis.
        let composed = reference("\u{e9}")
        #expect(reference("e\u{301}") !== composed)
        withExtendedLifetime((all, composed)) {}
    }

    @Test("go with the last that uses them, whichever of a user's goes first", arguments: [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]])
    func gone(order: [Int]) {
        var references: [SessionReference?] = ["a", "b", "c"].map { reference($0) }
        for place in order {
            #expect(lookup.knownSessions(of: alice) != nil)
            weak let going = references[place]
            references[place] = nil
            #expect(going == nil)
            // The others are still found.
            for (index, session) in ["a", "b", "c"].enumerated() {
                guard let left = references[index] else { continue }
                #expect(reference(session) === left)
            }
        }
        #expect(lookup.knownSessions(of: alice) == nil)
        let again = reference("a")
        #expect(lookup.knownSessions(of: alice) === again.sessions)
    }

    @Test("are looked for among few, so that a user with many sessions costs no more")
    func bounded() {
        let many = (0..<100).map { reference("\($0)") }
        #expect(reference("99") === many[99] && reference("92") === many[92])
        #expect(reference("0") !== many[0])
    }
}
