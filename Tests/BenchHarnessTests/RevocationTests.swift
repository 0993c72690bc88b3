// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import Synchronization
import TestSupport
import Testing

@testable import BenchHarness

/// Gateways that are nothing but their bookkeeping, with an admin API.
final class FakeFleet: Sendable {
    /// How one edge learns of a logout.
    enum Manner: Sendable, Equatable {
        /// Before the logout is answered.
        case atOnce
        /// So long after it: what a cache with a time to live does.
        case after(milliseconds: Int)
        /// Never.
        case never
        /// Nothing is answered any more once the session has ended.
        case falls
        /// 503 once the session has ended.
        case troubled
        /// On the connections that the session has, nothing is answered any more; on new ones it is let in.
        case stuckForOld
    }

    /// What becomes of the request for a WebSocket.
    enum Sockets: Sendable { case opened, refused, ignored, dropped }

    private struct State {
        var made = 0
        /// When each session was logged out.
        var ended: [String: ContinuousClock.Instant] = [:]
        var logouts = 0
    }

    private final class Book: Sendable {
        let state = Mutex(State())

        func isLetIn(_ token: String, _ manner: Manner) -> Bool {
            guard token.hasPrefix("token-of-"), let ended = state.withLock({ $0.ended[String(token.dropFirst(9))] }) else { return true }
            switch manner {
            case .atOnce: return false
            case .after(let milliseconds): return ContinuousClock.now < ended + .milliseconds(milliseconds)
            case .never, .stuckForOld, .falls, .troubled: return true
            }
        }

        func isEnded(_ token: String) -> Bool { state.withLock { $0.ended[String(token.dropFirst(9))] != nil } }
    }

    static let adminToken = "token of the admin listener"
    private let book: Book
    private let edges: [FakeServer]
    private let admin: FakeServer

    /// - Parameters:
    ///   - refusedLogouts: so many are answered with 503 first.
    ///   - letsIn: the status of sessions that are good.
    init(_ manners: [Manner], refusedLogouts: Int = 0, letsIn: Int = 200, creates: Int = 201, sockets: Sockets = .opened) throws {
        let book = Book()
        self.book = book
        edges = try manners.map { manner in
            try FakeServer { connection in
                let reader = HTTPReader(connection.socket)
                var answered = 0
                while let request = reader.request() {
                    defer { answered += 1 }
                    let token = request["Authorization"].first.map { String($0.dropFirst("Bearer ".count)) } ?? ""
                    let isIn = book.isLetIn(token, manner)
                    switch manner {
                    case .stuckForOld where answered > 0 && book.isEnded(token), .falls where book.isEnded(token): return connection.waitForEnd()
                    default: break
                    }
                    guard request["Upgrade"].isEmpty || sockets == .refused else {
                        if sockets == .ignored { return connection.waitForEnd() }
                        connection.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
                        if sockets == .dropped { return }
                        // A text frame of 300 bytes first, so that the close frame is not what comes first.
                        connection.write([0x81, 126, 1, 44] + [UInt8](repeating: 0x61, count: 300))
                        while book.isLetIn(token, manner), !connection.socket.staysSilentOrEnds() {}
                        connection.write([0x88, 2, 3, 0xF0])
                        connection.waitForEnd()
                        return
                    }
                    let refused = manner == .troubled && book.isEnded(token) ? 503 : 401
                    connection.write("HTTP/1.1 \(isIn && refused == 401 ? letsIn : refused) X\r\nContent-Length: 0\r\n\r\n")
                }
            }
        }
        admin = try FakeServer { connection in
            let reader = HTTPReader(connection.socket)
            while let request = reader.request() {
                guard request["Authorization"] == ["Bearer \(FakeFleet.adminToken)"] else {
                    connection.write("HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n")
                    continue
                }
                if request.method == "POST" {
                    let id = "s\(book.state.withLock { $0.made += 1; return $0.made })"
                    let json = #"{"session_id":"\#(id)","access_token":"token-of-\#(id)"}"#
                    connection.write("HTTP/1.1 \(creates) X\r\nContent-Length: \(json.utf8.count)\r\n\r\n\(json)")
                } else {
                    let isRefused = book.state.withLock { state in
                        state.logouts += 1
                        if state.logouts <= refusedLogouts { return true }
                        state.ended[String(request.target.split(separator: "/").last ?? "")] = .now
                        return false
                    }
                    connection.write("HTTP/1.1 \(isRefused ? 503 : 204) X\r\nContent-Length: 0\r\n\r\n")
                }
            }
        }
    }

    func stop() {
        for edge in edges { edge.stop() }
        admin.stop()
    }

    var logoutCalls: Int { book.state.withLock { $0.logouts } }
    func end(_ session: String) { book.state.withLock { $0.ended[session] = .now } }

    func plan(logouts: Int, sessions: Int = 4, settling: Int64 = 200, observation: Int64 = 2000, webSockets: Bool = false) throws -> RevocationPlan {
        let api = try Dialer.to(admin.port)
        return RevocationPlan(
            edges: try edges.map { try .to($0.port, path: "/orders") }, source: .admin(api, token: Self.adminToken),
            logout: .admin(api, token: Self.adminToken), webSocketPath: webSockets ? "/socket" : nil, logouts: logouts, sessions: sessions,
            interval: 2_000_000, settling: settling * 1_000_000, observation: observation * 1_000_000)
    }
}

extension LoopbackSocket {
    /// Waits a moment; true when the other side has something to say, or has ended.
    fileprivate func staysSilentOrEnds() -> Bool { !staysSilent(for: .milliseconds(5)) }
}

@Suite("Logouts that are measured on every edge", .serialized)
struct RevocationTests {
    private func members(_ report: RevocationReport) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(report.json)) as? [String: Any])
    }

    @Test("edges that refuse before the logout is answered have no late 2xx, and their last one was sent before the answer")
    func prompt() async throws {
        let fleet = try FakeFleet([.atOnce, .atOnce])
        defer { fleet.stop() }
        let report = try await RevocationRun(fleet.plan(logouts: 12)).run()
        let json = try members(report)
        #expect(report.logouts == 12 && report.late == 0 && json["late_2xx"] as? Int == 0 && json["abandoned"] as? Int == 0)
        let edges = try #require(json["edges"] as? [[String: Any]])
        #expect(edges.count == 2)
        for edge in edges {
            let last = try #require(edge["last_2xx_ms"] as? [String: Double])
            #expect(last.keys.sorted() == ["max", "mean", "min", "p50", "p90", "p99", "p99.9", "p99.99"])
            #expect(last["max"].map { $0 <= 0 && $0 > -500 } == true, "\(last)")
            #expect((edge["requests"] as? Int).map { $0 >= 12 * RevocationPlan.goodAnswers } == true)
            #expect(edge["unconfirmed"] as? Int == 0 && (edge["errors"] as? [String: Int])?.isEmpty == true)
            #expect((edge["refusals"] as? [String: Int])?.keys.elementsEqual(["status_401"]) == true)
        }
        #expect((json["logout_ms"] as? [String: Double])?["p50"].map { $0 > 0 } == true)
    }

    @Test("an edge that learns of logouts late has 2xx that were sent after the answer, as long as that takes, and the others have none")
    func late() async throws {
        let fleet = try FakeFleet([.atOnce, .after(milliseconds: 300)])
        defer { fleet.stop() }
        let report = try await RevocationRun(fleet.plan(logouts: 6, settling: 400)).run()
        let edges = try #require(try members(report)["edges"] as? [[String: Any]])
        #expect(edges[0]["late_2xx"] as? Int == 0)
        #expect((edges[1]["late_2xx"] as? Int).map { $0 >= 6 && $0 == report.late } == true)
        let last = try #require(edges[1]["last_2xx_ms"] as? [String: Double])
        #expect(last["p50"].map { $0 > 150 && $0 <= 301 } == true, "\(last)")
        #expect(edges[1]["unconfirmed"] as? Int == 0)
    }

    @Test("an edge that never learns of it is watched for so long, and not believed")
    func never() async throws {
        let fleet = try FakeFleet([.never])
        defer { fleet.stop() }
        let report = try await RevocationRun(fleet.plan(logouts: 2, observation: 500)).run()
        let edges = try #require(try members(report)["edges"] as? [[String: Any]])
        #expect(report.late > 2 && edges[0]["unconfirmed"] as? Int == 2)
        #expect((edges[0]["last_2xx_ms"] as? [String: Double])?["min"].map { $0 > 300 } == true)
    }

    @Test("a gateway that leaves the connections of a session without an answer, and lets it in on a new one after the logout, is found out")
    func stuck() async throws {
        let fleet = try FakeFleet([.stuckForOld])
        defer { fleet.stop() }
        let report = try await RevocationRun(fleet.plan(logouts: 3, observation: 500)).run()
        #expect(report.logouts == 3 && report.late == 3)
    }

    @Test("a gateway that answers nothing after the logouts, or opens no WebSocket, is not taken for a good one")
    func gaps() async throws {
        let silent = try FakeFleet([.atOnce, .falls])
        defer { silent.stop() }
        var report = try await RevocationRun(silent.plan(logouts: 2, observation: 400)).run()
        #expect(report.isBlind && report.gaps.count == 1 && report.gaps[0].contains("2 of 2 logouts"), "\(report.gaps)")

        let troubled = try FakeFleet([.troubled])
        defer { troubled.stop() }
        report = try await RevocationRun(troubled.plan(logouts: 2, observation: 400)).run()
        #expect(report.isBlind && report.gaps.count == 1 && report.gaps[0].contains("2 of 2 logouts"), "\(report.gaps)")
        let edges = try #require(try members(report)["edges"] as? [[String: Any]])
        #expect(edges[0]["last_2xx_ms"] is NSNull, "nobody knows whether there would have been another")

        for sockets in [FakeFleet.Sockets.refused, .dropped] {
            let fleet = try FakeFleet([.atOnce], sockets: sockets)
            defer { fleet.stop() }
            report = try await RevocationRun(fleet.plan(logouts: 2, webSockets: true)).run()
            #expect(report.late == 0 && report.isBlind && report.gaps.count == 1 && report.gaps[0].contains("2 of 2 WebSockets"), "\(report.gaps)")
        }

        let plain = try FakeFleet([.atOnce], sockets: .refused)
        defer { plain.stop() }

        report = try await RevocationRun(plain.plan(logouts: 2)).run()
        #expect(!report.isBlind && report.gaps.isEmpty, "\(report.gaps)")
    }

    @Test("a run without a logout has measured nothing")
    func noLogouts() {
        #expect(RevocationReport(RevocationTally(edges: 1), edges: ["http://127.0.0.1:1/"], hasWebSockets: false).isBlind)
    }

    @Test("half of the logouts are made before the command, then as many as there are sessions at a time while it runs")
    func during() async throws {
        let fleet = try FakeFleet([.atOnce, .atOnce])
        defer { fleet.stop() }
        let folder = try temporaryFolder("during")
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try "".write(toFile: "\(folder)/log", atomically: true, encoding: .utf8)
        var plan = try fleet.plan(logouts: 10, sessions: 3, observation: 1000)
        // From the sixth on, once it has been looked at what was there before.
        plan.logout = .command(
            "test $(wc -l < \(folder)/log) -lt 5 || until test -e \(folder)/before; do sleep 0.01; done; "
                + "echo $PORTCULLIS_BENCH_SESSION >> \(folder)/log")
        // Would never end if those were not logged out while it runs.
        plan.during =
            "cp \(folder)/log \(folder)/copy; mv \(folder)/copy \(folder)/before; "
            + "until test $(wc -l < \(folder)/log) -ge 8; do sleep 0.01; done"
        let json = try members(try await RevocationRun(plan).run())
        let during = try #require(json["during"] as? [String: Any])
        #expect(json["logouts"] as? Int == 10 && during["logouts"] as? Int == 3 && during["exit_code"] as? Int == 0)
        #expect((during["logout_ms"] as? [String: Double])?["min"].map { $0 > 0 } == true)
        #expect(try String(contentsOfFile: "\(folder)/before", encoding: .utf8).split(separator: "\n").count == 5)
    }

    @Test("a logout that is not answered 2xx is none: it is repeated, and counts from when it is")
    func repeated() async throws {
        let fleet = try FakeFleet([.atOnce], refusedLogouts: 3)
        defer { fleet.stop() }
        let report = try await RevocationRun(fleet.plan(logouts: 2, sessions: 1)).run()
        let json = try members(report)
        #expect(report.logouts == 2 && report.late == 0 && fleet.logoutCalls == 5)
        #expect(json["logout_errors"] as? [String: Int] == ["status_503": 3])
        // What a user has waited for is told, too.
        let whole = try #require(json["logout_from_first_try_ms"] as? [String: Double])
        #expect(whole["max"].map { $0 >= 3 * Double(RevocationPlan.pause) / 1e6 } == true, "\(whole)")
    }

    @Test("the end of a session's WebSockets is measured, and one that stays open is told")
    func webSockets() async throws {
        let fleet = try FakeFleet([.after(milliseconds: 100), .never])
        defer { fleet.stop() }
        let report = try await RevocationRun(fleet.plan(logouts: 3, observation: 1000, webSockets: true)).run()
        let edges = try #require(try members(report)["edges"] as? [[String: Any]])
        let cut = try #require(edges[0]["websocket_cut_ms"] as? [String: Double])
        #expect(cut["min"].map { $0 > 50 } == true && cut["max"].map { $0 < 900 } == true, "\(cut)")
        #expect(edges[0]["websockets_open"] as? Int == 0 && edges[0]["websockets_refused"] as? Int == 0)
        #expect(edges[1]["websockets_open"] as? Int == 3 && report.openSockets == 3 && edges[1]["websocket_cut_ms"] is NSNull)
    }

    @Test("an edge that lets no fresh session in, and an admin API that makes none, end it")
    func obstacles() async throws {
        let closed = try FakeFleet([.atOnce])
        defer { closed.stop() }
        var plan = try closed.plan(logouts: 2)
        if case .admin(let dialer, _) = plan.source { plan.source = .admin(dialer, token: "wrong") }
        plan.patience = 1_000_000_000
        await #expect(throws: RevocationObstacle.noSession("status_401")) { try await RevocationRun(plan).run() }

        let hidden = try FakeFleet([.atOnce], letsIn: 404)
        defer { hidden.stop() }
        plan = try hidden.plan(logouts: 2)
        plan.patience = 1_000_000_000
        let url = plan.edges[0].target.shown
        await #expect(throws: RevocationObstacle.edgeRefuses(url: url, "status_404")) { try await RevocationRun(plan).run() }

        let mute = try FakeFleet([.atOnce], sockets: .ignored)
        defer { mute.stop() }
        plan = try mute.plan(logouts: 2, webSockets: true)
        plan.patience = 1_000_000_000
        let socket = plan.edges[0].target.shown
        await #expect(throws: RevocationObstacle.noWebSocket(url: socket)) { try await RevocationRun(plan).run() }
    }

    @Test("sessions of a file are logged out by a command, which has session, user and token in its environment and no other place")
    func command() async throws {
        let fleet = try FakeFleet([.atOnce])
        defer { fleet.stop() }
        let folder = try temporaryFolder("logout")
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var plan = try fleet.plan(logouts: 3, sessions: 1, observation: 600)
        plan.source = .list((1...3).map { BenchSession(user: "u\($0)", id: "s\($0)", token: "token-of-s\($0)") })
        // The first attempt for s2 fails.
        plan.logout = .command(
            """
            echo "$# $PORTCULLIS_BENCH_USER $PORTCULLIS_BENCH_SESSION $PORTCULLIS_BENCH_TOKEN" >> \(folder)/log
            test $PORTCULLIS_BENCH_SESSION != s2 -o -e \(folder)/again || ! touch \(folder)/again
            """)
        plan.during = "touch \(folder)/during; exit 3"
        let report = try await RevocationRun(plan).run()
        let json = try members(report)
        // Nobody has told the edges: all that is sent after the command is late.
        #expect(report.logouts == 3 && report.late > 0)
        #expect(json["logout_errors"] as? [String: Int] == ["exit_1": 1])
        let log = try String(contentsOfFile: "\(folder)/log", encoding: .utf8)
        #expect(log == "0 u1 s1 token-of-s1\n0 u2 s2 token-of-s2\n0 u2 s2 token-of-s2\n0 u3 s3 token-of-s3\n")
        #expect(report.commandExitCode == 3 && FileManager.default.fileExists(atPath: "\(folder)/during"))
    }

    @Test("a command's end is told as shells tell it")
    func exitCodes() {
        #expect(ShellCommand.run("exit 0") == 0)
        #expect(ShellCommand.run("exit 7") == 7)
        #expect(ShellCommand.run("kill -9 $$") == 137)
        #expect(ShellCommand.run("test \"$A_NAME\" = 'a b'", environment: [("A_NAME", "a b")]) == 0)
        #expect(ShellCommand.run("test -n \"$PATH\"") == 0)
    }
}
