// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// What an answer's head says of the connection to the client.
enum ConnectionSaid {
    /// Nothing: HTTP/1.1 goes on.
    case unsaid
    case close
    /// A 101 that has been accepted: `Connection: Upgrade`, and the upstream's Upgrade field.
    case upgrade
}

/// Answers of the upstream, interim ones included, and trailers both ways.
extension Cleaning {
    private static let ownAnswerBytes = 256

    /// Writes the head that the client gets.
    ///
    /// - Parameter framing: of what the client is sent, which can differ from the upstream's.
    func writeResponseHead(
        _ head: ResponseHead, _ bytes: UnsafeRawBufferPointer, framing: BodyFraming, connection: ConnectionSaid, into buffer: inout ByteBuffer
    ) {
        HeadWriter.write(into: &buffer, limit: head.length + Self.ownAnswerBytes) { writer in
            writer.add("HTTP/1.1 ")
            writer.add(status: head.status)
            writer.add(byte: UInt8(ascii: " "))
            writer.add(bytes, head.reason)
            writer.add("\r\n")
            let keepsLength = keepsLength(head, framing)
            var run = FieldRun()
            for index in 0..<head.fieldCount {
                let line = head.fields[index]
                if goesBack(line, head, bytes, keepsLength: keepsLength, keepsUpgrade: connection == .upgrade) {
                    run.extend(from: line)
                } else {
                    run.end(before: line, bytes, to: &writer)
                    if keepsLength, line.kind == .contentLength { Self.writeAnew(line, bytes, to: &writer) }
                }
            }
            run.end(at: head.length - 2, bytes, to: &writer)
            if framing == .chunked { writer.add("Transfer-Encoding: chunked\r\n") }
            switch connection {
            case .unsaid: writer.add("\r\n")
            case .close: writer.add("Connection: close\r\n\r\n")
            case .upgrade: writer.add("Connection: Upgrade\r\n\r\n")
            }
        }
    }

    /// A length that is no body's is that of the answer to a GET (HEAD, 304; RFC 9110 §8.6); interim answers and 204 have none.
    private func keepsLength(_ head: ResponseHead, _ framing: BodyFraming) -> Bool {
        switch framing {
        case .counted: true
        case .none: head.status >= 200 && head.status != 204
        case .chunked, .untilClose: false
        }
    }

    @inline(__always)
    private func goesBack(_ line: FieldLine, _ head: ResponseHead, _ bytes: UnsafeRawBufferPointer, keepsLength: Bool, keepsUpgrade: Bool) -> Bool {
        switch line.kind {
        case .other, .host, .trailer, .expect, .authorization, .cookie, .origin, .accept, .via, .traceparent, .xRequestID, .date, .xForwardedFor,
            .xForwardedProto, .xForwardedHost, .otherForwarding:
            return !head.hasConnectionOptions || !isNamed(line, byConnectionOf: head.section, bytes)
        case .contentLength: return keepsLength && line.isPlain(bytes)
        case .upgrade: return keepsUpgrade
        case .transferEncoding, .connection, .keepAlive, .proxyConnection, .te, .http2Settings, .proxyAuthenticate, .proxyAuthorization,
            .otherSpelling:
            return false
        }
    }

    /// Writes the chunk that ends a body, with the trailers that go on (RFC 9112 §7.1.2).
    ///
    /// - Parameters:
    ///   - trailers: the section as it came, to its empty line; nil where there is none.
    ///   - scanner: what it finds wrong does not go on at all.
    func writeLastChunk(trailers: ByteBuffer?, fromClient: Bool, scanner: TrailerScanner, into buffer: inout ByteBuffer) {
        guard let trailers else {
            buffer.writeStaticString("0\r\n\r\n")
            return
        }
        trailers.withUnsafeReadableBytes { bytes in
            guard let section = scanner.scan(bytes) else {
                buffer.writeStaticString("0\r\n\r\n")
                return
            }
            HeadWriter.write(into: &buffer, limit: bytes.count + Self.ownAnswerBytes) { writer in
                writer.add("0\r\n")
                var run = FieldRun()
                for index in 0..<section.count {
                    let line = section[index]
                    if passesAsTrailer(line, bytes, fromClient: fromClient) {
                        run.extend(from: line)
                    } else {
                        run.end(before: line, bytes, to: &writer)
                    }
                }
                run.end(at: bytes.count - 2, bytes, to: &writer)
                writer.add("\r\n")
            }
        }
    }

    /// None of the fields that the gateway has to do with may come after a body (RFC 9110 §6.5.1): an upstream that merges trailers
    /// into the head would take them for what was checked there.
    private func passesAsTrailer(_ line: FieldLine, _ bytes: UnsafeRawBufferPointer, fromClient: Bool) -> Bool {
        switch line.kind {
        case .other: !fromClient || !(isOurs(line, bytes) || isAdded(line, bytes))
        case .date: !fromClient
        case .host, .contentLength, .transferEncoding, .connection, .keepAlive, .proxyConnection, .te, .trailer, .upgrade, .http2Settings,
            .proxyAuthenticate, .proxyAuthorization, .expect, .authorization, .cookie, .origin, .accept, .via, .traceparent, .xRequestID,
            .xForwardedFor, .xForwardedProto, .xForwardedHost, .otherForwarding, .otherSpelling:
            false
        }
    }
}
