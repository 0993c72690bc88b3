// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import Testing
import Tokens

@testable import Control

@Suite("Refresh")
struct RefreshTests {
    @Test("gives new tokens of the same session, and the same successor to a retry")
    func rotation() async throws {
        try await ControlWorld.run { world in
            let first = try await world.login()
            let second = try Login(await world.refresh(first.refresh))
            #expect(second.session == first.session && second.refresh != first.refresh && second.access != first.access)
            #expect(try Login(await world.refresh(first.refresh)).refresh == second.refresh)
            let third = try Login(await world.refresh(second.refresh))
            #expect(third.refresh != second.refresh && third.refresh != first.refresh)
        }
    }

    @Test("of an old token ends the session, closes what is open of it, and leaves an audit line")
    func reuse() async throws {
        try await ControlWorld.run { world in
            let first = try await world.login()
            let second = try Login(await world.refresh(first.refresh))
            world.clock.advance(milliseconds: 11_000)
            let reply = try await world.refresh(first.refresh)
            #expect(reply.status == 401 && reply.code == "refresh_reused" && reply.fields["Set-Cookie"].isEmpty)
            #expect(world.store.endings.all == [.init(user: UserID(name: "alice"), session: first.session, reason: .refreshReuse)])
            #expect(try await world.refresh(second.refresh).code == "session_revoked")
            #expect(world.audit.all.contains { $0.contains("refresh_reuse") })
        }
    }

    @Test("of a token that was never given out changes nothing")
    func madeUp() async throws {
        try await ControlWorld.run { world in
            let login = try await world.login()
            let other = try SigningKey.generate(.eddsa).key
            let forged = RefreshToken(user: "alice", session: login.session, key: other).text
            for token in [forged, "", "pcr_", "pcr_AAAA", login.access, login.refresh + "=", "pcr_" + String(repeating: "A", count: 5000)] {
                #expect(try await world.refresh(token).code == "token_malformed")
            }
            #expect(try await world.refresh(login.refresh).status == 200)
        }
    }

    @Test("says what is wrong: no token, two of them, an ended session, its time over")
    func refusals() async throws {
        try await ControlWorld.run { world in
            let one = try await world.login(), two = try await world.login()
            #expect(try await world.call(.POST, "/auth/refresh").code == "bad_request")
            #expect(try await world.call(.POST, "/auth/refresh", json: #"{"refresh_token":1}"#).code == "bad_request")
            let differ = try await world.call(
                .POST, "/auth/refresh", cookie: "__Secure-portcullis-refresh=\(two.refresh)", json: #"{"refresh_token":"\#(one.refresh)"}"#)
            #expect(differ.code == "token_ambiguous")
            _ = try await world.call(.POST, "/auth/logout", token: one.access)
            #expect(try await world.refresh(one.refresh).code == "session_revoked")
            world.clock.advance(milliseconds: 31 * 86_400_000)
            #expect(try await world.refresh(two.refresh).code == "token_expired")
        }
    }

    @Test("needs no key that signed the token, as long as it is the current one; a retry finds what the old key gave")
    func keyReplaced() async throws {
        let old = try SigningKey.generate(.eddsa).key, new = try SigningKey.generate(.es256).key
        try await ControlWorld.run({ $0.signingKey = old }) { world in
            let login = try await world.login(), other = try await world.login()
            let second = try Login(await world.refresh(login.refresh))
            world.plane.update(
                try ControlWorld.configuration { configuration in
                    configuration.signingKey = new
                    configuration.previousKeys = [old]
                })
            #expect(try Login(await world.refresh(login.refresh)).refresh == second.refresh, "the retry's successor came from the key before")
            world.plane.update(try ControlWorld.configuration { $0.signingKey = new })
            #expect(try await world.refresh(second.refresh).status == 200)
            #expect(try await world.refresh(other.refresh).status == 200)
            #expect(try await world.refresh(second.refresh).status == 401, "no longer the current one, and nobody can prove that it was")
        }
    }

    @Test("by cookie rotates both cookies")
    func cookies() async throws {
        try await ControlWorld.run { world in
            let login = try await world.login()
            let reply = try await world.call(
                .POST, "/auth/refresh", cookie: "a=b; __Secure-portcullis-refresh=\(login.refresh)", fields: [("Origin", "https://app.example")])
            #expect(reply.status == 200 && reply.cookies["__Secure-portcullis-refresh"]?.value == reply.string("refresh_token"))
            #expect(reply.cookies["__Host-portcullis"]?.value == reply.string("access_token"))
        }
    }

    @Test("never lets an access token outlive the session")
    func sessionEnd() async throws {
        try await ControlWorld.run({ configuration in
            configuration.rules.sessionLifetime = 400_000
            configuration.rules.refreshLifetime = 400_000
        }) { world in
            world.clock.stop()
            let login = try await world.login()
            world.clock.advance(milliseconds: 200_000)
            let reply = try await world.refresh(login.refresh)
            #expect(reply.json?["expires_in"]?.number?.integer == 200)
            #expect(reply.cookies["__Host-portcullis"]?.attributes.contains("max-age=200") == true)
            #expect(reply.cookies["__Secure-portcullis-refresh"]?.attributes.contains("max-age=200") == true)
        }
    }

    @Test("tokens survive their spelling, and nothing else does")
    func spelling() throws {
        let key = try SigningKey.generate(.eddsa).key
        let token = RefreshToken(user: "jörg/ö", session: "s1", key: key)
        #expect(RefreshToken(token.text) == token && token.isProven(by: [key]))
        #expect(token.successor(key: key) == token.successor(key: key) && token.successor(key: key).isProven(by: [key]))
        for index in token.text.indices {
            var text = token.text
            text.replaceSubrange(index...index, with: text[index] == "A" ? "B" : "A")
            let changed = RefreshToken(text)
            #expect(changed == nil || changed?.isProven(by: [key]) == false)
        }
        for count in 0..<token.text.count { #expect(RefreshToken(String(token.text.prefix(count)))?.isProven(by: [key]) != true) }
    }
}
