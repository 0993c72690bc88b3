// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc

/// Reads the answers of a connection (RFC 9112), one after the other, and throws away everything but the status. It knows nothing of the
/// gateway's own scanner on purpose: an instrument that shared the parser of what it measures would share its mistakes.
///
///     begin ─▶ statusLine ─▶ fields ─┬─▶ counted ──────────────────────────────┬─▶ done
///                   ▲            │   ├─▶ chunkSize ⇄ chunkData, chunkEnd       │
///                   └─ 1xx ──────┘   │      └─▶ trailers ──────────────────────┤
///                                    └─▶ untilClose ── end of the connection ──┘
///
/// Enforced: CRLF line ends, no control characters, no folded lines, names that are tokens; one unambiguous length, none in 1xx; no coding but
/// `chunked`; the limits below. It keeps no bytes between two calls: unfinished lines are given to it again. A value of a few words.
struct ResponseParser {
    /// All lines of an answer that are no body, those of interim answers and trailers included, in bytes.
    static let lineBytes = 64 << 10
    /// 1xx answers before the final one. A server sends one or two.
    static let interimAnswers = 16
    /// Digits of a length: less than 10^18 bytes, so that nothing can overflow.
    static let lengthDigits = 18
    /// Digits of a chunk's size: 60 bits.
    static let chunkDigits = 15

    enum Step: Equatable {
        /// What is before `consumed` is done with; the rest is to be given again with what follows.
        case needMore(consumed: Int)
        /// The answer is whole.
        case complete(consumed: Int)
        /// It is no answer that every client would read alike.
        case malformed
    }

    private enum Phase {
        case statusLine, fields, counted, chunkSize, chunkData, chunkEnd, trailers, untilClose, done
    }

    private enum Length: Equatable {
        case none
        case counted(Int)
        case chunked
    }

    private var phase = Phase.done
    /// Of the body, or of the chunk, that is not read yet; in bytes.
    private var left = 0
    private var lineBytesLeft = 0
    private var interimsLeft = 0
    private var isOfHead = false
    private var expectsUpgrade = false
    private var minorVersion = 1
    private var length = Length.none
    private var saysClose = false
    private var saysKeepAlive = false
    /// The body as far as it has come, if it is wanted.
    private(set) var body: [UInt8]?
    /// Of the final answer, once its status line has been read.
    private(set) var status = 0
    /// Whether another request may follow on the connection. Valid when the answer is complete.
    private(set) var keepsConnection = true

    /// The next answer begins.
    ///
    /// - Parameters:
    ///   - isOfHead: it answers HEAD, and has no body.
    ///   - expectsUpgrade: 101 is a final answer; otherwise it is malformed, as nobody has asked for it.
    ///   - keepsBody: `body` is wanted.
    mutating func begin(isOfHead: Bool, expectsUpgrade: Bool = false, keepsBody: Bool = false) {
        phase = .statusLine
        lineBytesLeft = Self.lineBytes
        interimsLeft = Self.interimAnswers
        self.isOfHead = isOfHead
        self.expectsUpgrade = expectsUpgrade
        body = keepsBody ? [] : nil
        keepsConnection = true
    }

    /// - Parameter bytes: what has come and is not consumed.
    mutating func read(_ bytes: UnsafeRawBufferPointer) -> Step {
        guard let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return .needMore(consumed: 0) }
        let end = bytes.count
        var index = 0
        while true {
            switch phase {
            case .statusLine, .fields, .chunkSize, .chunkEnd, .trailers:
                guard index < end, let found = memchr(base + index, 10, end &- index) else {
                    // An unfinished line may be as long as what is left for lines.
                    return end &- index > lineBytesLeft ? .malformed : .needMore(consumed: index)
                }
                let next = UnsafeRawPointer(found) - UnsafeRawPointer(base) &+ 1
                lineBytesLeft &-= next &- index
                guard lineBytesLeft >= 0, next &- index >= 2, base[next &- 2] == 13 else { return .malformed }
                guard readLine(UnsafeBufferPointer(start: base + index, count: next &- index &- 2)) else { return .malformed }
                index = next
            case .counted, .chunkData:
                let count = min(left, end &- index)
                take(UnsafeBufferPointer(start: base + index, count: count))
                index &+= count
                left &-= count
                if left > 0 { return .needMore(consumed: index) }
                phase = phase == .counted ? .done : .chunkEnd
            case .untilClose:
                take(UnsafeBufferPointer(start: base + index, count: end &- index))
                return .needMore(consumed: end)
            case .done:
                return .complete(consumed: index)
            }
        }
    }

    /// The connection has ended in order: whether that is where the answer ends, too.
    mutating func connectionEnded() -> Bool {
        guard phase == .untilClose else { return false }
        phase = .done
        return true
    }

    private mutating func take(_ bytes: UnsafeBufferPointer<UInt8>) {
        if body != nil { body?.append(contentsOf: bytes) }
    }

    // MARK: Lines

    /// - Parameter line: without its line end.
    private mutating func readLine(_ line: UnsafeBufferPointer<UInt8>) -> Bool {
        switch phase {
        case .statusLine: return readStatusLine(line)
        case .fields: return line.isEmpty ? endHead() : readField(line)
        case .chunkSize: return readChunkSize(line)
        case .chunkEnd:
            phase = .chunkSize
            return line.isEmpty
        case .trailers:
            if line.isEmpty {
                phase = .done
                return true
            }
            return FieldLine(line) != nil
        case .counted, .chunkData, .untilClose, .done: return false
        }
    }

    /// `HTTP/1.1 200 OK`, the reason and the space before it being optional (RFC 9112 §4).
    private mutating func readStatusLine(_ line: UnsafeBufferPointer<UInt8>) -> Bool {
        guard line.count >= 12, let start = line.baseAddress, memcmp(start, "HTTP/1.", 7) == 0, line[7] == 0x30 || line[7] == 0x31,
            line[8] == 0x20
        else { return false }
        minorVersion = Int(line[7] &- 0x30)
        status = 0
        for place in 9..<12 {
            let digit = line[place] &- 0x30
            guard digit < 10 else { return false }
            status = status &* 10 &+ Int(digit)
        }
        guard 100...599 ~= status, line.count == 12 || line[12] == 0x20, isText(line, from: 12) else { return false }
        length = .none
        saysClose = false
        saysKeepAlive = false
        phase = .fields
        return true
    }

    private mutating func readField(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        guard let line = FieldLine(bytes) else { return false }
        switch line.name.count {
        case 10 where equals(line.name, "connection"):
            return forEachToken(line.value) { member in
                if equals(member, "close") { saysClose = true }
                if equals(member, "keep-alive") { saysKeepAlive = true }
            }
        case 14 where equals(line.name, "content-length"):
            guard length == .none, let count = decimal(line.value) else { return false }
            length = .counted(count)
        case 17 where equals(line.name, "transfer-encoding"):
            // Whoever speaks 1.0 knows no codings (RFC 9112 §6.1).
            guard length == .none, minorVersion == 1, equals(line.value, "chunked") else { return false }
            length = .chunked
        default: break
        }
        return true
    }

    /// RFC 9112 §6.3, as far as it leaves no two readings.
    private mutating func endHead() -> Bool {
        if status < 200, !(status == 101 && expectsUpgrade) {
            interimsLeft &-= 1
            phase = .statusLine
            return status != 101 && length == .none && interimsLeft >= 0
        }
        guard !(status == 204 && length == .chunked) else { return false }
        keepsConnection = minorVersion == 1 ? !saysClose : saysKeepAlive && !saysClose
        if isOfHead || status < 200 || status == 204 || status == 304 {
            phase = .done
            return true
        }
        switch length {
        case .none:
            keepsConnection = false
            phase = .untilClose
        case .counted(let count):
            left = count
            phase = .counted
        case .chunked: phase = .chunkSize
        }
        return true
    }

    /// Hexadecimal digits, and extensions that nobody looks at (RFC 9112 §7.1).
    private mutating func readChunkSize(_ line: UnsafeBufferPointer<UInt8>) -> Bool {
        var size = 0
        var place = 0
        while place < line.count, let digit = hexadecimalDigit(line[place]) {
            guard place < Self.chunkDigits else { return false }
            size = size << 4 | digit
            place &+= 1
        }
        guard place > 0 else { return false }
        var rest = place
        while rest < line.count, line[rest] == 0x20 || line[rest] == 0x09 { rest &+= 1 }
        guard rest == line.count ? rest == place : line[rest] == UInt8(ascii: ";") && isText(line, from: rest) else { return false }
        left = size
        phase = size == 0 ? .trailers : .chunkData
        return true
    }
}
