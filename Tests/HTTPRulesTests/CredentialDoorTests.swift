// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import Control
@testable import Gateway

@Suite("Credentials are read alike by the data plane and the control plane")
struct CredentialDoorTests {
    private static let cookie = CookieRules().accessName

    @Test("Both look for the cookie of the same name")
    func names() {
        #expect(GatewayConfiguration().accessCookie == CookieRules().accessName)
    }

    @Test(
        "An Authorization field says the same at both doors",
        arguments: [
            ("Bearer abc", .bearer("abc")), ("bearer abc", .bearer("abc")), ("BeArEr abc", .bearer("abc")), ("Bearer   abc", .bearer("abc")),
            ("Bearer", .bearer("")), ("Bearer ", .bearer("")), ("Bearer abc def", .bearer("abc def")), ("Bearer abc,def", .bearer("abc,def")),
            ("Bearer \tabc", .bearer("\tabc")), ("Bearer\tabc", .none), ("Bearerabc", .none), ("Bearer,abc", .none), ("Bear abc", .none),
            ("Basic abc", .none), ("Negotiate", .none), ("abc", .none), ("", .none), ("Bearer\u{a0}abc", .none), ("ＢＥＡＲＥＲ abc", .none),
            ("Bearer Bearer abc", .bearer("Bearer abc")),
        ] as [(String, BothDoors.Finding)])
    func authorization(value: String, finding: BothDoors.Finding) async throws {
        let doors = BothDoors(fields: [("Authorization", value)])
        #expect(try doors.dataPlaneCredential() == finding)
        #expect(try await doors.controlPlaneCredential() == finding)
    }

    @Test(
        "A Cookie field says the same at both doors",
        arguments: [
            ("%=abc", .cookie("abc")), ("a=b; %=abc; c=d", .cookie("abc")), ("a=b;%=abc;c=d", .cookie("abc")), ("%=abc;", .cookie("abc")),
            (";; %=abc ;;", .cookie("abc")), ("% =abc", .cookie("abc")), ("%= abc", .cookie("abc")), ("%\t=\tabc\t", .cookie("abc")),
            ("\t%=abc", .cookie("abc")), ("%=a=b=", .cookie("a=b=")), ("%=", .cookie("")), ("%", .cookie("")), ("% ", .cookie("")),
            ("%=\"abc\"", .cookie("\"abc\"")), ("%=a b", .cookie("a b")), ("%=é", .cookie("é")),
            ("%=abc; %=abc", .ambiguous), ("%=abc; % =def", .ambiguous), ("%; %=abc", .ambiguous), ("%=;%=abc", .ambiguous),
            ("x%=abc", .none), ("%x=abc", .none), ("=%", .none), ("a=%=abc", .none), ("a=b", .none), ("", .none), (";", .none), ("\"%\"=abc", .none),
            ("%=abc, a=b", .cookie("abc, a=b")), ("a=b, %=abc", .none),
        ] as [(String, BothDoors.Finding)])
    func cookies(value: String, finding: BothDoors.Finding) async throws {
        let value = value.split(separator: "%", omittingEmptySubsequences: false).joined(separator: Self.cookie)
        let doors = BothDoors(fields: [("Cookie", value)])
        #expect(try doors.dataPlaneCredential() == finding)
        #expect(try await doors.controlPlaneCredential() == finding)
    }

    @Test("A cookie's name in another case is another cookie at both doors")
    func cookieCase() async throws {
        let doors = BothDoors(fields: [("Cookie", "\(Self.cookie.uppercased())=abc")])
        #expect(try doors.dataPlaneCredential() == .none)
        #expect(try await doors.controlPlaneCredential() == .none)
    }

    @Test(
        "Two credentials are none at both doors",
        arguments: [
            [("Authorization", "Bearer a"), ("Authorization", "Bearer a")], [("Authorization", "Basic a"), ("Authorization", "Bearer b")],
            [("Authorization", "Bearer a"), ("Cookie", "%=a")], [("Cookie", "%=a"), ("Cookie", "%=a")],
            [("Authorization", "Bearer "), ("Cookie", "%")],
        ])
    func two(fields: [(String, String)]) async throws {
        let doors = BothDoors(fields: fields.map { ($0, $1.split(separator: "%", omittingEmptySubsequences: false).joined(separator: Self.cookie)) })
        #expect(try doors.dataPlaneCredential() == .ambiguous)
        #expect(try await doors.controlPlaneCredential() == .ambiguous)
    }

    @Test("Another scheme beside a cookie leaves the cookie at both doors, and cookies of two fields are of one request")
    func beside() async throws {
        for fields in [[("Authorization", "Basic a"), ("Cookie", "\(Self.cookie)=abc")], [("Cookie", "a=b"), ("Cookie", "\(Self.cookie)=abc")]] {
            let doors = BothDoors(fields: fields)
            #expect(try doors.dataPlaneCredential() == .cookie("abc"))
            #expect(try await doors.controlPlaneCredential() == .cookie("abc"))
        }
    }
}
