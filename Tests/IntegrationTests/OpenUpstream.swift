// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Synchronization
import TestSupport

/// What can be open of a session for long, besides WebSockets: the first segment of the target says which it is.
enum OpenKind: String, CaseIterable, Sendable {
    /// An answer without a length that goes on.
    case events
    /// An answer of which a part has come.
    case download
    /// A request that the upstream has and does not answer.
    case silent
    /// A request of whose body a part has been sent.
    case upload

    /// Whether the client has seen the beginning of the answer.
    var isAnswering: Bool {
        switch self {
        case .events, .download: true
        case .silent, .upload: false
        }
    }

    fileprivate var beginning: String {
        switch self {
        case .events: "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nfirst\r\n"
        case .download: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nfirst"
        case .silent, .upload: ""
        }
    }

    fileprivate var ending: String {
        switch self {
        case .events: "4\r\nlast\r\n0\r\n\r\n"
        case .download: "last"
        case .silent, .upload: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nfirstlast"
        }
    }
}

/// An upstream that leaves everything open that it is asked for until it is told to end it, and notes what the other side has ended.
final class OpenUpstream: Sendable {
    private let server: FakeServer
    private let log: Log

    private final class Log: Sendable {
        let state = Mutex((open: [String: LoopbackSocket](), seen: Set<String>()))
    }

    init() throws {
        let log = Log()
        self.log = log
        server = try FakeServer { connection in
            // One request a connection: what comes after its head is its body, and then the end.
            let reader = HTTPReader(connection.socket)
            guard let target = reader.head()?.target, let kind = Self.kind(target) else { return }
            log.state.withLock {
                $0.open[target] = connection.socket
                $0.seen.insert(target)
            }
            connection.write(kind.beginning)
            while !reader.bytes().isEmpty {}
            log.state.withLock { $0.open[target] = nil }
        }
    }

    /// Below `/narrow` are requests without an answer, too.
    private static func kind(_ target: String) -> OpenKind? {
        target.split(separator: "/").first.flatMap { $0 == "narrow" ? .silent : OpenKind(rawValue: String($0)) }
    }

    var port: Int { server.port }

    /// Whether a request to this target has ever arrived.
    func hasSeen(_ target: String) -> Bool { log.state.withLock { $0.seen.contains(target) } }

    /// Whether it is there and has ended neither way.
    func isOpen(_ target: String) -> Bool { log.state.withLock { $0.open[target] != nil } }

    /// Ends the answer well: `firstlast`.
    func finish(_ target: String) {
        guard let socket = log.state.withLock({ $0.open[target] }), let kind = Self.kind(target) else { return }
        socket.write(kind.ending)
    }

    func stop() { server.stop() }
}

/// A client's end of something that is open for long.
final class OpenExchange {
    let kind: OpenKind
    let target: String
    private let connection: HTTPConnection

    /// Sends the request, and waits for the beginning of the answer if it has one now.
    init(_ kind: OpenKind, _ gateway: RunningGateway, token: String, target: String) throws {
        self.kind = kind
        self.target = target
        connection = try HTTPConnection(port: gateway.port, timeout: .seconds(30))
        let fields = [("Authorization", "Bearer \(token)")] + (kind == .upload ? [("Content-Length", "9")] : [])
        connection.socket.write(HTTPConnection.head(kind == .upload ? "POST" : "GET", target, fields) + (kind == .upload ? "first" : ""))
        guard kind.isAnswering else { return }
        guard let head = connection.reader.head(), head.status == 200 else { throw ConnectionEnded() }
        while let bytes = Optional(connection.reader.bytes()), !bytes.contains(UInt8(ascii: "t")) {
            if bytes.isEmpty { throw ConnectionEnded() }
        }
    }

    /// Whether it has been ended so that it does not look complete, or refused before an answer began.
    func isCut() throws -> Bool {
        guard kind.isAnswering else { return try connection.answer().code == "session_revoked" }
        var rest: [UInt8] = []
        while case let more = connection.reader.bytes(), !more.isEmpty { rest += more }
        // Neither the end of the chunks nor of the length, and really an end, not just silence.
        return rest.isEmpty && connection.socket.ending() != .open
    }

    /// Sends what is missing of the request; whether the rest of the answer comes.
    func isWhole() throws -> Bool {
        if kind == .upload { connection.socket.write("last") }
        guard kind.isAnswering else { return try connection.answer().text == "firstlast" }
        var rest: [UInt8] = []
        while case let more = connection.reader.bytes(), !more.isEmpty {
            rest += more
            if kind == .download || String(decoding: rest, as: UTF8.self).hasSuffix("\r\n0\r\n\r\n") { break }
        }
        return String(decoding: rest, as: UTF8.self).contains("last")
    }
}

@available(*, unavailable)
extension OpenExchange: Sendable {}
