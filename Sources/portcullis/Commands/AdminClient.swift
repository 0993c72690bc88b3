// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import ArgumentParser
import AsyncHTTPClient
import Glibc
import NIOCore
import NIOPosix
import PeerTLS
import Tokens

/// Calls the admin API of a gateway. Whatever goes wrong is one line on standard error and an exit code.
struct AdminClient {
    enum Method: String { case get = "GET", post = "POST", delete = "DELETE" }

    private static let timeout = TimeAmount.seconds(10)
    /// A user's list is at most `max_per_user` sessions, and those that are remembered.
    private static let answerLimit = 64 << 20
    private static let tokenFileLimit = 64 << 10

    private let url: String
    private let token: String

    init(url: String, tokenFile: String) throws {
        self.url = url.hasSuffix("/") ? String(url.dropLast()) : url
        token = try Self.token(tokenFile)
    }

    /// - Parameter path: with its query.
    func call(_ method: Method, _ path: String, body: String?) async throws -> [UInt8] {
        var request = HTTPClientRequest(url: url + path)
        request.method = .init(rawValue: method.rawValue)
        request.headers.add(name: "Authorization", value: "Bearer \(token)")
        if let body {
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(ByteBuffer(string: body))
        }
        var configuration = HTTPClient.Configuration()
        configuration.redirectConfiguration = .disallow
        configuration.timeout.connect = Self.timeout
        // Where nobody listens, nobody will in the time that somebody waits for a command.
        configuration.connectionPool.retryConnectionEstablishment = false
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        let result: Result<(UInt, [UInt8]), any Error>
        do {
            let response = try await client.execute(request, timeout: Self.timeout)
            let bytes = try await response.body.collect(upTo: Self.answerLimit)
            result = .success((response.status.code, Array(bytes.readableBytesView)))
        } catch {
            result = .failure(error)
        }
        try? await client.shutdown()
        return try judge(result)
    }

    private func judge(_ result: Result<(UInt, [UInt8]), any Error>) throws -> [UInt8] {
        switch result {
        case .failure(let error):
            throw Exit.failure(Exit.unavailable, "the admin listener \(url) cannot be reached: \(connectionReason(error))")
        case .success((let status, let body)):
            if (200..<300).contains(status) { return body }
            let problem = (try? JSONValue(parsing: body))?.object
            let code = problem?["code"]?.string ?? ""
            let detail = problem?["detail"]?.string.map { ": \($0)" } ?? ""
            let advice =
                switch status {
                case 401: "the token in the file is not the gateway's admin.token, or this is not its admin listener"
                case 404 where code == "session_not_found": "the user has no such session"
                case 404: "the gateway has no admin.token, or this is not its admin listener"
                case 503: "the session store cannot be reached: repeat it"
                default: "it answered \(status) \(TerminalText.shown(code + detail))"
                }
            throw Exit.failure(Exit.unavailable, "the admin listener \(url) did not do it: \(advice)")
        }
    }

    private static func token(_ path: String) throws -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw Exit.failure(Exit.unavailable, "the token file \(path) cannot be read: \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while bytes.count <= tokenFileLimit {
            let count = read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else {
                throw Exit.failure(Exit.unavailable, "the token file \(path) cannot be read: \(String(cString: strerror(errno)))")
            }
            if count == 0 { break }
            bytes += chunk[..<count]
        }
        while let last = bytes.last, last == UInt8(ascii: "\n") || last == UInt8(ascii: "\r") { bytes.removeLast() }
        guard !bytes.isEmpty, bytes.count <= tokenFileLimit, bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw Exit.failure(Exit.usage, "the token file \(path) has no token: one line of visible ASCII characters")
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// One segment of a path.
    static func escaped(_ text: String) -> String {
        var escaped = ""
        for byte in text.utf8 {
            let isPlain = byte &- UInt8(ascii: "0") < 10 || (byte | 0x20) &- UInt8(ascii: "a") < 26 || "-._~@".utf8.contains(byte)
            if isPlain {
                escaped.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                let digits = String(byte, radix: 16, uppercase: true)
                escaped += digits.utf8.count == 1 ? "%0\(digits)" : "%\(digits)"
            }
        }
        return escaped
    }
}
