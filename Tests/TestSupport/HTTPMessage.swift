// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation

/// A request or an answer of HTTP/1.1 as the tests' own reader saw it; deliberately not the product's.
package struct HTTPMessage: Sendable {
    /// The request or status line.
    package let start: String
    /// Names in lower case, in the order of arrival.
    package let fields: [(name: String, value: String)]
    package fileprivate(set) var body: [UInt8] = []
    /// False when the connection ended inside the body.
    package fileprivate(set) var isWhole = false

    /// All values of a field.
    package subscript(name: String) -> [String] { fields.filter { $0.name == name.lowercased() }.map(\.value) }

    /// Of an answer; 0 where there is none.
    package var status: Int {
        let words = start.split(separator: " ")
        return words.count > 1 ? Int(words[1]) ?? 0 : 0
    }

    /// Of a request.
    package var method: String { String(start.prefix { $0 != " " }) }
    package var target: String {
        let words = start.split(separator: " ")
        return words.count > 1 ? String(words[1]) : ""
    }

    package var text: String { String(decoding: body, as: UTF8.self) }

    /// A member of the JSON object in the body.
    package func member<Value>(_ name: String, as type: Value.Type = String.self) -> Value? {
        (try? JSONSerialization.jsonObject(with: Data(body)) as? [String: Any])?[name] as? Value
    }

    /// `code` of a rejection.
    package var code: String? { member("code") }

    /// Values of `Set-Cookie` by name.
    package var cookies: [String: String] {
        var cookies: [String: String] = [:]
        for line in self["Set-Cookie"] {
            let pair = line.prefix { $0 != ";" }.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if pair.count == 2 { cookies[String(pair[0])] = String(pair[1]) }
        }
        return cookies
    }
}

/// Reads messages from a socket, one after the other, with blocking calls.
package final class HTTPReader {
    private let socket: LoopbackSocket
    private var unread: [UInt8] = []

    package init(_ socket: LoopbackSocket) { self.socket = socket }

    /// The next request with its body; nil when the other side has closed.
    package func request() -> HTTPMessage? {
        guard var message = head() else { return nil }
        let hasBody = !message["Content-Length"].isEmpty || !message["Transfer-Encoding"].isEmpty
        if hasBody { readBody(of: &message) } else { message.isWhole = true }
        return message
    }

    /// The next final answer with its body; nil when the other side closed before its head was whole.
    ///
    /// - Parameter method: of the request: an answer to HEAD has no body.
    package func answer(to method: String) -> HTTPMessage? {
        while var message = head() {
            if 100..<200 ~= message.status, message.status != 101 { continue }
            if method == "HEAD" || message.status == 101 || message.status == 204 || message.status == 304 {
                message.isWhole = true
            } else {
                readBody(of: &message)
            }
            return message
        }
        return nil
    }

    /// Start line and fields of the next message.
    package func head() -> HTTPMessage? {
        guard let start = line(), !start.isEmpty else { return nil }
        var fields: [(name: String, value: String)] = []
        while let line = line() {
            if line.isEmpty { return HTTPMessage(start: start, fields: fields) }
            let pair = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            fields.append((pair[0].lowercased(), pair.count > 1 ? pair[1].trimmingCharacters(in: .whitespaces) : ""))
        }
        return nil
    }

    /// The next bytes as they come, after a head that ended the talk in messages; empty at the end.
    package func bytes() -> [UInt8] {
        if unread.isEmpty { return socket.read() }
        defer { unread = [] }
        return unread
    }

    private func readBody(of message: inout HTTPMessage) {
        if message["Transfer-Encoding"].contains("chunked") {
            while let size = line().flatMap({ Int($0.prefix { $0 != ";" }, radix: 16) }) {
                if size == 0 {
                    while let trailer = line() {
                        if trailer.isEmpty {
                            message.isWhole = true
                            return
                        }
                    }
                    return
                }
                guard take(size, into: &message.body), line() == "" else { return }
            }
        } else if let length = message["Content-Length"].first.flatMap({ Int($0) }) {
            message.isWhole = take(length, into: &message.body)
        } else {
            while true {
                let more = bytes()
                if more.isEmpty { break }
                message.body += more
            }
            message.isWhole = true
        }
    }

    private func line() -> String? {
        while true {
            if let end = unread.firstIndex(of: UInt8(ascii: "\n")) {
                defer { unread.removeFirst(end + 1) }
                return String(decoding: unread[..<max(0, end - 1)], as: UTF8.self)
            }
            let more = socket.read()
            if more.isEmpty { return nil }
            unread += more
        }
    }

    private func take(_ count: Int, into body: inout [UInt8]) -> Bool {
        var left = count
        while left > 0 {
            if unread.isEmpty {
                unread = socket.read()
                if unread.isEmpty { return false }
            }
            let step = min(left, unread.count)
            body += unread[..<step]
            unread.removeFirst(step)
            left -= step
        }
        return true
    }
}

@available(*, unavailable)
extension HTTPReader: Sendable {}
