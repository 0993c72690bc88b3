// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@testable import Settings

@Suite("Scenarios of the latency harness")
struct ScenarioTests {
    private let folder: ConfigurationFolder
    init() throws { folder = try ConfigurationFolder() }

    private func load(_ text: String) throws -> ScenarioSettings {
        try folder.write("mix.yaml", text)
        return try ScenarioSettings.load(path: "\(folder.path)/mix.yaml")
    }

    @Test("a request needs no more than a path")
    func defaults() throws {
        let requests = try load("requests: [{path: \"/a?b=c\"}]").requests
        #expect(requests == [.init(path: "/a?b=c", weight: 1, method: "GET", headers: [], body: "", sendsToken: true)])
    }

    @Test("weight, method, headers, body and whether a token goes along can be said, and headers keep their order")
    func all() throws {
        let text = """
            requests:
              - path: /orders
                weight: 8
                method: POST
                headers: {X-B: "1", Accept: text/html, X-A: "2"}
                body: '{"a": 1}'
                token: false
              - path: /
            """
        let requests = try load(text).requests
        let headers = [ScenarioSettings.Header(name: "X-B", value: "1"), .init(name: "Accept", value: "text/html"), .init(name: "X-A", value: "2")]
        #expect(
            requests == [
                .init(path: "/orders", weight: 8, method: "POST", headers: headers, body: #"{"a": 1}"#, sendsToken: false), .init(path: "/"),
            ])
    }

    @Test("a request that has an Authorization of its own gets no token beside it")
    func ownAuthorization() throws {
        let requests = try load("requests: [{path: /a, headers: {authorization: Basic eA==}}, {path: /b, token: true}]").requests
        #expect(requests.map(\.sendsToken) == [false, true])
    }

    @Test(
        "fields of the connection are the harness's",
        arguments: ["Connection", "Upgrade", "TE", "keep-alive", "Proxy-Connection", "Transfer-Encoding"])
    func connectionFields(name: String) {
        #expect {
            try load("requests: [{path: /a, headers: {\(name): x}}]")
        } throws: { ($0 as? SettingsProblems)?.problems.map(\.key) == ["requests[0].headers.\(name)"] }
    }

    @Test("every mistake is told with its place, and without what was read")
    func mistakes() throws {
        let text = """
            requests:
              - {path: secret}
              - {path: "/a b"}
              - {path: "/#a"}
              - {weight: 3}
              - {path: /, weight: 0, method: get, token: perhaps, secret: 1}
              - {path: /, headers: {"a b": x, Host: secret, Content-Length: "3", Good: "a\\nb"}}
            secret: 1
            """
        #expect {
            try load(text)
        } throws: { error in
            guard let problems = (error as? SettingsProblems)?.problems else { return false }
            let places = problems.map { "\($0.place.line):\($0.place.column) \($0.key)" }
            return places == [
                "2:12 requests[0].path", "3:12 requests[1].path", "4:12 requests[2].path", "5:5 requests[3].path", "6:23 requests[4].weight",
                "6:34 requests[4].method", "6:46 requests[4].token", "6:55 requests[4].secret", "7:25 requests[5].headers.a?b",
                "7:35 requests[5].headers.Host", "7:49 requests[5].headers.Content-Length", "7:76 requests[5].headers.Good", "8:1 secret",
            ] && problems.allSatisfy { !$0.message.contains("secret") }
        }
    }

    @Test("a scenario has requests: at least one, and not too many", arguments: ["{}", "requests: []", "requests: /orders", "", "- path: /"])
    func none(text: String) {
        #expect(throws: SettingsProblems.self) { try load(text) }
    }

    @Test("as many requests as are allowed are read, and one more is not")
    func many() throws {
        func text(_ count: Int) -> String { "requests:\n" + String(repeating: "  - {path: /}\n", count: count) }
        #expect(try load(text(SettingLimit.scenarioRequests)).requests.count == SettingLimit.scenarioRequests)
        #expect(throws: SettingsProblems.self) { try load(text(SettingLimit.scenarioRequests + 1)) }
    }
}
