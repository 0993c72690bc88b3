// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import HTTPRules

/// Scans request heads, strictly: what two parsers could read differently is refused (contract §4.1, RFC 9112).
///
///     [empty line]  request line  field line…  empty line
///
/// Enforced: RequestLine.swift's and FieldScanner.swift's rules for each line as soon as its bytes are there; one valid Host, also in
/// HTTP/1.0; one unambiguous length; the limits, at the latest when the bytes at hand exceed them. Expectations that nobody has
/// defined are the upstream's to answer (RFC 9110 §10.1.1).
///
/// One scanner serves all connections of a loop: it keeps nothing of an unfinished head, and its results are valid until the
/// next scan. It allocates in `init` only. Confined to its loop.
final class RequestScanner {
    enum Outcome: Equatable {
        /// All is well so far, but the head has not ended.
        case incomplete
        /// `head` is filled.
        case head
        case refused(HeadRefusal)
    }

    /// An unfinished head is looked at again at each line end and each time it has grown by this many bytes (a power of two), so
    /// that bytes which come one by one cost no more than those that come at once.
    private static let rescanStep = 1024

    private let limits: HeadLimits
    private let headerBytes: Int
    private let fields: FieldScanner
    private(set) var head: RequestHead

    init(limits: HeadLimits) {
        self.limits = limits
        headerBytes = max(0, min(limits.headerBytes, HeadLimits.greatestHeaderBytes))
        fields = FieldScanner(limits: limits)
        head = RequestHead(section: fields.section)
    }

    /// - Parameters:
    ///   - bytes: all that has come of this head, from its first byte, and perhaps of what follows it.
    ///   - alreadyScanned: how many bytes there were when this head was last found incomplete.
    func scan(_ bytes: UnsafeRawBufferPointer, alreadyScanned: Int = 0) -> Outcome {
        guard let start = bytes.baseAddress, !isStillIncomplete(bytes, alreadyScanned) else { return .incomplete }
        let end = min(bytes.count, headerBytes)
        var head = RequestHead(section: fields.section)
        do throws(ScanStop) {
            try scan(start.assumingMemoryBound(to: UInt8.self), end, &head)
            self.head = head
            return .head
        } catch {
            switch error {
            case .short: return bytes.count >= headerBytes ? .refused(.headerTooLarge) : .incomplete
            case .refused(let refusal): return .refused(refusal)
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

    private func scan(_ bytes: UnsafePointer<UInt8>, _ end: Int, _ head: inout RequestHead) throws(ScanStop) {
        guard end > 0 else { throw .short }
        // RFC 9112 §2.2: a server should ignore at least one empty line before the request line; we ignore just one.
        let lineStart = bytes[0] == carriageReturn ? try endOfLine(bytes, 0, end) : 0
        let fieldsStart = try head.readRequestLine(bytes, from: lineStart, to: end, targetLimit: limits.targetBytes)
        let raw = UnsafeRawBufferPointer(start: bytes, count: end)
        do throws(ScanStop) {
            head.length = try fields.scan(bytes, from: fieldsStart, to: end)
        } catch {
            // What is wrong with the lines that are complete is said before the rest has come.
            if case .short = error {
                head.section = fields.section
                try judge(raw, &head)
            }
            throw error
        }
        head.section = fields.section
        guard head.section.seen.contains(.host) else { throw .bad("no Host") }
        try judge(raw, &head)
    }

    /// Judges the fields that the gateway has to do with, as far as they are there.
    private func judge(_ bytes: UnsafeRawBufferPointer, _ head: inout RequestHead) throws(ScanStop) {
        let section = head.section
        try judgeHost(bytes, &head)
        head.framing = try bodyLength(bytes, section, minorVersion: head.minorVersion) ?? .none
        head.expectsContinue = head.minorVersion == 1 && lists("100-continue", .expect, bytes, section)
        let connection = try ConnectionOptions(bytes, section)
        head.keepAlive = connection.keepsAlive(minorVersion: head.minorVersion)
        head.hasConnectionOptions = connection.others
        head.upgrade = connection.upgrade(bytes, section, minorVersion: head.minorVersion)
        head.teTrailers = lists("trailers", .te, bytes, section)
    }

    private func judgeHost(_ bytes: UnsafeRawBufferPointer, _ head: inout RequestHead) throws(ScanStop) {
        guard let host = head.section.first(.host)?.value else { return }
        if head.section.repeated.contains(.host) { throw .bad("more than one Host") }
        guard validHost(bytes.slice(host)) else { throw .bad("Host is no valid host") }
        head.host = host
        guard bytes[Int(head.target.start)] != UInt8(ascii: "/"), let base = bytes.baseAddress else { return }
        let pointer = base.assumingMemoryBound(to: UInt8.self)
        guard let authority = head.authority(pointer) else { return }
        guard sameAuthority(bytes.slice(authority), bytes.slice(host), defaultPort: head.defaultPort(pointer)) else {
            throw .bad("target and Host disagree")
        }
    }

    /// Whether one of the fields of a kind lists a word (given in lower case).
    private func lists(_ word: StaticString, _ kind: FieldKind, _ bytes: UnsafeRawBufferPointer, _ section: FieldSection) -> Bool {
        guard section.seen.contains(kind) else { return false }
        for index in 0..<section.count where section[index].kind == kind {
            var elements = ListElements(bytes, section[index].value)
            while let element = elements.next() {
                if equalIgnoringCase(bytes, element, word) { return true }
            }
        }
        return false
    }
}

@available(*, unavailable)
extension RequestScanner: Sendable {}
