// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

@testable import Gateway

/// What a scan found, copied out of the scanner's storage.
struct ScannedRequest: Equatable {
    struct Field: Equatable {
        var name: String
        var value: String
        var kind: FieldKind
    }

    var head: RequestHead
    var method, target, path, host: String
    var query, upgrade: String?
    var fields: [Field]

    static func == (left: ScannedRequest, right: ScannedRequest) -> Bool {
        left.method == right.method && left.target == right.target && left.path == right.path && left.query == right.query
            && left.host == right.host && left.upgrade == right.upgrade && left.fields == right.fields
            && left.head.framing == right.head.framing && left.head.length == right.head.length
    }
}

func text(_ bytes: [UInt8], _ range: ByteRange) -> String { String(decoding: bytes[Int(range.start)..<Int(range.end)], as: UTF8.self) }

func fields(_ bytes: [UInt8], _ section: FieldSection) -> [ScannedRequest.Field] {
    (0..<section.count).map {
        ScannedRequest.Field(name: text(bytes, section[$0].name), value: text(bytes, section[$0].value), kind: section[$0].kind)
    }
}

extension RequestScanner {
    func scan(_ bytes: [UInt8], alreadyScanned: Int = 0) -> Outcome { bytes.withUnsafeBytes { scan($0, alreadyScanned: alreadyScanned) } }

    /// The head, if it is complete and well-formed.
    func request(_ bytes: [UInt8]) -> ScannedRequest? {
        guard scan(bytes) == .head else { return nil }
        let head = self.head
        return ScannedRequest(
            head: head, method: text(bytes, head.method), target: text(bytes, head.target), path: text(bytes, head.path),
            host: text(bytes, head.host),
            query: head.query.map { text(bytes, $0) }, upgrade: head.upgrade.map { text(bytes, $0) }, fields: fields(bytes, head.section))
    }
}

extension RequestScanner.Outcome {
    var isBadRequest: Bool { if case .refused(.badRequest) = self { true } else { false } }
}

extension ResponseScanner {
    func scan(_ bytes: [UInt8], requestMethod: MethodKind = .get, alreadyScanned: Int = 0) -> Outcome {
        bytes.withUnsafeBytes { scan($0, requestMethod: requestMethod, alreadyScanned: alreadyScanned) }
    }
}

extension ResponseScanner.Outcome {
    var isRefused: Bool { if case .refused = self { true } else { false } }
}

extension PathNormaliser {
    /// The normal form, nil if it is refused.
    func normalForm(_ path: [UInt8], merge: Bool = false, keep: Bool = false) -> [UInt8]? {
        switch path.withUnsafeBytes({ normalise($0, mergeSlashes: merge, keepEncodedSlashes: keep) }) {
        case .unchanged: path
        case .rewritten: Array(output)
        case .refused: nil
        }
    }
}

/// What a chunked body decodes to.
struct DecodedBody: Equatable {
    enum End: Equatable { case complete(trailers: [UInt8], consumed: Int), incomplete, refused(HeadRefusal) }
    var data: [UInt8]
    var end: End
}

/// Decodes a body that comes in pieces of the given sizes (the last one as often as needed), as a connection does: what is not consumed
/// is kept.
func decode(_ body: [UInt8], pieces: [Int] = [Int.max], limits: HeadLimits = HeadLimits()) -> DecodedBody {
    var decoder = ChunkedDecoder(limits: limits)
    var data: [UInt8] = []
    var pending: [UInt8] = []
    var consumedBefore = 0
    var offset = 0
    var sizes = pieces.makeIterator()
    var size = Int.max
    while offset < body.count {
        size = sizes.next() ?? size
        let piece = body[offset..<min(body.count, size > body.count - offset ? body.count : offset + max(size, 1))]
        pending += piece
        offset += piece.count
        reading: while true {
            switch pending.withUnsafeBytes({ decoder.next($0) }) {
            case .data(let start, let count):
                data += pending[start..<start + count]
                pending.removeFirst(start + count)
                consumedBefore += start + count
            case .needMore(let consumed):
                pending.removeFirst(consumed)
                consumedBefore += consumed
                break reading
            case .trailers(let section, let consumed):
                let trailers = Array(pending[Int(section.start)..<Int(section.end)])
                return DecodedBody(data: data, end: .complete(trailers: trailers, consumed: consumedBefore + consumed))
            case .refused(let refusal):
                return DecodedBody(data: data, end: .refused(refusal))
            }
        }
    }
    return DecodedBody(data: data, end: .incomplete)
}
