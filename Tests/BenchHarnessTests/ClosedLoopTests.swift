// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Synchronization
import TestSupport
import Testing

@testable import BenchHarness

@Suite("Closed loop, and what can go wrong", .serialized)
struct ClosedLoopTests {
    @Test("so many connections are kept busy, each with one request at a time", arguments: [1, 3])
    func connections(loops: Int) async throws {
        // A busy machine may have time for no more than one request of each in the shortest time, or for none.
        for duration in [500, 4000, 30_000] as [Int64] {
            let server = try ScriptedServer()
            defer { server.stop() }
            let plan = try LoadPlan.simple(server.port, .connections(3), duration: duration, loops: loops)
            guard let report = try? await plan.report() else { continue }
            #expect(server.acceptedConnections == 3)
            #expect(report.requests == server.requests.count && report.ok == report.requests)
            #expect(report.requestsPerSecond <= Double(report.requests) * 1000 / Double(duration))
            if report.requests > 3 { return }
        }
        Issue.record("each connection sent but one request")
    }

    @Test(
        "whatever comes instead of an answer is counted by its kind, and the connection that it came on is not used again",
        arguments: [
            Fault(reply: .status(503), kind: "status_503", closes: false), Fault(reply: .status(404), kind: "status_404", closes: false),
            Fault(reply: .reset, kind: "reset"), Fault(reply: .breakOff(""), kind: "reset"),
            Fault(reply: .breakOff("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"), kind: "reset"),
            Fault(reply: .breakOff("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), kind: "reset"),
            Fault(reply: .raw("SSH-2.0-OpenSSH\r\n"), kind: "malformed"),
            Fault(reply: .raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n"), kind: "malformed"),
        ])
    func faults(_ fault: Fault) async throws {
        // The fifth of all requests meets the fault.
        let server = try ScriptedServer { number, _ in number == 5 ? fault.reply : .status(200) }
        defer { server.stop() }
        let report = try await LoadPlan.simple(server.port, .connections(1), duration: 1000).report()
        #expect(report.errors.map(\.name) == [fault.kind] && report.errors.map(\.count) == [1])
        #expect(report.ok == report.requests - 1 && report.requests > 5)
        #expect(server.acceptedConnections == (fault.closes ? 2 : 1))
    }

    struct Fault: Sendable, CustomTestStringConvertible {
        let reply: ScriptedServer.Reply
        let kind: String
        var closes = true
        var testDescription: String { "\(reply)" }
    }

    @Test("an answer that says that it is the last is good, and the next request has a new connection")
    func lastAnswers() async throws {
        let server = try ScriptedServer { number, _ in
            number.isMultiple(of: 2)
                ? .breakOff("HTTP/1.1 200 OK\r\n\r\nuntil the end") : .breakOff("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        }
        defer { server.stop() }
        let report = try await LoadPlan.simple(server.port, .connections(1), duration: 1000).report()
        #expect(report.errors.isEmpty && report.ok == report.requests && report.requests > 2, "\(report.errors) of \(report.requests)")
        // The time may be over when the last one has been opened.
        #expect(server.acceptedConnections - report.requests <= 1)
    }

    @Test("a request that the socket does not take at once arrives whole, and so do those after it")
    func largeRequests() async throws {
        let body = (0..<3 << 20).map { UInt8(truncatingIfNeeded: $0 / 7) }
        let server = try ScriptedServer { _, request in request.body == body ? .status(200) : .status(400) }
        defer { server.stop() }
        var plan = try LoadPlan.simple(server.port, .connections(2), duration: 1500)
        plan.shapes = [RequestShape(target: "/"), RequestShape(method: "PUT", target: "/large", body: body)]
        let report = try await plan.report()
        // The small ones have no body.
        let large = server.requests.count { $0.method == "PUT" }
        #expect(report.errors.map(\.name).allSatisfy { $0 == "status_400" } && server.acceptedConnections == 2)
        #expect(report.ok == large && large > 1, "\(report.errors), \(large) of \(report.requests)")
    }

    @Test("where connections are made and no handshake ends in all the time that there is, not one request could be sent")
    func silentHandshake() async throws {
        let server = try FakeServer { $0.waitForEnd() }
        defer { server.stop() }
        let certificates = try TestCertificates()
        defer { certificates.remove() }
        for pace in [LoadPlan.Pace.rate(50), .connections(2)] {
            var plan = try LoadPlan.simple(server.port, pace, duration: 200, timeout: 200)
            plan.dialer = try .to(server.port, certificates: certificates)
            await #expect {
                try await plan.report()
            } throws: { ($0 as? NothingSent)?.reason == .timeout }
        }
    }

    @Test(
        "where nobody listens, not one request can be sent, and nobody waits for the end of the time",
        arguments: [LoadPlan.Pace.rate(50), .connections(2)])
    func refused(pace: LoadPlan.Pace) async throws {
        let nobody = try LoopbackSocket.deaf()
        defer { nobody.shutdown() }
        let clock = ContinuousClock()
        let begun = clock.now
        await #expect {
            try await LoadPlan.simple(nobody.port, pace, duration: 60_000).report()
        } throws: { ($0 as? NothingSent)?.reason == .refused }
        #expect(clock.now - begun < .seconds(30))
    }

    @Test("a target that goes away in the middle is refused from then on, and the run goes on")
    func goesAway() async throws {
        let server = try ScriptedServer { number, _ in number < 50 ? .status(200) : .goAway }
        // On one connection, so that all requests before that one have been answered.
        let report = try await LoadPlan.simple(server.port, .rate(100), duration: 2000, connections: 1).report()
        #expect(report.requests == 200 && report.ok == 49, "\(report.errors)")
        #expect(report.errors.first { $0.name == "refused" }.map { $0.count > 50 } == true, "\(report.errors)")
    }

    @Test("over TLS the certificate is checked", arguments: [true, false])
    func tls(isKnown: Bool) async throws {
        let certificates = try TestCertificates(), others = try TestCertificates()
        defer {
            certificates.remove()
            others.remove()
        }
        try await withTLSServer(certificates, protocols: ["http/1.1"]) { port in
            var plan = try LoadPlan.simple(port, .connections(2), duration: 1000)
            plan.dialer = try .to(port, certificates: isKnown ? certificates : others)
            guard isKnown else {
                await #expect {
                    try await plan.report()
                } throws: { ($0 as? NothingSent)?.reason == .tls }
                return
            }
            let report = try await plan.report()
            #expect(report.errors.isEmpty && report.ok > 2)
        }
    }

    @Test("HTTP/2 has so many requests at a time on a connection, in clear by prior knowledge and over TLS by ALPN", arguments: [false, true])
    func http2(isTLS: Bool) async throws {
        let certificates = try TestCertificates()
        defer { certificates.remove() }
        let counter = StreamCounter()
        try await withHTTP2Server(isTLS ? certificates : nil, counter) { port in
            var plan = try LoadPlan.simple(port, .connections(2), duration: 1000)
            plan.dialer = try .to(port, certificates: isTLS ? certificates : nil, alpn: "h2", streams: 5)
            plan.tokens = ["the-token"]
            plan.shapes = [RequestShape(method: "POST", target: "/a", fields: [.init("X-Kind", "Mixed")], body: Array("body".utf8))]
            let report = try await plan.report()
            #expect(report.errors.isEmpty && report.ok == report.requests && report.ok > 10, "\(report.errors)")
            #expect(counter.requests == report.requests && (2...5).contains(counter.mostAtOnce) && counter.connections == 2)
            #expect(counter.heads == [["POST", "/a", "127.0.0.1:\(port)", isTLS ? "https" : "http", "Bearer the-token", "Mixed", "4"]])
        }
    }

    @Test("a server that takes fewer streams at a time than were asked for gets no more, from the first request on")
    func fewStreams() async throws {
        let counter = StreamCounter()
        try await withHTTP2Server(nil, counter, maxStreams: 2) { port in
            var plan = try LoadPlan.simple(port, .connections(2), duration: 1000)
            plan.dialer = try .to(port, streams: 20)
            let report = try await plan.report()
            #expect(report.errors.isEmpty && report.ok == report.requests && report.ok > 10, "\(report.errors)")
            #expect(counter.requests == report.requests && counter.mostAtOnce <= 2 && counter.connections == 2)
        }
    }

    @Test("a stream that is reset is one failed request, and its connection goes on, whether it has others or not", arguments: [1, 3])
    func streamReset(streams: Int) async throws {
        let counter = StreamCounter(resetEvery: 10)
        try await withHTTP2Server(nil, counter) { port in
            var plan = try LoadPlan.simple(port, .connections(1), duration: 400)
            plan.dialer = try .to(port, streams: streams)
            let report = try await plan.report()
            #expect(report.errors.map(\.name) == ["reset"] && counter.connections == 1 && report.requests > 20)
            #expect(report.errors.first.map { abs($0.count - report.requests / 10) <= 1 } == true, "\(report.errors) of \(report.requests)")
        }
    }

    @Test("a server that takes connections and never says how many streams it takes is not waited for longer than for an answer")
    func noSettings() async throws {
        let connections = Mutex(0)
        let server = try FakeServer { connection in
            connections.withLock { $0 += 1 }
            connection.waitForEnd()
        }
        defer { server.stop() }
        var plan = try LoadPlan.simple(server.port, .connections(1), duration: 400, timeout: 100)
        plan.dialer = try .to(server.port, streams: 3)
        await #expect {
            try await plan.report()
        } throws: { ($0 as? NothingSent)?.reason == .timeout }
        #expect(connections.withLock { $0 } > 1)
    }

    @Test("a server that speaks TLS and no HTTP/2 is not spoken to in it")
    func noHTTP2() async throws {
        let certificates = try TestCertificates()
        defer { certificates.remove() }
        try await withTLSServer(certificates, protocols: ["http/1.1"]) { port in
            var plan = try LoadPlan.simple(port, .connections(1), duration: 10_000)
            plan.dialer = try .to(port, certificates: certificates, alpn: "h2", streams: 1)
            await #expect {
                try await plan.report()
            } throws: { ($0 as? NothingSent)?.reason == .tls }
        }
    }
}
