// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import HTTPTypes

/// One call of an API: a method on a path. An API answers what its type lists and nothing else, and its OpenAPI description is made of the same list.
protocol APICall: CaseIterable, Sendable {
    /// GET covers HEAD.
    var method: HTTPRequest.Method { get }
    /// As OpenAPI spells it: begins with `/`, and `{name}` stands for one segment, whatever is in it.
    var path: String { get }
}

/// Finds calls by path and method.
struct CallTable<Call: APICall>: Sendable {
    /// Nil: any segment.
    private let entries: [(segments: [[UInt8]?], call: Call)]

    init(_ calls: some Sequence<Call>) {
        entries = calls.map { call in
            let segments = call.path.utf8.dropFirst().split(separator: UInt8(ascii: "/")).map { part in
                part.first == UInt8(ascii: "{") ? nil : Array(part)
            }
            return (segments, call)
        }
    }

    /// Throws `notFound` where no call has such a path, and `methodNotAllowed` where only the method differs.
    func call(_ method: HTTPRequest.Method, at segments: some Collection<[UInt8]>) throws(Refusal) -> Call {
        let calls = entries.filter { entry in
            entry.segments.count == segments.count && zip(entry.segments, segments).allSatisfy { $0 == nil || $0 == $1 }
        }.map(\.call)
        guard !calls.isEmpty else { throw .notFound }
        let wanted = method == .head ? .get : method
        guard let call = calls.first(where: { $0.method == wanted }) else {
            throw .methodNotAllowed(calls.flatMap { $0.method == .get ? [.get, .head] : [$0.method] })
        }
        return call
    }
}
