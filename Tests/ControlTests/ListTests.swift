// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import Testing
import Tokens

@testable import Control

@Suite("Own sessions")
struct ListTests {
    @Test("are listed with every member, the current one marked, and no secret")
    func list() async throws {
        try await ControlWorld.run { world in
            let phone = try await world.login(device: "phone")
            world.clock.advance(milliseconds: 5)
            let mine = try await world.login()
            _ = try await world.login("bob")
            _ = try await world.call(.POST, "/auth/logout", token: phone.access)
            let reply = try await world.call(.GET, "/auth/sessions", token: mine.access)
            let entries = try #require(reply.json?["sessions"]?.array).compactMap(\.object)
            #expect(entries.compactMap { $0["session_id"]?.string } == [mine.session, phone.session])
            #expect(entries.map { $0["current"]?.boolean } == [true, false] && entries.map { $0["revoked"]?.boolean } == [false, true])
            #expect(entries[1]["device"]?.string == "phone" && entries[1]["revoke_reason"]?.string == "logout" && entries[0]["revoked_at"] == .null)
            #expect(
                entries[0].members.map(\.name) == [
                    "session_id", "current", "device", "ip", "user_agent", "created_at", "last_seen_at", "expires_at", "revoked", "revoked_at",
                    "revoke_reason",
                ])
            #expect(!reply.text.contains(mine.refresh) && !reply.text.contains("hash") && reply.fields["Cache-Control"] == ["no-store"])
        }
    }

    @Test("the current one is shown, also without a record")
    func current() async throws {
        try await ControlWorld.run { world in
            let login = try await world.login(device: "phone")
            let reply = try await world.call(.GET, "/auth/session", token: login.access)
            #expect(reply.status == 200 && reply.string("session_id") == login.session && reply.string("device") == "phone")
            #expect(try await world.call(.HEAD, "/auth/session", token: login.access).status == 200)
            #expect(try await world.call(.GET, "/auth/session", token: login.access, cookie: "__Host-portcullis=x").code == "token_ambiguous")
            #expect(
                try await world.call(.GET, "/auth/session", cookie: "__Host-portcullis=").code == "token_malformed", "an empty cookie is a credential"
            )
            #expect(try await world.call(.GET, "/auth/session").code == "token_missing")
        }
    }

    @Test("have ids of 128 random bits that tell nothing: not whose they are, nor which came first")
    func ids() {
        let ids = (0..<10_000).map { _ in SessionService.makeID() }
        #expect(Set(ids).count == ids.count)
        #expect(ids.allSatisfy { Base64URL.decode(Array($0.utf8))?.count == 16 })
        #expect(Set(ids.map { $0.prefix(8) }).count == ids.count, "no two begin alike")
        // As random numbers do: half of them are greater than the one before, give or take six standard deviations.
        let rising = zip(ids, ids.dropFirst()).count { $0 < $1 }
        #expect((4_827...5_173).contains(rising), "\(rising)")
    }

    @Test("can be ended from the list; what is unknown, another's or no id at all is equally not found")
    func ending() async throws {
        try await ControlWorld.run { world in
            let mine = try await world.login(), other = try await world.login(), bob = try await world.login("bob")
            for _ in 0..<2 { #expect(try await world.call(.DELETE, "/auth/sessions/\(other.session)", token: mine.access).status == 204) }
            #expect(world.store.record(other.session, of: UserID(name: "alice"))?.revokeReason == .user)
            var bodies: [String] = []
            for session in [bob.session, "AAAAAAAAAAAAAAAAAAAAAA", "x", "%2e%2e%20", String(repeating: "a", count: 1000), "%00"] {
                let reply = try await world.call(.DELETE, "/auth/sessions/\(session)", token: mine.access)
                #expect(reply.status == 404 && reply.code == "session_not_found", "\(session)")
                bodies.append(reply.text)
            }
            #expect(Set(bodies).count == 1)
            let own = try await world.call(.DELETE, "/auth/sessions/\(mine.session)", token: mine.access)
            #expect(own.status == 204 && own.cookies["__Host-portcullis"]?.value == "")
            #expect(world.store.record(bob.session, of: UserID(name: "bob"))?.active == true)
        }
    }
}
