// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOHTTP1
import TestSupport
import Testing

@testable import Control

@Suite("What clients probe the session API with")
struct ProbingTests {
    private static let posts = ["/auth/login", "/auth/refresh", "/auth/logout"]

    @Test("JSON in 100 000 levels is refused, by its size or by its depth", arguments: posts)
    func deep(target: String) async throws {
        try await ControlWorld.run { world in
            for (opening, levels, status) in [("[", 100_000, 413), (#"{"a":"#, 100_000, 413), ("[", 60_000, 400), (#"{"a":"#, 13_000, 400)] {
                for isInside in [false, true] {
                    let deep = String(repeating: opening, count: levels)
                    let reply = try await world.call(.POST, target, json: isInside ? #"{"device":"# + deep : deep)
                    #expect(reply.status == UInt(status) && reply.code == (status == 413 ? "body_too_large" : "bad_request"))
                }
            }
        }
    }

    @Test("a member that is there twice is refused at any depth and in any spelling", arguments: posts)
    func twice(target: String) async throws {
        try await ControlWorld.run { world in
            let refresh = try await world.login().refresh
            for extra in [
                #""refresh_token":"\#(refresh)","username":"alice","password":"password of alice""#, #""x":1,"x":1"#, #""x":1,"\u0078":1"#,
                #""x":{"y":[{"z":1,"z":2}]}"#,
            ] {
                let body = #"{"username":"alice","password":"password of alice","refresh_token":"\#(refresh)",\#(extra)}"#
                let reply = try await world.call(.POST, target, json: body)
                #expect(reply.status == 400 && reply.code == "bad_request", "\(extra)")
            }
            #expect(try await world.refresh(refresh).status == 200, "nothing has happened")
        }
    }

    @Test("a member of a wrong type is 400 with its name", arguments: ["1", "true", "[]", "{}", "[\"x\"]", "1.5e3"])
    func types(value: String) async throws {
        try await ControlWorld.run { world in
            let good = ["username": "\"alice\"", "password": "\"password of alice\"", "device": "null"]
            for (target, name, others) in [
                ("/auth/login", "username", good), ("/auth/login", "password", good), ("/auth/login", "device", good),
                ("/auth/refresh", "refresh_token", [:]), ("/auth/logout", "refresh_token", [:]), ("/auth/logout-all", "refresh_token", [:]),
            ] {
                let members = others.merging([name: value]) { $1 }.map { #""\#($0)":\#($1)"# }
                let reply = try await world.call(.POST, target, json: "{\(members.joined(separator: ","))}")
                #expect(reply.status == 400 && reply.code == "bad_request", "\(target) \(name)")
                #expect(reply.string("detail")?.contains(name) == true)
            }
        }
    }

    @Test("members that nobody knows are ignored, whatever they hold")
    func unknown() async throws {
        try await ControlWorld.run { world in
            let body = #"{"username":"alice","password":"password of alice","user":"bob","claims":{"sub":"bob"},"ip":"x","":[null]}"#
            let login = try Login(await world.call(.POST, "/auth/login", json: body))
            #expect(login.reply.string("user") == "alice")
        }
    }

    @Test("a body that is packed, or of another type than JSON, or of two types, is 400; parameters of the type do not matter", arguments: posts)
    func encodings(target: String) async throws {
        try await ControlWorld.run { world in
            let refresh = try await world.login().refresh
            let body = #"{"username":"alice","password":"password of alice","refresh_token":"\#(refresh)"}"#
            for fields in [
                [("Content-Encoding", "gzip")], [("Content-Encoding", "identity, gzip")], [("Content-Encoding", "")],
                [("Content-Encoding", "identity"), ("Content-Encoding", "br")], [("Content-Type", "application/json")],
                [("Content-Type", "text/plain")],
            ] {
                let reply = try await world.call(.POST, target, json: body, fields: fields)
                #expect(reply.status == 400 && reply.code == "bad_request", "\(fields)")
            }
            #expect(try await world.call(.POST, target, json: body, fields: [("Content-Encoding", "Identity")]).status < 300)
        }
    }

    @Test("a method that an endpoint does not have is 405 with those that it has, whoever asks and whatever else is wrong")
    func methods() async throws {
        try await ControlWorld.run { world in
            let login = try await world.login()
            let allowed: [String: [String]] = [
                "/auth/login": ["POST"], "/auth/refresh": ["POST"], "/auth/logout": ["POST"], "/auth/logout-all": ["POST"],
                "/auth/session": ["GET", "HEAD"], "/auth/sessions": ["GET", "HEAD"], "/auth/sessions/\(login.session)": ["DELETE"],
                "/.well-known/jwks.json": ["GET", "HEAD"],
            ]
            for (target, names) in allowed {
                for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] where !names.contains(method) {
                    let reply = try await world.call(HTTPMethod(rawValue: method), target, token: login.access)
                    #expect(reply.status == 405 && reply.fields["Allow"] == [names.joined(separator: ", ")], "\(method) \(target) \(reply.status)")
                    if method != "HEAD" { #expect(reply.code == "method_not_allowed") }
                }
            }
            #expect(try await world.call(.GET, "/auth/session", token: login.access).status == 200, "and nothing has ended")
        }
    }
}
