// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import NIOEmbedded
import NIOHTTP1
import TestSupport

@testable import Gateway

extension SeededGenerator {
    /// Sizes of pieces in which bytes may come.
    mutating func pieces() -> [Int] { (0..<8).map { _ in Int.random(in: 1...9, using: &self) } + [Int.random(in: 1...60, using: &self)] }
}

/// What NIOHTTP1 makes of bytes. It is more lenient than we are; what we take, it must take for the same.
enum Oracle {
    struct Message<Head: Equatable>: Equatable {
        var head: Head
        var body: [UInt8] = []
        var trailers: [String] = []
        var hasEnded = false
    }

    /// It leaves white space at the end of values, which does not belong to them (RFC 9112 §5.1).
    static func lines(_ headers: HTTPHeaders) -> [String] {
        headers.map { name, value in
            let end = value.utf8.lastIndex { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\t") }
            return "\(name): \(end.map { value[...$0] } ?? "")"
        }
    }

    /// Nil if it refuses the bytes.
    static func request(_ bytes: [UInt8]) -> Message<HTTPRequestHead>? {
        let channel = EmbeddedChannel()
        defer { _ = try? channel.finish() }
        do {
            try channel.pipeline.syncOperations.addHandler(ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes)))
            try channel.writeInbound(ByteBuffer(bytes: bytes))
            var message: Message<HTTPRequestHead>?
            while let part = try channel.readInbound(as: HTTPServerRequestPart.self) {
                switch part {
                case .head(let head):
                    if message != nil { return message }
                    message = Message(head: head)
                case .body(let data): message?.body += Array(buffer: data)
                case .end(let trailers):
                    message?.hasEnded = true
                    message?.trailers = trailers.map(lines) ?? []
                    return message
                }
            }
            return message
        } catch {
            return nil
        }
    }

    static func response(_ bytes: [UInt8], to method: HTTPMethod) -> Message<HTTPResponseHead>? {
        let channel = EmbeddedChannel()
        defer { _ = try? channel.finish() }
        do {
            let decoder = HTTPResponseDecoder(leftOverBytesStrategy: .dropBytes, informationalResponseStrategy: .forward)
            try channel.pipeline.syncOperations.addHandler(ByteToMessageHandler(decoder))
            try channel.writeOutbound(HTTPClientRequestPart.head(HTTPRequestHead(version: .http1_1, method: method, uri: "/")))
            try channel.writeInbound(ByteBuffer(bytes: bytes))
            var message: Message<HTTPResponseHead>?
            while let part = try channel.readInbound(as: HTTPClientResponsePart.self) {
                switch part {
                case .head(let head):
                    if message != nil { return message }
                    message = Message(head: head)
                case .body(let data): message?.body += Array(buffer: data)
                case .end:
                    message?.hasEnded = true
                    return message
                }
            }
            return message
        } catch {
            return nil
        }
    }
}
