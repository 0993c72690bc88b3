// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// Scans the heads of upstreams' answers, as strictly as those of requests: an answer that two parsers could read
/// differently is none.
///
/// Enforced: `HTTP/1.0` or `HTTP/1.1`, a status of 100 to 599 and CRLF line ends (the space before an empty reason phrase may be
/// missing, as servers of old leave it out); FieldScanner.swift's rules; one unambiguous length, and none at all in 1xx; no coding in 204 (RFC 9112
/// §6.1); `headerBytes`. One scanner serves all connections of a loop, its results are valid until the next scan. Confined to
/// its loop.
final class ResponseScanner {
    enum Outcome: Equatable {
        case incomplete
        case head
        /// With a reason for logs, never made of what was received.
        case refused(String)
    }

    /// How many field lines an answer may have where `headerCount` allows fewer: that limit is for clients. A thousand is far more
    /// than any service sends, and holds the storage in bounds.
    private static let fieldLimit = 1000
    /// As for requests.
    private static let rescanStep = 1024

    private let headerBytes: Int
    private let fields: FieldScanner
    private(set) var head: ResponseHead

    init(limits: HeadLimits) {
        headerBytes = max(0, min(limits.headerBytes, HeadLimits.greatestHeaderBytes))
        var fieldLimits = limits
        fieldLimits.headerCount = max(limits.headerCount, Self.fieldLimit)
        fields = FieldScanner(limits: fieldLimits)
        head = ResponseHead(section: fields.section)
    }

    /// - Parameters:
    ///   - bytes: all that has come of this head, from its first byte, and perhaps of what follows it.
    ///   - requestMethod: what was asked: an answer to HEAD has no body.
    ///   - alreadyScanned: how many bytes there were when this head was last found incomplete.
    func scan(_ bytes: UnsafeRawBufferPointer, requestMethod: MethodKind, alreadyScanned: Int = 0) -> Outcome {
        guard let start = bytes.baseAddress, !isStillIncomplete(bytes, alreadyScanned) else { return .incomplete }
        let end = min(bytes.count, headerBytes)
        var head = ResponseHead(section: fields.section)
        do throws(ScanStop) {
            try scan(start.assumingMemoryBound(to: UInt8.self), end, requestMethod, &head)
            self.head = head
            return .head
        } catch {
            switch error {
            case .short: return bytes.count >= headerBytes ? .refused("head too large") : .incomplete
            case .refused(.badRequest(let reason)): return .refused(reason)
            case .refused(.headerTooLarge), .refused(.targetTooLong): return .refused("too many fields")
            }
        }
    }

    private func isStillIncomplete(_ bytes: UnsafeRawBufferPointer, _ alreadyScanned: Int) -> Bool {
        guard alreadyScanned > 0, bytes.count < headerBytes, alreadyScanned <= bytes.count,
            alreadyScanned / Self.rescanStep == bytes.count / Self.rescanStep
        else { return false }
        for index in alreadyScanned..<bytes.count where bytes[index] == lineFeed { return false }
        return true
    }

    private func scan(_ bytes: UnsafePointer<UInt8>, _ end: Int, _ requestMethod: MethodKind, _ head: inout ResponseHead) throws(ScanStop) {
        let fieldsStart = try head.readStatusLine(bytes, to: end)
        head.length = try fields.scan(bytes, from: fieldsStart, to: end)
        head.section = fields.section
        let raw = UnsafeRawBufferPointer(start: bytes, count: end)
        let connection = try ConnectionOptions(raw, head.section)
        head.keepAlive = connection.keepsAlive(minorVersion: head.minorVersion)
        head.hasConnectionOptions = connection.others
        head.upgrade = connection.upgrade(raw, head.section, minorVersion: head.minorVersion)
        let length = try bodyLength(raw, head.section, minorVersion: head.minorVersion)
        if head.status < 200, length != nil { throw .bad("an interim answer with a length") }
        if head.status == 204, length == .chunked { throw .bad("Transfer-Encoding in 204") }
        if requestMethod == .head || head.status < 200 || head.status == 204 || head.status == 304 {
            head.framing = .none
        } else {
            head.framing = length ?? .untilClose
            if head.framing == .untilClose { head.keepAlive = false }
        }
    }
}

@available(*, unavailable)
extension ResponseScanner: Sendable {}

extension ResponseHead {
    /// `HTTP/1.1 200 OK` and its line end (RFC 9112 §4). Returns where the fields begin.
    fileprivate mutating func readStatusLine(_ bytes: UnsafePointer<UInt8>, to end: Int) throws(ScanStop) -> Int {
        minorVersion = try readHTTPVersion(bytes, from: 0, to: end)
        guard end > 8 else { throw .short }
        guard bytes[8] == UInt8(ascii: " ") else { throw .bad("no space before the status") }
        for index in 9..<12 {
            guard index < end else { throw .short }
            let digit = bytes[index] &- UInt8(ascii: "0")
            guard digit < 10 else { throw .bad("status is no number of three digits") }
            status = status &* 10 &+ Int(digit)
        }
        guard status >= 100, status <= 599 else { throw .bad("status is not within 100 to 599") }
        guard end > 12 else { throw .short }
        var index = 12
        if bytes[12] == UInt8(ascii: " ") {
            index = endOfText(bytes, 13, end)
            reason = ByteRange(13, index)
            guard index < end else { throw .short }
        }
        return try endOfLine(bytes, index, end)
    }
}
