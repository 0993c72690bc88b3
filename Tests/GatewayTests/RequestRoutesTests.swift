// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import Gateway

@Suite("Finding the route")
struct RequestRoutesTests {
    private func match(_ table: RouteTable, _ path: String, host: String = "app.example", method: String = "GET") -> RouteMatch {
        Array(path.utf8).withUnsafeBytes { path in
            Array(host.utf8).withUnsafeBytes { host in
                Array(method.utf8).withUnsafeBytes { table.match(path: path, host: host, method: $0) }
            }
        }
    }

    private func table(_ routes: [RouteConfiguration], sessionAPI: SessionAPIConfiguration? = nil) -> RouteTable {
        RouteTable(routes, sessionAPI: sessionAPI)
    }

    @Test(
        "A path covers itself and whole segments below it",
        arguments: [
            ("/orders", true), ("/orders/", true), ("/orders/1/2", true), ("/ordersx", false), ("/order", false), ("/Orders", false), ("/", false),
            ("/orders%2Fx", false),
        ])
    func segments(path: String, isCovered: Bool) {
        #expect(match(table([StageWorld.route("/orders")]), path) == (isCovered ? .route(0) : .notFound))
    }

    @Test("A slash at the end of a configured path makes no difference")
    func slashAtEnd() {
        let table = table([StageWorld.route("/orders/")])
        #expect(match(table, "/orders") == .route(0))
        #expect(match(table, "/orders/1") == .route(0))
        #expect(match(table, "/ordersx") == .notFound)
    }

    @Test("The root covers every path, but not the asterisk")
    func root() {
        let table = table([StageWorld.route("/")])
        for path in ["/", "/a", "/a/b%2Fc"] { #expect(match(table, path) == .route(0)) }
        for path in ["*", ""] { #expect(match(table, path) == .notFound) }
    }

    @Test("An exact route covers nothing but its path")
    func exact() {
        let table = table([StageWorld.route("/a") { $0.exact = true }, StageWorld.route("/") { $0.exact = true }])
        #expect(match(table, "/a") == .route(0))
        #expect(match(table, "/a/") == .notFound)
        #expect(match(table, "/") == .route(1))
    }

    @Test("The first match wins")
    func first() {
        let table = table([StageWorld.route("/first/second"), StageWorld.route("/first"), StageWorld.route("/first/third")])
        #expect(match(table, "/first/second/x") == .route(0))
        #expect(match(table, "/first/secondx") == .route(1))
        #expect(match(table, "/first/third") == .route(1))
    }

    @Test("A configured path is matched in its normal form")
    func normalForm() {
        let table = table([StageWorld.route("/%7euser/%c3%bc")])
        #expect(match(table, "/~user/%C3%BC") == .route(0))
    }

    @Test(
        "Hosts are compared without case and port, and only with what was sent",
        arguments: [
            ("admin.example", true), ("ADMIN.example", true), ("admin.example:8080", true), ("xadmin.example", false), ("admin.example.evil", false),
            ("[::1]:80", true), ("[::1]", true),
        ])
    func hosts(host: String, isCovered: Bool) {
        let table = table([StageWorld.route("/") { $0.hosts = ["Admin.Example", "[::1]"] }])
        #expect(match(table, "/x", host: host) == (isCovered ? .route(0) : .notFound))
    }

    @Test(
        "A wildcard covers subdomains only",
        arguments: [
            ("a.example.com", true), ("a.b.EXAMPLE.com:1", true), ("example.com", false), (".example.com", false), ("evil-example.com", false),
            ("a.example.com.evil", false),
        ])
    func wildcards(host: String, isCovered: Bool) {
        let table = table([StageWorld.route("/") { $0.hosts = ["*.example.com"] }])
        #expect(match(table, "/x", host: host) == (isCovered ? .route(0) : .notFound))
    }

    @Test("Where only the method differs, all that the matching routes allow is told")
    func methods() {
        let table = table([
            StageWorld.route("/both") { $0.methods = ["GET"] }, StageWorld.route("/both") { $0.methods = ["POST", "GET"] },
            StageWorld.route("/both") { route in
                route.methods = ["PUT"]
                route.hosts = ["other.example"]
            },
        ])
        #expect(match(table, "/both", method: "POST") == .route(1))
        #expect(match(table, "/both", method: "DELETE") == .methodNotAllowed(allow: "GET, POST"))
        #expect(match(table, "/both", method: "HEAD") == .methodNotAllowed(allow: "GET, POST"))
        #expect(match(table, "/both", method: "get") == .methodNotAllowed(allow: "GET, POST"))
        #expect(match(table, "/other", method: "DELETE") == .notFound)
    }

    @Test("The session API and the key set come before all routes")
    func reserved() {
        let routes = [StageWorld.route("/")]
        let table = table(routes, sessionAPI: SessionAPIConfiguration(path: "/auth", socketPath: "/run/x"))
        for path in ["/auth", "/auth/login", "/.well-known/jwks.json"] { #expect(match(table, path, method: "BREW") == .route(1)) }
        for path in ["/authx", "/.well-known/jwks.json/x", "/.well-known"] { #expect(match(table, path) == .route(0)) }
        let withoutAPI = RouteTable(routes, sessionAPI: SessionAPIConfiguration(path: nil, socketPath: "/run/x"))
        #expect(match(withoutAPI, "/auth") == .route(0))
        #expect(match(withoutAPI, "/.well-known/jwks.json") == .route(1))
    }

    @Test("Routes of one path have different names in the metrics")
    func names() throws {
        let world = try StageWorld(routes: [
            StageWorld.route("/a"), StageWorld.route("/b") { $0.methods = ["GET"] }, StageWorld.route("/b") { $0.methods = ["POST"] },
            StageWorld.route("/c") { $0.hosts = ["x"] }, StageWorld.route("/c"), StageWorld.route("/d"), StageWorld.route("/d"),
        ])
        let names = world.snapshot.routes.map(\.name)
        #expect(names == ["/a", "/b GET", "/b POST", "/c x", "/c", "/d #6", "/d #7"])
        #expect(Set(names).count == names.count)
    }
}
