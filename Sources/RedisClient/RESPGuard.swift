// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// Watches the bytes of Redis before hiredis sees them, and follows their frames just far enough to refuse what hiredis must not get.
///
/// hiredis 0.14 multiplies an array's announced length without a check (CVE-2021-32765), believes negative lengths in places, and has no limit for
/// what one reply allocates; 1.x has some of these limits, and types of RESP3 besides. With this in front both versions see the same
/// language: RESP2, spelled as Redis spells it, within `RedisLimits`. Strict on purpose, so that there is nothing that the two could frame differently.
struct RESPGuard {
    /// What was wrong, for the log: never holds bytes of the reply.
    enum Violation: String, Error {
        case type = "unknown reply type"
        case number = "malformed number"
        case length = "impossible length"
        case line = "malformed line"
        case terminator = "missing line end after a bulk string"
        case nesting = "arrays nested too deep"
        case size = "reply too large"
        case elements = "too many elements"
    }

    private enum Position {
        /// At the first byte of a reply or element.
        case type
        /// In a simple string or error; `bytes` of it so far.
        case line(bytes: Int)
        /// Its CR was read.
        case lineEnd
        case number(Number)
        case numberEnd(Number)
        /// In a bulk string; `left` bytes of it.
        case bulk(left: Int)
        /// After a bulk string: CR, then LF.
        case bulkCR
        case bulkLF
    }

    private struct Number {
        enum Kind { case integer, bulk, array }
        let kind: Kind
        var isNegative = false
        var digits = 0
        var value: Int64 = 0
    }

    private let limits: RedisLimits
    private var position = Position.type
    /// Elements still to come of each open array, outermost first. At most `limits.nesting`, so it allocates once.
    private var open: [Int64] = []
    /// Of the reply that is being read.
    private var bytes = 0
    private var elements: Int64 = 0
    /// Whole replies seen so far.
    private(set) var completed = 0

    init(limits: RedisLimits) {
        self.limits = limits
    }

    /// Follows further bytes, which may end anywhere. After an error the guard is of no use any more.
    mutating func admit(_ buffer: UnsafeRawBufferPointer) throws(Violation) {
        var index = 0
        while index < buffer.count {
            if case .bulk(let left) = position {
                // Content is skipped, not looked at; its size was counted when it was announced.
                let skipped = min(left, buffer.count - index)
                index += skipped
                position = skipped == left ? .bulkCR : .bulk(left: left - skipped)
                continue
            }
            bytes += 1
            guard bytes <= limits.replyBytes else { throw .size }
            try step(buffer[index])
            index += 1
        }
    }

    private mutating func step(_ byte: UInt8) throws(Violation) {
        switch position {
        case .type:
            switch byte {
            case UInt8(ascii: ":"): position = .number(Number(kind: .integer))
            case UInt8(ascii: "$"): position = .number(Number(kind: .bulk))
            case UInt8(ascii: "*"): position = .number(Number(kind: .array))
            case UInt8(ascii: "+"), UInt8(ascii: "-"): position = .line(bytes: 0)
            default: throw .type
            }
        case .line(let count):
            switch byte {
            case UInt8(ascii: "\r"): position = .lineEnd
            case UInt8(ascii: "\n"): throw .line
            default:
                guard count < limits.lineBytes else { throw .size }
                position = .line(bytes: count + 1)
            }
        case .lineEnd:
            guard byte == UInt8(ascii: "\n") else { throw .line }
            finishElement()
        case .number(var number):
            if byte == UInt8(ascii: "\r") {
                // "-0" and "-" are nothing that Redis writes.
                guard number.digits > 0, !(number.isNegative && number.value == 0) else { throw .number }
                position = .numberEnd(number)
            } else {
                try Self.extend(&number, with: byte)
                position = .number(number)
            }
        case .numberEnd(let number):
            guard byte == UInt8(ascii: "\n") else { throw .number }
            try finish(number)
        case .bulk:
            break  // Skipped by `admit`.
        case .bulkCR:
            guard byte == UInt8(ascii: "\r") else { throw .terminator }
            position = .bulkLF
        case .bulkLF:
            guard byte == UInt8(ascii: "\n") else { throw .terminator }
            finishElement()
        }
    }

    private static func extend(_ number: inout Number, with byte: UInt8) throws(Violation) {
        if byte == UInt8(ascii: "-"), number.digits == 0, !number.isNegative {
            number.isNegative = true
            return
        }
        guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { throw .number }
        // No leading zero.
        guard number.digits == 0 || number.value != 0 else { throw .number }
        let digit = Int64(byte - UInt8(ascii: "0"))
        let (product, overflow) = number.value.multipliedReportingOverflow(by: 10)
        // Counted downwards for negative ones, as their range is larger by one.
        let (sum, overflows) = number.isNegative ? product.subtractingReportingOverflow(digit) : product.addingReportingOverflow(digit)
        guard !overflow, !overflows else { throw .number }
        number.value = sum
        number.digits += 1
    }

    private mutating func finish(_ number: Number) throws(Violation) {
        switch number.kind {
        case .integer:
            finishElement()
        case .bulk:
            guard number.value >= -1 else { throw .length }
            guard number.value <= Int64(limits.replyBytes - bytes) else { throw .size }
            if number.value == -1 {
                finishElement()
            } else {
                bytes += Int(number.value)
                position = number.value == 0 ? .bulkCR : .bulk(left: Int(number.value))
            }
        case .array:
            guard number.value >= -1 else { throw .length }
            guard number.value <= Int64(limits.replyElements) - elements else { throw .elements }
            if number.value <= 0 {
                finishElement()
            } else {
                guard open.count < limits.nesting else { throw .nesting }
                elements += number.value
                open.append(number.value)
                position = .type
            }
        }
    }

    private mutating func finishElement() {
        position = .type
        while let left = open.last {
            guard left == 1 else {
                open[open.count - 1] = left - 1
                return
            }
            open.removeLast()
        }
        bytes = 0
        elements = 0
        completed += 1
    }
}
