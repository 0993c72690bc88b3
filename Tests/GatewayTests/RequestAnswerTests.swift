// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Testing
import Tokens

@testable import Gateway

@Suite("What goes back to the client")
struct RequestAnswerTests {
    private func answer(
        _ text: String, method: MethodKind = .get, framing: BodyFraming? = nil, connection: ConnectionSaid = .unsaid
    ) throws -> SentHead {
        let scanner = ResponseScanner(limits: HeadLimits())
        let bytes = Array(text.utf8)
        return try bytes.withUnsafeBytes { raw in
            try #require(scanner.scan(raw, requestMethod: method) == .head)
            var buffer = ByteBuffer()
            try StageWorld().snapshot.cleaning.writeResponseHead(
                scanner.head, raw, framing: framing ?? scanner.head.framing, connection: connection, into: &buffer)
            return SentHead(buffer)
        }
    }

    @Test("Status, reason and fields pass; several Set-Cookie stay apart")
    func passes() throws {
        let sent = try answer(
            "HTTP/1.1 418 short and stout\r\nX-Kind: pot\r\nSet-Cookie: a=1\r\nset-cookie:  b=2\r\nDate: d\r\nContent-Length: 2\r\n\r\n")
        #expect(sent.first == "HTTP/1.1 418 short and stout")
        #expect(sent.fields.map(\.value) == ["pot", "a=1", "b=2", "d", "2"])
    }

    @Test("An HTTP/1.0 answer is passed on as HTTP/1.1, an empty reason as empty")
    func version() throws {
        #expect(try answer("HTTP/1.0 200 OK\r\n\r\n").first == "HTTP/1.1 200 OK")
        #expect(try answer("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n").first == "HTTP/1.1 200 ")
    }

    @Test("What is between the upstream and the gateway stays there")
    func hopByHop() throws {
        let sent = try answer(
            "HTTP/1.1 200 OK\r\nConnection: close, X-Hop, Content-Length\r\nX-Hop: 1\r\nKeep-Alive: timeout=3\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nX-End: 2\r\nContent-Length: 3\r\n\r\n"
        )
        #expect(sent.fields.map(\.name) == ["X-End", "Content-Length"])
    }

    @Test("The framing is what the client gets, not what the upstream sent")
    func framing() throws {
        let untilClose = try answer("HTTP/1.1 200 OK\r\nA: 1\r\n\r\n", framing: .chunked)
        #expect(untilClose.all("Transfer-Encoding") == ["chunked"])
        let chunked = try answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", framing: .untilClose, connection: .close)
        #expect(chunked.all("Transfer-Encoding") == [] && chunked.all("Connection") == ["close"])
    }

    @Test("The length of what is not sent stays with HEAD and 304, and goes with 204 and interim answers")
    func lengths() throws {
        #expect(try answer("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", method: .head).all("Content-Length") == ["12"])
        #expect(try answer("HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n").all("Content-Length") == ["1000"])
        #expect(try answer("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n").all("Content-Length") == [])
        #expect(try answer("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n").fields.map(\.name) == ["Link"])
    }

    @Test("A 101 keeps its protocol and nothing else of the connection")
    func switching() throws {
        let sent = try answer(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nKeep-Alive: x\r\nSec-WebSocket-Accept: k\r\n\r\n",
            framing: BodyFraming.none, connection: .upgrade)
        #expect(
            sent.all("Upgrade") == ["websocket"] && sent.all("Connection") == ["Upgrade"] && sent.all("Sec-WebSocket-Accept") == ["k"]
                && sent.all("Keep-Alive") == [])
    }

    // MARK: Trailers

    private func trailers(_ lines: [String], fromClient: Bool) throws -> String {
        var buffer = ByteBuffer()
        let section = ByteBuffer(string: lines.map { $0 + "\r\n" }.joined() + "\r\n")
        try StageWorld { $0.tokenSources = [.field("X-Api-Token")] }.snapshot.cleaning.writeLastChunk(
            trailers: section, fromClient: fromClient, scanner: TrailerScanner(limits: HeadLimits()), into: &buffer)
        return String(buffer: buffer)
    }

    @Test("Trailers pass both ways")
    func trailersPass() throws {
        for fromClient in [true, false] {
            #expect(try trailers(["X-Checksum: 42", "x-b:  c"], fromClient: fromClient) == "0\r\nX-Checksum: 42\r\nx-b:  c\r\n\r\n")
        }
    }

    @Test(
        "No trailer of the client can be what only a checked head may say",
        arguments: [
            "X-Auth-User: root", "x_auth_user: root", "Host: x", "Content-Length: 3", "Content_Length: 3", "Authorization: Bearer a", "Cookie: a=b",
            "X-Forwarded-For: 1.1.1.1", "Forwarded: x", "X-Request-Id: x", "X-Portcullis-Client: x", "X-Api-Token: t", "Connection: close", "TE: x",
            "tracestate: a=1",
        ])
    func trailersDropped(line: String) throws {
        #expect(try trailers(["A: 1", line, "B: 2"], fromClient: true) == "0\r\nA: 1\r\nB: 2\r\n\r\n")
    }

    @Test("Trailers that are no fields do not pass at all, and none are none")
    func trailersBroken() throws {
        #expect(try trailers(["X-A : b"], fromClient: true) == "0\r\n\r\n")
        var buffer = ByteBuffer()
        try StageWorld().snapshot.cleaning.writeLastChunk(
            trailers: nil, fromClient: true, scanner: TrailerScanner(limits: HeadLimits()), into: &buffer)
        #expect(String(buffer: buffer) == "0\r\n\r\n")
    }
}

@Suite("Refusals")
struct RequestRejectionTests {
    static let all: [Rejection] =
        TokenRefusal.allCases.map { .token($0) } + [
            .badRequest, .tokenAmbiguous, .tokenMissing, .sessionRevoked, .scopeMissing, .claimMismatch, .originMismatch, .routeNotFound,
            .methodNotAllowed(allow: "GET, HEAD"), .headTimeout,
            .bodyTooLarge, .targetTooLong, .headerTooLarge, .rateLimited(retryAfter: 17), .upstreamRefused, .upstreamReset, .upstreamMalformed,
            .upstreamTimeout, .noHealthyUpstream, .storeUnavailable,
            .draining,
        ]

    private func write(_ rejection: Rejection, isHead: Bool = false, closes: Bool = false, redirect: String? = nil) throws -> (
        head: SentHead, body: String, status: Int
    ) {
        var buffer = ByteBuffer()
        let id = try #require(Array("request-17".utf8).withUnsafeBytes { RequestID($0) })
        let status = rejection.write(requestID: id, isHead: isHead, closes: closes, redirect: redirect.map { Array($0.utf8) }, into: &buffer)
        let end = try #require(buffer.readableBytesView.firstRange(of: Array("\r\n\r\n".utf8)))
        let head = buffer.readSlice(length: end.upperBound)
        return (SentHead(try #require(head)), String(buffer: buffer), status)
    }

    @Test("Each is a whole problem document with its own code", arguments: all)
    func documents(rejection: Rejection) throws {
        let (head, body, status) = try write(rejection)
        let problem = try JSONObject(parsing: Array(body.utf8))
        #expect(status == rejection.status && head.first.hasPrefix("HTTP/1.1 \(status) "))
        #expect(
            head.all("Content-Type") == ["application/problem+json"] && head.all("Content-Length") == ["\(body.utf8.count)"]
                && head.all("Cache-Control") == ["no-store"])
        #expect(
            problem["type"]?.string == "about:blank" && problem["status"]?.scalarText == "\(status)" && problem["code"]?.string == "\(rejection.code)"
        )
        let title = try #require(problem["title"]?.string)
        #expect(head.first.hasSuffix(title) && problem["request_id"]?.string == "request-17")
        #expect(head.all("Connection") == [])
        #expect(
            head.all("Retry-After").isEmpty == (status != 503 && status != 429)
                && head.all("WWW-Authenticate").isEmpty == (status != 401 && status != 403 && rejection != .tokenAmbiguous))
    }

    @Test("Codes are told apart")
    func codes() {
        #expect(Set(Self.all.map(\.ordinal)) == Set(0..<Rejection.codes.count) && Set(Rejection.codes.map { "\($0)" }).count == Rejection.codes.count)
    }

    @Test("Who sent no token is told of no error; who sent a bad one, or may not, is")
    func challenges() throws {
        #expect(try write(.tokenMissing).head.all("WWW-Authenticate") == ["Bearer realm=\"portcullis\""])
        #expect(try write(.token(.expired)).head.all("WWW-Authenticate") == ["Bearer realm=\"portcullis\", error=\"invalid_token\""])
        #expect(try write(.sessionRevoked).head.all("WWW-Authenticate") == ["Bearer realm=\"portcullis\", error=\"invalid_token\""])
        #expect(try write(.scopeMissing).head.all("WWW-Authenticate") == ["Bearer realm=\"portcullis\", error=\"insufficient_scope\""])
    }

    @Test("Only 401s are unauthenticated; missing keys are our fault")
    func unauthenticated() {
        #expect(
            Rejection.keysUnavailable.status == 503 && !Rejection.keysUnavailable.isUnauthenticated && Rejection.token(.signature).isUnauthenticated)
        #expect(
            !Rejection.storeUnavailable.isUnauthenticated && !Rejection.tokenAmbiguous.isUnauthenticated && Rejection.tokenMissing.isUnauthenticated)
    }

    @Test("HEAD gets no body, and a connection that ends says so")
    func head() throws {
        let (head, body, _) = try write(.tokenMissing, isHead: true, closes: true)
        #expect(body.isEmpty && head.all("Content-Length") != ["0"] && head.all("Connection") == ["close"])
    }

    @Test("405 says what is allowed, 429 when to come back")
    func details() throws {
        #expect(try write(.methodNotAllowed(allow: "GET, HEAD")).head.all("Allow") == ["GET, HEAD"])
        #expect(try write(.rateLimited(retryAfter: 17)).head.all("Retry-After") == ["17"])
    }

    @Test("A browser that is not logged in is sent to the login page, and one that may not is not")
    func redirect() throws {
        let (head, body, status) = try write(.tokenMissing, redirect: "/login")
        #expect(
            status == 302 && head.first == "HTTP/1.1 302 Found" && head.all("Location") == ["/login"] && head.all("Cache-Control") == ["no-store"]
                && body.isEmpty)
        #expect(try write(.scopeMissing, redirect: "/login").status == 403 && write(.storeUnavailable, redirect: "/login").status == 503)
    }
}
