// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import NIOHTTP1
import TestSupport
import Testing
import Tokens

@testable import Control

@Suite("The OpenAPI description")
struct DescriptionTests {
    private static let methods: [HTTPMethod] = [.GET, .HEAD, .POST, .PUT, .PATCH, .DELETE, .OPTIONS, .TRACE]

    /// Methods by path, as a description lists them.
    private static func calls(_ reply: Reply) throws -> [String: Set<String>] {
        #expect(reply.status == 200 && reply.fields["Content-Type"] == ["application/json"] && reply.fields["Cache-Control"] == ["no-store"])
        let paths = try #require(reply.json?["paths"]?.object)
        var calls: [String: Set<String>] = [:]
        for path in paths.members {
            let names = try #require(path.value.object).members.map { $0.name.uppercased() }
            calls[path.name] = Set(names).subtracting(["SERVERS"])
        }
        return calls
    }

    /// Everything of a kind in a document, at any depth.
    private static func texts(_ name: String, in value: JSONValue) -> [String] {
        switch value {
        case .array(let elements): elements.flatMap { texts(name, in: $0) }
        case .object(let object): object.members.flatMap { ($0.name == name ? [$0.value.string].compactMap(\.self) : []) + texts(name, in: $0.value) }
        default: []
        }
    }

    @Test("has exactly the calls that the session API answers: with any other method each is 405 and says which would do, and other paths are 404")
    func sessionCalls() async throws {
        try await ControlWorld.run { world in
            let calls = try Self.calls(await world.call(.GET, "/auth/openapi.json"))
            #expect(calls.count == Set(SessionCall.allCases.map(\.path)).count)
            for (path, described) in calls {
                let target = path.replacing("{sid}", with: "some-session")
                for method in Self.methods {
                    let reply = try await world.call(method, target)
                    try Self.expect(reply, method, described, path)
                }
                #expect(try await world.call(.GET, target + "/below/it").code == "route_not_found")
            }
            #expect(try await world.call(.GET, "/auth/login2").code == "route_not_found")
            #expect(try await world.call(.GET, "/auth").code == "route_not_found")
        }
    }

    @Test("of the admin listener has those of both listeners, and the admin API answers exactly its own")
    func adminCalls() async throws {
        try await ControlWorld.run { world in
            let everything = try Self.calls(await world.admin(.GET, "/openapi.json", token: nil))
            let ofSessions = try Self.calls(await world.call(.GET, "/auth/openapi.json"))
            for (path, described) in ofSessions { #expect(everything[path] == described) }
            #expect(everything.count == ofSessions.count + Set(AdminCall.allCases.map(\.path)).count)
            for (path, described) in everything where ofSessions[path] == nil {
                let target = path.replacing("{user}", with: "alice").replacing("{sid}", with: "some-session")
                for method in Self.methods {
                    let reply = try await world.admin(method, target)
                    try Self.expect(reply, method, described, path)
                    // Without the token nobody learns what there is.
                    let refused = try await world.admin(method, target, token: nil)
                    #expect(target.hasPrefix("/v1/") == (refused.status == 401))
                }
                #expect(try await world.admin(.GET, target + "/below/it").code == "route_not_found")
            }
            #expect(try await world.admin(.GET, "/v1/nothing", token: nil).status == 401)
        }
    }

    private static func expect(_ reply: Reply, _ method: HTTPMethod, _ described: Set<String>, _ path: String) throws {
        let answered = described.contains("GET") ? described.union(["HEAD"]) : described
        guard !answered.contains(method.rawValue) else {
            #expect(reply.status != 405, "\(method) \(path)")
            return
        }
        let allowed = try #require(reply.fields["Allow"].first, "\(method) \(path): \(reply.status)")
        #expect(reply.status == 405 && Set(allowed.split(separator: ", ").map(String.init)) == answered, "\(method) \(path)")
    }

    @Test("has the configuration's api_path, cookie names and limit filled in, follows a reload, and without an api_path has the keys alone")
    func configured() async throws {
        let change: (inout ControlConfiguration) -> Void = {
            $0.apiPath = "/api/session"
            $0.cookies.accessName = "access"
            $0.cookies.refreshName = "refresh"
            $0.tokenByteLimit = 4321
        }
        try await ControlWorld.run(change) { world in
            let reply = try await world.call(.GET, "/api/session/openapi.json")
            let calls = try Self.calls(reply)
            #expect(calls["/api/session/login"] == ["POST"] && calls["/.well-known/jwks.json"] == ["GET"] && calls["/auth/login"] == nil)
            let schemes = try #require(reply.json?["components"]?.object?["securitySchemes"]?.object)
            #expect(schemes["accessCookie"]?.object?["name"]?.string == "access" && schemes["refreshCookie"]?.object?["name"]?.string == "refresh")
            #expect(schemes["adminToken"] == nil)
            #expect(reply.text.contains("\"maxLength\":4321"))

            world.plane.update(
                try ControlWorld.configuration {
                    $0.apiPath = nil
                    $0.cookies.enabled = false
                })
            #expect(try await world.call(.GET, "/api/session/openapi.json").code == "route_not_found")
            let admin = try await world.admin(.GET, "/openapi.json", token: nil)
            #expect(try Self.calls(admin).keys.filter { AdminCall.allCases.map(\.path).contains($0) == false } == ["/.well-known/jwks.json"])
            #expect(!admin.text.contains("accessCookie"))

            // Below the root both listeners would have a description at one path.
            world.plane.update(try ControlWorld.configuration { $0.apiPath = "" })
            #expect(try Self.calls(await world.call(.GET, "/openapi.json"))["/login"] == ["POST"])
            #expect(try Self.calls(await world.admin(.GET, "/openapi.json"))["/openapi.json"] == ["GET"])
        }
    }

    @Test("names no schema that it does not have, has none that nobody names, and says what each code of a problem means")
    func consistent() async throws {
        try await ControlWorld.run { world in
            for reply in [try await world.call(.GET, "/auth/openapi.json"), try await world.admin(.GET, "/openapi.json", token: nil)] {
                let document = try #require(reply.json)
                let schemas = try #require(document["components"]?.object?["schemas"]?.object).members.map { "#/components/schemas/\($0.name)" }
                #expect(Set(Self.texts("$ref", in: .object(document))) == Set(schemas))
                let operations = Self.texts("operationId", in: .object(document))
                #expect(Set(operations).count == operations.count && operations.count > 9)
            }
            let described = SessionCall.allCases.map(\.documentation) + AdminCall.allCases.map(\.documentation)
            let codes = Set(described.flatMap { $0.problems.values.flatMap(\.self) })
            #expect(codes == Set(CallDocumentation.meanings.keys))
        }
    }

    @Test(
        "has what a login is refused with, as it is answered",
        arguments: [
            Refusal.badRequest("x"), .loginFailed, .crossSite, .notFound, .rateLimited, .busy, .draining, .storeUnavailable,
            .upstream(.refused), .upstream(.reset), .upstream(.malformed), .upstream(.timeout),
        ])
    func loginRefusals(refusal: Refusal) throws {
        let status = refusal.status.code
        let described = (SessionCall.login.documentation.problems[status] ?? []) + (CallDocumentation.publicListener[status] ?? [])
        #expect(described.contains(refusal.code), "\(described)")
    }

    @Test("holds no token: its examples are no values that anybody could use")
    func examples() async throws {
        try await ControlWorld.run { world in
            let text = try await world.admin(.GET, "/openapi.json", token: nil).text
            #expect(text.firstMatch(of: /eyJ[\w-]+\./) == nil && text.firstMatch(of: /pcr_[\w-]{8}/) == nil)
            #expect(!text.contains(ControlWorld.adminToken))
        }
    }
}
