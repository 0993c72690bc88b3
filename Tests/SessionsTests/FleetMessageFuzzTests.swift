// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import TestSupport
import Testing

@testable import RedisSessions

/// Whatever another program publishes. What must hold for all bytes: the process lives; what is understood is spelled again as it was, so nothing has two
/// spellings and nothing in a field can become another field; and all that a gateway can mean is understood.
@Suite("Fuzz: what gateways say to each other, and keys that are pushed")
struct FleetMessageFuzzTests {
    private static let texts = FleetMessageTests.messages.map { $0.0.bytes }
    private static let words = [
        "fence ", "ack ", "beat ", "bye ", "\n", " ", "  ", "{", "}", "/", "%", "%0A", "%20", "%7B", "%2", "%ff", "logout", "logout_all",
        "max_per_user",
        "18446744073709551615", "18446744073709551616", "-1", "0", "00", "\r", "\0", "\u{85}", "\u{2028}", "é",
    ].map { Array($0.utf8) }

    @Test("bytes that are understood are spelled so, too")
    func bytes() {
        let share = SeededGenerator.run(rounds: 20_000) { random in
            let bytes = random.mutated(Self.texts, words: Self.words)
            guard let message = FleetMessage(bytes) else { return false }
            let again = FleetMessage(message.bytes)
            #expect(again == message, "\(bytes)")
            // A number may have been written with zeros in front.
            #expect(message.bytes == bytes || message.bytes.count < bytes.count, "\(bytes)")
            return true
        }
        #expect(share > 0.1, "hardly anything was understood")
    }

    @Test("every logout is understood as it was meant, whatever users and sessions are called")
    func meanings() {
        SeededGenerator.run(rounds: 5000) { random in
            func name() -> String {
                String(
                    String.UnicodeScalarView(
                        (0..<Int.random(in: 1...6, using: &random)).compactMap { _ in
                            Bool.random(using: &random)
                                ? Unicode.Scalar(UInt32.random(in: 0...127, using: &random))
                                : Unicode.Scalar(UInt32.random(in: 128...0x2FFFF, using: &random))
                        } + ["x"]))
            }
            let fences = (0..<Int.random(in: 1...3, using: &random)).map { _ in
                FleetMessage.Fence(
                    sequence: UInt64.random(in: 0...9_999_999_999_999_999_999, using: &random),
                    user: UserID(namespace: Bool.random(using: &random) ? name() : "", name: name()),
                    session: Bool.random(using: &random) ? name() : nil,
                    reason: random.pick(RevokeReason.allCases))
            }
            let message = FleetMessage.fence(origin: "g", fences)
            let understood = FleetMessage(message.bytes)
            #expect(understood == message, "\(fences)")
            return understood == message
        }
    }

    @Test("a pushed key means one user or gateway, or nothing that is known")
    func keys() {
        let keys = SessionKeys(prefix: "p:"), fleet = FleetKeys(prefix: Array("p:".utf8), tag: nil)
        let users = [UserID(name: "u"), UserID(namespace: "idp", name: "a/b"), UserID(name: "}{")]
        let texts = users.flatMap { [keys.sessions($0), keys.revoked($0), keys.revokedBefore($0)] } + [fleet.edge("g-1"), fleet.edges]
        let share = SeededGenerator.run(rounds: 20_000) { random in
            let bytes = random.mutated(texts, words: Self.words)
            switch keys.meaning(of: bytes) {
            case .user(let user):
                #expect([keys.sessions(user), keys.revoked(user), keys.revokedBefore(user)].contains(bytes), "\(bytes)")
                return true
            case .edge: return true
            case nil: return false
            }
        }
        #expect(share > 0.1, "hardly anything was understood")
    }
}
