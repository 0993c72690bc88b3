// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import NIOHPACK

/// A kind of request of a mix.
package struct RequestShape: Sendable, Equatable {
    package var method: String
    /// Path and query.
    package var target: String
    /// More fields than `Host`, the token's and the length.
    package var fields: [Field]
    package var body: [UInt8]
    /// Whether the token of its turn is sent along.
    package var sendsToken: Bool
    /// How often it comes in relation to the others.
    package var weight: Int

    package struct Field: Sendable, Equatable {
        package var name: String
        package var value: String
        package init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    package init(
        method: String = "GET", target: String, fields: [Field] = [], body: [UInt8] = [], sendsToken: Bool = true, weight: Int = 1
    ) {
        self.method = method
        self.target = target
        self.fields = fields
        self.body = body
        self.sendsToken = sendsToken
        self.weight = weight
    }
}

/// Which request of a table, with which token.
struct RequestChoice {
    var shape: Int
    /// Ignored where there are no tokens.
    var token: Int
}

/// All requests that are sent, prepared as far as they can be: for each, nothing but the token's line is put in. Confined to its loop.
final class RequestTable {
    let shapes: [RequestShape]
    private let tokens: [String]
    /// The lines of each shape's head, but for the token's and the empty one.
    private let heads: [ByteBuffer]
    /// Written anew for each request. As it has left when the next is made, in most cases, nothing is allocated.
    private var scratch = ByteBuffer()
    /// For HTTP/2, made when first asked for.
    private lazy var headerLists = shapes.map { shape in
        var list: [(String, String)] = [
            (":method", shape.method), (":scheme", target.scheme), (":authority", target.authority), (":path", shape.target),
        ]
        list += shape.fields.map { ($0.name.lowercased(), $0.value) }
        if !shape.body.isEmpty || shape.method == "POST" { list.append(("content-length", "\(shape.body.count)")) }
        return HPACKHeaders(list)
    }
    private let target: Target

    /// - Parameter tokens: perhaps none.
    init(_ target: Target, shapes: [RequestShape], tokens: [String]) {
        self.target = target
        self.shapes = shapes
        self.tokens = tokens
        heads = shapes.map { shape in
            var head = "\(shape.method) \(shape.target) HTTP/1.1\r\nHost: \(target.authority)\r\n"
            for field in shape.fields { head += "\(field.name): \(field.value)\r\n" }
            if !shape.body.isEmpty || shape.method == "POST" { head += "Content-Length: \(shape.body.count)\r\n" }
            return ByteBuffer(string: head)
        }
    }

    /// The bytes of a request in HTTP/1.1.
    func bytes(_ choice: RequestChoice) -> ByteBuffer {
        let shape = choice.shape
        scratch.clear()
        scratch.writeImmutableBuffer(heads[shape])
        if !tokens.isEmpty, shapes[shape].sendsToken {
            scratch.writeStaticString("Authorization: Bearer ")
            scratch.writeString(tokens[choice.token])
            scratch.writeStaticString("\r\n\r\n")
        } else {
            scratch.writeStaticString("\r\n")
        }
        if !shapes[shape].body.isEmpty { scratch.writeBytes(shapes[shape].body) }
        return scratch
    }

    /// The fields of a request in HTTP/2.
    func headers(_ choice: RequestChoice) -> HPACKHeaders {
        var headers = headerLists[choice.shape]
        if !tokens.isEmpty, shapes[choice.shape].sendsToken {
            // Many tokens would only drive each other out of the other side's table.
            headers.add(name: "authorization", value: "Bearer \(tokens[choice.token])", indexing: tokens.count == 1 ? .indexable : .nonIndexable)
        }
        return headers
    }

    func isHead(_ choice: RequestChoice) -> Bool { shapes[choice.shape].method == "HEAD" }
}

@available(*, unavailable)
extension RequestTable: Sendable {}
