// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport
import Testing

@Suite("Retries", .serialized)
struct RetryTests {
    @Test("what could not be sent at all is sent to another endpoint, whatever the method, with its whole body")
    func refusedEndpoint() async throws {
        let upstream = try ScriptedUpstream { _, _ in .answer }
        defer { upstream.stop() }
        let nobody = try LoopbackSocket.deaf()
        defer { nobody.shutdown() }
        try await withGateway(GatewaySetup(endpoints: [nobody.port, upstream.port])) { gateway in
            for _ in 0..<6 {
                let answer = try gateway.call("POST", "/public", json: "{\"a\":1}")
                #expect(answer.status == 200 && answer.text == "7", "\(answer.start) \(answer.text)")
            }
            #expect(upstream.requests.count == 6)
        }
    }

    @Test("with retries: 0 a refused endpoint is told, and only who met it")
    func noRetries() async throws {
        let upstream = try ScriptedUpstream { _, _ in .answer }
        defer { upstream.stop() }
        let nobody = try LoopbackSocket.deaf()
        defer { nobody.shutdown() }
        try await withGateway(GatewaySetup(endpoints: [nobody.port, upstream.port], "retries: 0")) { gateway in
            let answers = try (0..<6).map { _ in try gateway.get("/public") }
            #expect(answers.map(\.status).sorted() == [200, 200, 200, 502, 502, 502])
            #expect(Set(answers.compactMap(\.code)) == ["upstream_refused"])
        }
    }

    @Test(
        "a request that may have been acted on is sent again only where that does no harm",
        arguments: [
            ("GET", nil, true), ("HEAD", nil, true), ("OPTIONS", nil, true), ("DELETE", nil, true), ("TRACE", nil, true), ("PUT", nil, true),
            ("PUT", "", true), ("DELETE", "", true), ("GET", "", true),
            ("POST", nil, false), ("POST", "", false), ("PATCH", "", false), ("CUSTOM", nil, false), ("PUT", "{}", false), ("DELETE", "{}", false),
            ("GET", "{}", false),
        ] as [(String, String?, Bool)])
    func repeated(method: String, body: String?, isRepeated: Bool) async throws {
        let upstream = try ScriptedUpstream { number, _ in number == 1 ? .close : .answer }
        defer { upstream.stop() }
        try await withGateway(GatewaySetup(endpoints: [upstream.port])) { gateway in
            let answer = try gateway.call(method, "/public/a?b=c", json: body)
            #expect(answer.status == (isRepeated ? 200 : 502))
            if !isRepeated { #expect(answer.code == "upstream_reset") }
            #expect(upstream.requests.count == (isRepeated ? 2 : 1))
            #expect(upstream.requests.allSatisfy { $0.method == method && $0.target == "/public/a?b=c" })
            #expect(Set(upstream.requests.map { $0.fields.map { "\($0.name): \($0.value)" } }).count == 1, "it is the same request")
        }
    }

    @Test("a request whose body is sent in chunks is not repeated, even when they are none")
    func chunked() async throws {
        let upstream = try ScriptedUpstream { _, _ in .close }
        defer { upstream.stop() }
        try await withGateway(GatewaySetup(endpoints: [upstream.port])) { gateway in
            let client = try HTTPConnection(port: gateway.port)
            client.socket.write(HTTPConnection.head("PUT", "/public", [("Transfer-Encoding", "chunked")]) + "0\r\n\r\n")
            #expect(try client.answer(to: "PUT").code == "upstream_reset")
            #expect(upstream.requests.count == 1)
        }
    }

    @Test("retries are as many as the configuration says", arguments: [0, 1, 3])
    func number(retries: Int) async throws {
        let upstream = try ScriptedUpstream { _, _ in .close }
        defer { upstream.stop() }
        try await withGateway(GatewaySetup(endpoints: [upstream.port], "retries: \(retries)")) { gateway in
            let answer = try gateway.get("/public")
            #expect(answer.code == "upstream_reset")
            #expect(upstream.requests.count == retries + 1)
        }
    }

    @Test(
        "nothing is sent again after the first byte of an answer",
        arguments: [
            "H", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", "HTTP/1.1 103 Early Hints\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        ])
    func firstByte(text: String) async throws {
        let upstream = try ScriptedUpstream { number, _ in number == 1 ? .breakOff(text) : .answer }
        defer { upstream.stop() }
        try await withGateway(GatewaySetup(endpoints: [upstream.port], "retries: 3")) { gateway in
            let answer = try? gateway.get("/public")
            if text.hasPrefix("HTTP/1.1 200"), text.contains("\r\n\r\n") {
                #expect(answer?.isWhole != true, "what broke off does not look whole")
            } else {
                #expect(answer?.code == "upstream_reset")
            }
            #expect(upstream.requests.count == 1)
        }
    }
}
