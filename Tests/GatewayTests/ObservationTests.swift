// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc
import NIOCore
import NIOEmbedded
import Testing
import Tokens

@testable import Gateway

@Suite("Counters")
struct ObservationCounterTests {
    private func lines(_ metrics: GatewayMetrics, _ start: String) -> [String] {
        metrics.text().split(separator: "\n").map(String.init).filter { $0.hasPrefix(start) }
    }

    @Test("Requests are counted by route and outcome, those without a route under a name of their own")
    func requests() throws {
        let snapshot = try StageWorld(routes: [StageWorld.route("/a"), StageWorld.route("/")]).snapshot
        let counters = LoopCounters(snapshot: snapshot)
        for _ in 0..<7 { counters.requestEnded(route: 0, .answered, status: 200, after: .milliseconds(3), of: snapshot) }
        for _ in 0..<4 { counters.requestEnded(route: 1, .rejected(.tokenMissing), status: 401, after: .milliseconds(3), of: snapshot) }
        counters.requestEnded(route: 1, .answered, status: 503, after: .milliseconds(3), of: snapshot)
        counters.requestEnded(route: -1, .rejected(.routeNotFound), status: 404, after: .milliseconds(3), of: snapshot)
        #expect(
            lines(counters.metrics(), "portcullis_requests_total") == [
                #"portcullis_requests_total{route="(none)",outcome="route_not_found"} 1"#,
                #"portcullis_requests_total{route="/",outcome="server_error"} 1"#,
                #"portcullis_requests_total{route="/",outcome="token_missing"} 4"#, #"portcullis_requests_total{route="/a",outcome="ok"} 7"#,
            ])
    }

    @Test("Every outcome has a name of its own")
    func outcomes() {
        let names = (0..<AccessRecord.Outcome.ordinals).map { "\(AccessRecord.Outcome.name($0))" }
        #expect(Set(names).count == names.count)
        let ends: [AccessRecord.Outcome] = [.answered, .brokenOff, .clientGone, .idle, .revoked, .draining]
        #expect(Set(ends.map { $0.ordinal(status: 200) }).count == ends.count)
    }

    @Test("A reload goes on counting where names are the same, also for requests that began before it")
    func reload() throws {
        let old = try StageWorld(routes: [StageWorld.route("/gone"), StageWorld.route("/stays")]).snapshot
        let new = try StageWorld(routes: [StageWorld.route("/stays"), StageWorld.route("/new")]).snapshot
        let counters = LoopCounters(snapshot: old)
        for route in 0..<2 { counters.requestEnded(route: route, .answered, status: 200, after: .milliseconds(3), of: old) }
        counters.use(new)
        counters.requestEnded(route: 0, .answered, status: 200, after: .milliseconds(3), of: old)
        for route in 0..<2 { counters.requestEnded(route: route, .answered, status: 200, after: .milliseconds(3), of: new) }
        counters.upstreamAnswered(0, after: .milliseconds(1), of: old)
        counters.upstreamAnswered(-1, after: .milliseconds(1), of: new)
        let counts = counters.metrics().requests.map { "\($0.key.first) \($0.value)" }.sorted()
        #expect(counts == ["/gone 2", "/new 1", "/stays 2"])
        #expect(counters.metrics().upstreamDurations["app"]?.count == 1)
    }

    @Test("Buckets add up, and nothing is lost above the last")
    func histogram() throws {
        let snapshot = try StageWorld().snapshot
        let counters = LoopCounters(snapshot: snapshot)
        for milliseconds: Int64 in [0, 1, 3, 100, 60_000] {
            counters.requestEnded(route: 0, .answered, status: 200, after: .milliseconds(milliseconds), of: snapshot)
        }
        let found = lines(counters.metrics(), "portcullis_request_duration_seconds")
        for line in [
            #"_bucket{route="/",le="0.0001"} 1"#, #"_bucket{route="/",le="0.001"} 2"#, #"_bucket{route="/",le="0.0025"} 2"#,
            #"_bucket{route="/",le="0.1"} 4"#, #"_bucket{route="/",le="10"} 4"#,
            #"_bucket{route="/",le="+Inf"} 5"#, #"_sum{route="/"} 60.104000000"#, #"_count{route="/"} 5"#,
        ] { #expect(found.contains("portcullis_request_duration_seconds" + line)) }
    }

    @Test("Lookups, verifications and closed streams are counted by what they were")
    func closedLists() throws {
        let counters = try LoopCounters(snapshot: StageWorld().snapshot)
        counters.sessionAnswered(.active, after: .milliseconds(1), source: .store)
        counters.sessionAnswered(.unavailable, after: .milliseconds(1), source: .store)
        counters.tokenVerified(nil, source: .cache)
        counters.tokenVerified(.expired, source: .signature)
        counters.streamClosed(.revoked)
        let text = counters.metrics().text()
        for line in [
            #"portcullis_session_lookups_total{source="store",answer="active"} 1"#,
            #"portcullis_session_lookups_total{source="store",answer="unavailable"} 1"#,
            #"portcullis_session_lookups_total{source="cache",answer="revoked"} 0"#,
            #"portcullis_token_verifications_total{source="cache",outcome="ok"} 1"#,
            #"portcullis_token_verifications_total{source="signature",outcome="token_expired"} 1"#,
            #"portcullis_streams_closed_total{reason="revoked"} 1"#,
            "portcullis_session_lookup_duration_seconds_count 2", "portcullis_revocation_staleness_seconds 0.0",
            #"portcullis_upstream_endpoint_healthy{upstream="app",endpoint="127.0.0.1:9"} 1"#,
        ] { #expect(text.contains(line + "\n")) }
    }

    @Test("Connections are a gauge that goes down again")
    func connections() throws {
        let counters = try LoopCounters(snapshot: StageWorld().snapshot)
        for _ in 0..<3 { counters.connectionOpened() }
        counters.requestBegan()
        #expect(counters.metrics().connections == ["active": 1, "idle": 2])
        for _ in 0..<3 { counters.connectionClosed() }
        #expect(counters.metrics().connections == ["active": 0, "idle": 0])
    }

    @Test("Loops add up")
    func sum() throws {
        let snapshot = try StageWorld().snapshot
        var sum = GatewayMetrics()
        for _ in 0..<3 {
            let counters = LoopCounters(snapshot: snapshot)
            counters.requestEnded(route: 0, .answered, status: 200, after: .milliseconds(3), of: snapshot)
            counters.connectionOpened()
            sum.add(counters.metrics())
        }
        #expect(sum.requests.values.first == 3 && sum.requestDurations["/"]?.count == 3 && sum.connections["idle"] == 3 && sum.endpoints.count == 1)
    }

    @Test("Labels are escaped")
    func escapes() throws {
        let snapshot = try StageWorld(routes: [StageWorld.route("/a\"b\\c\nd")]).snapshot
        let counters = LoopCounters(snapshot: snapshot)
        counters.requestEnded(route: 0, .answered, status: 200, after: .milliseconds(3), of: snapshot)
        #expect(counters.metrics().text().contains(#"route="/a\"b\\c\nd""#))
    }
}

/// The reading end of what a writer writes.
private final class Pipe {
    let reading: Int32
    let writing: Int32

    init() throws {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        reading = ends[0]
        writing = ends[1]
    }

    deinit {
        close(reading)
        close(writing)
    }

    /// So that more than a batch can be written before anybody reads.
    func grow() {
        let setPipeSize: Int32 = 1031
        _ = fcntl(writing, setPipeSize, 1 << 20)
    }

    /// What has been written so far.
    func read() -> String {
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        var all: [UInt8] = []
        _ = fcntl(reading, F_SETFL, O_NONBLOCK)
        while true {
            let count = Glibc.read(reading, &bytes, bytes.count)
            guard count > 0 else { return String(decoding: all, as: UTF8.self) }
            all += bytes[..<count]
        }
    }
}

@Suite("The access log")
struct ObservationAccessLogTests {
    private func line(
        _ request: StageRequest, of identity: RememberedToken? = nil, route: Int = 0, change: (inout AccessRecord) throws -> Void = { _ in }
    ) throws -> (
        text: String, json: JSONObject
    ) {
        let pipe = try Pipe()
        let writer = LineWriter(fileDescriptor: pipe.writing)
        let loop = EmbeddedEventLoop()
        let buffer = AccessLogBuffer(writer, eventLoop: loop)
        let snapshot = try StageWorld().snapshot
        var record = AccessRecord()
        let peer = try PeerAddress(SocketAddress(ipAddress: "192.0.2.1", port: 1))
        try request.with { head, bytes in
            var ids = CorrelationSource()
            record.begin(ids.correlate(head, bytes).requestID)
            record.describe(head, bytes, client: nil, peer: peer)
        }
        try change(&record)
        buffer.append(record, identity, snapshot: snapshot, route: route)
        buffer.flush()
        writer.flush()
        let text = pipe.read()
        #expect(text.hasSuffix("}\n") && text.split(separator: "\n").count == 1)
        return (text, try JSONObject(parsing: Array(text.dropLast().utf8)))
    }

    @Test("One JSON line tells what was asked, by whom, and how it ended")
    func members() throws {
        let world = try StageWorld()
        let identity = try world.remembered(world.token(session: "0123456789abcdef"))
        let request = StageRequest("GET /orders?secret=1 HTTP/1.1", [("X-Request-Id", "request-1234"), ("Authorization", "Bearer secret")])
        let (text, json) = try line(request, of: identity) { record in
            record.status = 200
            record.requestBytes = 7
            record.responseBytes = 1234
            record.duration = .microseconds(12_345)
            record.upstreamDuration = .microseconds(1_001)
        }
        #expect(
            json["request_id"]?.string == "request-1234" && json["method"]?.string == "GET" && json["host"]?.string == "app.example"
                && json["path"]?.string == "/orders")
        #expect(json["status"]?.scalarText == "200" && json["code"] == .null && json["route"]?.string == "/" && json["upstream"]?.string == "app")
        #expect(json["user"]?.string == "alice" && json["session"]?.string == "01234567" && json["client"]?.string == "192.0.2.1")
        #expect(
            json["request_bytes"]?.scalarText == "7" && json["response_bytes"]?.scalarText == "1234" && json["duration_ms"]?.scalarText == "12.345"
                && json["upstream_ms"]?.scalarText == "1.001")
        #expect(json["time"]?.string?.count == 24 && !text.contains("secret") && !text.contains("abcdef"))
    }

    @Test("A rejection has its code, and what is not known is null")
    func rejection() throws {
        let (_, json) = try line(StageRequest(), route: -1) { record in
            record.begin(RequestID(1, 2))
            record.status = 400
            record.outcome = .rejected(.badRequest)
        }
        #expect(
            json["status"]?.scalarText == "400" && json["code"]?.string == "bad_request"
                && json["request_id"]?.string == "00000000000000010000000000000002")
        for name in ["method", "host", "path", "route", "upstream", "user", "session", "upstream_ms"] { #expect(json[name] == .null) }
    }

    @Test(
        "No request can forge or break a line",
        arguments: ["/%22,%22status%22:500", "/a%0a%7b%7d", "/'\\\"", "/" + String(repeating: "x", count: 7000), "/\u{7f}"])
    func forging(path: String) throws {
        var record = AccessRecord()
        record.begin(RequestID(1, 2))
        let bytes = Array("GET\(path)host".utf8)
        try bytes.withUnsafeBytes { raw in
            try StageRequest().with { scanned, _ in
                var head = scanned
                head.method = ByteRange(0, 3)
                head.path = ByteRange(3, bytes.count - 4)
                head.host = ByteRange(bytes.count - 4, bytes.count)
                record.describe(head, raw, client: nil, peer: PeerAddress(nil))
            }
        }
        let json = try JSONObject(parsing: [UInt8(ascii: "{")] + record.text + [UInt8(ascii: "}")])
        #expect(json.members.map(\.name) == ["method", "host", "path", "client"] && json["path"]?.string.map { path.hasPrefix($0) } == true)
    }

    @Test("A record that is used again tells nothing of the request before")
    func reuse() throws {
        let (_, json) = try line(StageRequest("POST /first HTTP/1.1")) { record in
            record.status = 500
            record.requestBytes = 9
            record.upstreamDuration = .milliseconds(1)
            record.begin(RequestID(3, 4))
        }
        #expect(
            json["path"] == .null && json["status"] == .null && json["request_bytes"]?.scalarText == "0" && json["upstream_ms"] == .null
                && json["user"] == .null)
    }

    @Test("Lines leave a tenth of a second after they were made, at the latest")
    func interval() throws {
        let pipe = try Pipe()
        let writer = LineWriter(fileDescriptor: pipe.writing)
        let loop = EmbeddedEventLoop()
        let buffer = AccessLogBuffer(writer, eventLoop: loop)
        let snapshot = try StageWorld().snapshot
        for _ in 0..<3 { buffer.append(AccessRecord(), nil, snapshot: snapshot, route: 0) }
        loop.advanceTime(by: .milliseconds(99))
        writer.flush()
        #expect(pipe.read().isEmpty)
        loop.advanceTime(by: .milliseconds(1))
        writer.flush()
        #expect(pipe.read().split(separator: "\n").count == 3)
    }

    @Test("Much is handed over without waiting")
    func batches() throws {
        let pipe = try Pipe()
        let writer = LineWriter(fileDescriptor: pipe.writing)
        let buffer = AccessLogBuffer(writer, eventLoop: EmbeddedEventLoop())
        let snapshot = try StageWorld().snapshot
        pipe.grow()
        for _ in 0..<500 { buffer.append(AccessRecord(), nil, snapshot: snapshot, route: 0) }
        writer.flush()
        #expect(pipe.read().split(separator: "\n").count >= 64)
    }

    @Test("A reader that takes nothing costs lines, and is told how many; nobody else waits for it")
    func slowReader() throws {
        let pipe = try Pipe()
        let writer = LineWriter(fileDescriptor: pipe.writing)
        let line = [UInt8](repeating: UInt8(ascii: "x"), count: (1 << 20) - 1) + [UInt8(ascii: "\n")]
        for _ in 0..<20 { writer.write(line) }
        #expect(writer.droppedLines >= 11)
        // Told in one line, or in two where the first is written while lines are still being dropped.
        var read = "", told = 0
        while told < writer.droppedLines {
            read += pipe.read()
            let lines = read.split(separator: "\n", omittingEmptySubsequences: false).dropLast().filter { $0.contains("log lines dropped") }
            #expect(lines.allSatisfy { $0.hasPrefix("{") && $0.hasSuffix("}") })
            told = lines.reduce(0) { $0 + (Int($1.split(separator: ":").last?.dropLast() ?? "") ?? 0) }
        }
        #expect(told == writer.droppedLines)
    }

    @Test(
        "Times are RFC 3339 in UTC with milliseconds",
        arguments: [
            (0, 0, "1970-01-01T00:00:00.000Z"), (951_782_399, 7, "2000-02-28T23:59:59.007Z"), (951_782_400, 999, "2000-02-29T00:00:00.999Z"),
            (4_107_542_400, 1, "2100-03-01T00:00:00.001Z"), (-1, 5, "1969-12-31T23:59:59.005Z"),
        ])
    func times(second: Int, millisecond: Int, text: String) {
        var clock = WallClock()
        var room = [UInt8](repeating: 0, count: WallClock.length)
        for _ in 0..<2 {
            room.withUnsafeMutableBytes { clock.write(second: second, millisecond: millisecond, to: $0) }
            #expect(String(decoding: room, as: UTF8.self) == text)
        }
    }
}
