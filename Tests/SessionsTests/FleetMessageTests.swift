// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Sessions
import Testing

@testable import RedisSessions

@Suite("What gateways say to each other")
struct FleetMessageTests {
    static let messages: [(FleetMessage, String)] = [
        (.fence(origin: "g-1", []), "fence g-1"),
        (
            .fence(origin: "g-1", [.init(sequence: 7, user: UserID(name: "u"), session: "s", reason: .logout)]),
            "fence g-1\n7 logout {u} s"
        ),
        (
            .fence(
                origin: "g-1",
                [
                    .init(sequence: 1, user: UserID(namespace: "idp", name: "a b"), session: nil, reason: .logoutAll),
                    .init(sequence: 2, user: UserID(name: "}\n{"), session: "x y\n3 logout {v} z", reason: .refreshReuse),
                ]),
            "fence g-1\n1 logout_all {idp/a%20b}\n2 refresh_reuse {%7D%0A%7B} x%20y%0A3%20logout%20%7Bv%7D%20z"
        ),
        (.acknowledgement(edge: "g-2", upTo: 9_999_999_999_999_999_999), "ack g-2 9999999999999999999"),
        (.heartbeat(edge: "g-2", 0), "beat g-2 0"),
        (.farewell(edge: "g-2"), "bye g-2"),
    ]

    @Test("is spelled so, and understood again", arguments: messages)
    func spelling(_ message: FleetMessage, _ text: String) {
        #expect(String(decoding: message.bytes, as: UTF8.self) == text)
        #expect(FleetMessage(Array(text.utf8)) == message)
    }

    @Test("for every reason that there is", arguments: RevokeReason.allCases)
    func reasons(_ reason: RevokeReason) {
        let message = FleetMessage.fence(origin: "g", [.init(sequence: 1, user: UserID(name: "u"), session: "s", reason: reason)])
        #expect(FleetMessage(message.bytes) == message)
    }

    @Test(
        "anything else is ignored",
        arguments: [
            "", " ", "\n", "fence", "fence ", "fence  g", "fence g ", "fence g\n", "fence g\n\n", "FENCE g", "fence g h", "fence g\u{1}",
            "fence g\u{7f}",
            "fence g\n1 logout {u}  s", "fence g\n1 logout {u} ", "fence g\n1 logout {u} s t", "fence g\n1 logout u s", "fence g\n1 logout {} s",
            "fence g\n1 logout {u/} s", "fence g\n1 logout {/u} s", "fence g\n1 nonsense {u} s", "fence g\n-1 logout {u} s",
            "fence g\n+1 logout {u} s",
            "fence g\n01234567890123456789 logout {u} s", "fence g\n99999999999999999999 logout {u} s", "fence g\n logout {u} s",
            "fence g\n1 logout {u%zz} s", "fence g\n1 logout {u%4a} s", "fence g\n1 logout {%FF} s", "fence g\n1 logout {u} %C0%80",
            "fence g\r\n1 logout {u} s",
            "ack g", "ack g ", "ack g x", "ack g 1 2", "ack g 1\n", "ack g 1\nack g 2", "beat g", "beat g 1 2", "beat g -1", "beat g 1\n", "bye",
            "bye g h",
            "bye g\nbye h", "hello g",
        ])
    func odd(_ text: String) {
        #expect(FleetMessage(Array(text.utf8)) == nil)
    }

    @Test("one line that is wrong makes the whole message wrong: what it said is not known")
    func partly() {
        #expect(FleetMessage(Array("fence g\n1 logout {u} s\n2 logout".utf8)) == nil)
    }

    @Test("ids and messages have a longest size")
    func limits() {
        let id = String(repeating: "i", count: 128)
        #expect(FleetMessage(Array("bye \(id)".utf8)) == .farewell(edge: id))
        #expect(FleetMessage(Array("bye \(id)i".utf8)) == nil)
        let line = "\n1 logout {u} s"
        let fitting = (FleetMessage.byteLimit - 7) / line.utf8.count
        func message(_ lines: Int) -> [UInt8] { Array(("fence g" + String(repeating: line, count: lines)).utf8) }
        #expect(FleetMessage(message(fitting)) != nil)
        #expect(FleetMessage(message(fitting + 1)) == nil)
    }
}
