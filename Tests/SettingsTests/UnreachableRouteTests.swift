// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import Settings

@Suite("Routes that no request reaches")
struct UnreachableRouteTests {
    private let folder: ConfigurationFolder

    init() throws { folder = try ConfigurationFolder() }

    /// The warnings about these routes; each is what stands between the braces.
    private func warnings(_ routes: [String], _ more: String = "") throws -> [String] {
        let lines = routes.map { "  - {upstream: a, \($0)}" }.joined(separator: "\n")
        let reading = try folder.read("upstreams: {a: {endpoints: [\"a:1\"]}}\n\(more)\nroutes:\n\(lines)\n")
        #expect(reading.lines == [], "\(routes)")
        return reading.warnings
    }

    @Test(
        "One behind another that takes all of it is warned of",
        arguments: [
            ["path: /a", "path: /a"],
            ["path: /a", "path: /a/"],
            ["path: /a/", "path: /a"],
            ["path: /a", "path: /a/b"],
            ["path: /a", "path: /a, exact: true"],
            ["path: /a", "path: /a, methods: [GET], hosts: [x.example]"],
            ["path: /", "path: /"],
            ["path: /", "path: /, exact: true"],
            ["path: /", "path: /a/b"],
            ["path: /a, exact: true", "path: /a, exact: true"],
            ["path: /a, methods: [GET, HEAD]", "path: /a, methods: [HEAD]"],
            ["path: /a, hosts: [X.example, \"*.y.example\"]", "path: /a/b, hosts: [\"*.y.example\", x.example]"],
        ])
    func unreachable(routes: [String]) throws {
        #expect(try warnings(routes) == ["routes[1].path: is never reached: routes[0] takes all of it"])
    }

    @Test(
        "One that some request reaches is not",
        arguments: [
            ["path: /a/b", "path: /a"],
            ["path: /a", "path: /ab"],
            ["path: /a, exact: true", "path: /a"],
            ["path: /a, exact: true", "path: /a/, exact: true"],
            ["path: /a, methods: [GET]", "path: /a"],
            ["path: /a, methods: [GET]", "path: /a, methods: [GET, HEAD]"],
            ["path: /a, hosts: [x.example]", "path: /a"],
            ["path: /a, hosts: [x.example]", "path: /a, hosts: [x.example, y.example]"],
            ["path: /a, methods: [GET]", "path: /a, hosts: [x.example]"],
            ["path: /, exact: true", "path: /"],
        ])
    func reachable(routes: [String]) throws {
        #expect(try warnings(routes) == [])
    }

    @Test("The first that takes it is named, and one that stands behind several is told once")
    func first() throws {
        #expect(
            try warnings(["path: /x", "path: /a", "path: /", "path: /a/b"]) == ["routes[3].path: is never reached: routes[1] takes all of it"])
    }

    @Test("One below the session API is warned of, as that comes first, unless there is none")
    func sessionAPI() throws {
        let warning = "is never reached: the session API, sessions.api_path, comes before all routes"
        #expect(try warnings(["path: /auth/sso", "path: /authors"]) == ["routes[0].path: \(warning)"])
        #expect(try warnings(["path: /sso/x", "path: /auth"], "sessions: {api_path: /sso}") == ["routes[0].path: \(warning)"])
        #expect(try warnings(["path: /auth/sso"], "sessions: {api_path: null}") == [])
    }

    @Test("The warning says where the path stands")
    func place() throws {
        let reading = try folder.read("upstreams: {a: {endpoints: [\"a:1\"]}}\nroutes:\n  - {path: /, upstream: a}\n  - {upstream: a, path: /b}\n")
        #expect(reading.loaded?.warnings.map { [$0.line, $0.column] } == [[4, 25]])
    }
}
