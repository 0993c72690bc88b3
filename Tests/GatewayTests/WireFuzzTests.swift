// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import HTTPRules
import NIOHTTP1
import TestSupport
import Testing

@testable import Gateway

/// Feeds the codec with what never was. What such a run has found is added to the texts that it begins with, or to the other tests.
@Suite("Fuzzing the wire codec", .serialized)
struct WireFuzzTests {
    // MARK: Requests

    @Test("Whatever request head we take, NIOHTTP1 takes for the same")
    func requests() {
        let scanner = RequestScanner(limits: HeadLimits())
        for text in WireFuzzTexts.requests { checkRequest(text, scanner) }
        let taken = SeededGenerator.run(rounds: 20_000) { fuzzer in
            let bytes = fuzzer.mutated(WireFuzzTexts.requests, words: WireFuzzTexts.words)
            checkRequest(bytes, scanner)
            checkTrickle(bytes, &fuzzer, scanner)
            return scanner.scan(bytes) == .head
        }
        #expect(taken > 0.1)
    }

    private func checkRequest(_ bytes: [UInt8], _ scanner: RequestScanner) {
        guard let ours = scanner.request(bytes) else { return }
        checkRanges(bytes, ours.head.length, ours.head.section)
        // llhttp knows a list of methods only; RFC 9110 §9.1 does not.
        if ours.head.methodKind == .other { return }
        // llhttp takes fewer characters for a host in the target than RFC 3986 §3.2.2, which our Host rule follows.
        if ours.head.targetForm != .origin, ours.target != "*" { return }
        if hasTabAfterLength(bytes, ours.head.section) { return }
        let head = Array(bytes[..<ours.head.length])
        guard let theirs = Oracle.request(head) else {
            Issue.record("only we take \(String(decoding: head, as: UTF8.self).debugDescription)")
            return
        }
        let comment = Comment(rawValue: String(decoding: head, as: UTF8.self).debugDescription)
        #expect(theirs.head.method.rawValue == ours.method && theirs.head.uri == ours.target, comment)
        #expect(theirs.head.version == HTTPVersion(major: 1, minor: ours.head.minorVersion), comment)
        #expect(Oracle.lines(theirs.head.headers) == ours.fields.map { "\($0.name): \($0.value)" }, comment)
        // After an upgrade it stops reading, whatever the length.
        if ours.fields.contains(where: { $0.kind == .upgrade }) { return }
        switch ours.head.framing {
        case .none, .counted(0): #expect(theirs.hasEnded, comment)
        case .counted(let count):
            #expect(!theirs.hasEnded, comment)
            if count <= 100 {
                let body = [UInt8](repeating: UInt8(ascii: "b"), count: Int(count))
                #expect(Oracle.request(head + body.dropLast())?.hasEnded == false && Oracle.request(head + body)?.hasEnded == true, comment)
            }
        case .chunked:
            #expect(!theirs.hasEnded && Oracle.request(head + Array("0\r\n\r\n".utf8))?.hasEnded == true, comment)
        case .untilClose: Issue.record("no request is delimited by the connection's end")
        }
    }

    /// A tab after a length is white space that does not belong to it (RFC 9112 §5.1), for us; llhttp refuses it after Content-Length,
    /// and no longer knows `chunked` with it. So these values are never forwarded with what surrounds them.
    private func hasTabAfterLength(_ bytes: [UInt8], _ section: FieldSection) -> Bool {
        [section.first(.contentLength), section.first(.transferEncoding)].contains { line in
            guard let line else { return false }
            return bytes[Int(line.value.end)...].prefix { $0 != UInt8(ascii: "\r") }.contains(UInt8(ascii: "\t"))
        }
    }

    /// However the bytes come, a good head is found, and nothing else is taken for one.
    private func checkTrickle(_ bytes: [UInt8], _ fuzzer: inout SeededGenerator, _ scanner: RequestScanner) {
        let whole = scanner.scan(bytes)
        let length = scanner.head.length
        var already = 0
        var count = 0
        while count < bytes.count {
            count = min(bytes.count, count + Int.random(in: 1...40, using: &fuzzer))
            switch scanner.scan(Array(bytes[..<count]), alreadyScanned: already) {
            case .incomplete: already = count
            case .head:
                #expect(whole == .head && scanner.head.length == length)
                return
            case .refused:
                if case .refused = whole { return }
                Issue.record("\(whole) in one piece: \(bytes)")
                return
            }
        }
        #expect(whole != .head, "never found: \(bytes)")
    }

    private func checkRanges(_ bytes: [UInt8], _ length: Int, _ section: FieldSection) {
        var end = 0
        for index in 0..<section.count {
            let line = section[index]
            #expect(
                Int(line.name.start) >= end && line.name.end > line.name.start && line.value.start > line.name.end
                    && line.value.end >= line.value.start)
            #expect(aliasHash(of: bytes[Int(line.name.start)..<Int(line.name.end)]) == line.aliasHash)
            end = Int(line.value.end)
        }
        #expect(end + 2 < length && length <= bytes.count && Array(bytes[(length - 4)..<length]) == Array("\r\n\r\n".utf8))
    }

    // MARK: Responses

    @Test("Whatever response head we take, NIOHTTP1 takes for the same")
    func responses() {
        let scanner = ResponseScanner(limits: HeadLimits())
        let methods: [(MethodKind, HTTPMethod)] = [(.get, .GET), (.head, .HEAD), (.post, .POST)]
        for text in WireFuzzTexts.responses { for method in methods { checkResponse(text, method.0, method.1, scanner) } }
        let taken = SeededGenerator.run(rounds: 20_000) { fuzzer in
            let method = methods.randomElement(using: &fuzzer) ?? methods[0]
            let bytes = fuzzer.mutated(WireFuzzTexts.responses, words: WireFuzzTexts.words)
            checkResponse(bytes, method.0, method.1, scanner)
            return scanner.scan(bytes, requestMethod: method.0) == .head
        }
        #expect(taken > 0.1)
    }

    private func checkResponse(_ bytes: [UInt8], _ kind: MethodKind, _ method: HTTPMethod, _ scanner: ResponseScanner) {
        guard scanner.scan(bytes, requestMethod: kind) == .head else { return }
        let ours = scanner.head
        if ours.section.count > 0 { checkRanges(bytes, ours.length, ours.section) }
        if hasTabAfterLength(bytes, ours.section) { return }
        let head = Array(bytes[..<ours.length])
        let comment = Comment(rawValue: String(decoding: head, as: UTF8.self).debugDescription)
        guard let theirs = Oracle.response(head, to: method) else {
            Issue.record("only we take \(String(decoding: head, as: UTF8.self).debugDescription)")
            return
        }
        #expect(Int(theirs.head.status.code) == ours.status, comment)
        #expect(theirs.head.version == HTTPVersion(major: 1, minor: ours.minorVersion), comment)
        #expect(Oracle.lines(theirs.head.headers) == fields(bytes, ours.section).map { "\($0.name): \($0.value)" }, comment)
        // Of interim answers it tells no end.
        if ours.status < 200 || ours.seen.contains(.upgrade) { return }
        switch ours.framing {
        case .none, .counted(0): #expect(theirs.hasEnded, comment)
        case .counted, .untilClose: #expect(!theirs.hasEnded, comment)
        case .chunked:
            #expect(!theirs.hasEnded && Oracle.response(head + Array("0\r\n\r\n".utf8), to: method)?.hasEnded == true, comment)
        }
    }

    // MARK: Chunks

    @Test("A chunked body is the same data however it comes, and NIOHTTP1 decodes it to the same")
    func chunks() {
        for text in WireFuzzTexts.chunked { checkChunks(text, [1]) }
        let taken = SeededGenerator.run(rounds: 20_000) { fuzzer in
            let body = fuzzer.mutated(WireFuzzTexts.chunked, words: WireFuzzTexts.words + WireFuzzTexts.chunkWords)
            checkChunks(body, fuzzer.pieces())
            if case .complete = decode(body).end { return true } else { return false }
        }
        #expect(taken > 0.1)
    }

    private func checkChunks(_ body: [UInt8], _ pieces: [Int]) {
        let whole = decode(body)
        let split = decode(body, pieces: pieces)
        let comment = Comment(rawValue: String(decoding: body, as: UTF8.self).debugDescription)
        switch (whole.end, split.end) {
        case (.refused, .refused), (.complete, _), (.incomplete, _): #expect(whole == split || whole.isRefusedAs(split), comment)
        case (.refused, _): Issue.record("only refused in one piece: \(comment)")
        }
        guard case .complete(let trailers, let consumed) = whole.end else { return }
        let head = Array("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".utf8)
        var section: FieldSection?
        let scanner = TrailerScanner(limits: HeadLimits())
        if !trailers.isEmpty {
            section = trailers.withUnsafeBytes { scanner.scan($0) }
            #expect(section != nil, comment)
        }
        // llhttp judges the message's length by what the trailers say, too. They are never forwarded.
        if let section, section.seen.contains(.contentLength) || section.seen.contains(.transferEncoding) { return }
        guard let theirs = Oracle.request(head + body[..<consumed]) else {
            // llhttp refuses the blanks that RFC 9112 §7.1.1 wants to be read past (BWS).
            let hasBlanks = body.contains(UInt8(ascii: " ")) || body.contains(UInt8(ascii: "\t"))
            #expect(hasBlanks, comment)
            return
        }
        #expect(theirs.hasEnded && theirs.body == whole.data, comment)
        #expect(theirs.trailers == (section.map { fields(trailers, $0).map { "\($0.name): \($0.value)" } } ?? []), comment)
    }

    // MARK: Paths

    @Test("The normal form of a path is its own normal form, unambiguous, and what a plain algorithm makes of it")
    func paths() {
        let normaliser = PathNormaliser()
        for text in WireFuzzTexts.paths { checkPath(text, normaliser) }
        let taken = SeededGenerator.run(rounds: 20_000) { fuzzer in
            let path = fuzzer.mutated(WireFuzzTexts.paths, words: WireFuzzTexts.pathWords)
            checkPath(path, normaliser)
            return normaliser.normalForm(path, merge: true, keep: true) != nil
        }
        #expect(taken > 0.1)
    }

    private func checkPath(_ path: [UInt8], _ normaliser: PathNormaliser) {
        for merge in [false, true] {
            for keep in [false, true] {
                let ours = normaliser.normalForm(path, merge: merge, keep: keep)
                #expect(
                    ours == ReferencePath.normalForm(path, merge: merge, keep: keep),
                    "\(String(decoding: path, as: UTF8.self).debugDescription) \(merge) \(keep)")
                guard let ours else { continue }
                #expect(normaliser.normalForm(ours, merge: merge, keep: keep) == ours)
                // What is refused by default is never made of anything, and what is normal is so whatever is allowed.
                if !keep { #expect(normaliser.normalForm(ours) == ours) }
            }
        }
    }

    // MARK: Hosts

    @Test("A host that we take is one for a plain reading of the grammar")
    func hosts() {
        let taken = SeededGenerator.run(rounds: 20_000) { fuzzer in
            let host = fuzzer.mutated(WireFuzzTexts.hosts, words: WireFuzzTexts.hostWords)
            let ours = host.withUnsafeBytes { validHost($0) }
            #expect(ours == ReferenceHost.isValid(String(decoding: host, as: UTF8.self)), "\(String(decoding: host, as: UTF8.self).debugDescription)")
            return ours
        }
        #expect(taken > 0.1)
    }
}

extension DecodedBody {
    /// Both are refused; how much came out before depends on where the pieces end.
    func isRefusedAs(_ other: DecodedBody) -> Bool {
        guard case .refused = end, case .refused = other.end else { return false }
        return data.starts(with: other.data) || other.data.starts(with: data)
    }
}
