// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// What a request is called in logs, answers and at the upstream: 8 to 128 of `A-Za-z0-9._-`. Held in place, so that keeping
/// what a client sent allocates nothing.
struct RequestID: Sendable {
    static let lengths = 8...128
    private var words: InlineArray<16, UInt64>
    private(set) var count: Int

    /// 32 hexadecimal digits.
    init(_ high: UInt64, _ low: UInt64) {
        words = InlineArray(repeating: 0)
        count = 32
        withUnsafeMutableBytes(of: &words) { room in
            for index in 0..<16 {
                room[index] = ASCII.hexDigit(high >> UInt64(60 - 4 * index))
                room[index + 16] = ASCII.hexDigit(low >> UInt64(60 - 4 * index))
            }
        }
    }

    /// Nil for what is not sane.
    init?(_ text: UnsafeRawBufferPointer) {
        guard Self.lengths.contains(text.count) else { return nil }
        for byte in text where !Self.isSane(byte) { return nil }
        words = InlineArray(repeating: 0)
        count = text.count
        withUnsafeMutableBytes(of: &words) { $0.copyMemory(from: text) }
    }

    private static func isSane(_ byte: UInt8) -> Bool {
        ASCII.isLetterOrDigit(byte) || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-")
    }

    func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        withUnsafeBytes(of: words) { body(UnsafeRawBufferPointer(rebasing: $0[0..<count])) }
    }
}

/// W3C Trace Context, level 1: the trace that a request belongs to, and our own part of it.
struct TraceParent: Equatable {
    var traceHigh: UInt64
    var traceLow: UInt64
    var span: UInt64
    var flags: UInt8
    /// Nobody sent a trace, or none that is one: `tracestate` is dropped then (§3.3.1.1 there).
    var isNew: Bool

    /// The length of a `traceparent` of version 00.
    static let length = 55

    /// What a valid field says; `span` is the sender's. Nil for anything else. A later version is read as far as it is like version 00.
    init?(_ text: UnsafeRawBufferPointer) {
        guard text.count >= Self.length, text[2] == Self.dash, text[35] == Self.dash, text[52] == Self.dash,
            let version = Self.hex(text, 0, 2), version != 0xff, let high = Self.hex(text, 3, 16), let low = Self.hex(text, 19, 16),
            let span = Self.hex(text, 36, 16), let flags = Self.hex(text, 53, 2), high | low != 0, span != 0
        else { return nil }
        guard text.count == Self.length || (version > 0 && text[Self.length] == Self.dash) else { return nil }
        self.init(traceHigh: high, traceLow: low, span: span, flags: UInt8(flags), isNew: false)
    }

    init(traceHigh: UInt64, traceLow: UInt64, span: UInt64, flags: UInt8, isNew: Bool) {
        self.traceHigh = traceHigh
        self.traceLow = traceLow
        self.span = span
        self.flags = flags
        self.isNew = isNew
    }

    private static let dash = UInt8(ascii: "-")

    /// Lower case only, as the recommendation has it.
    private static func hex(_ text: UnsafeRawBufferPointer, _ start: Int, _ count: Int) -> UInt64? {
        var number: UInt64 = 0
        for byte in text[start..<(start + count)] {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): number = number << 4 | UInt64(byte - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): number = number << 4 | UInt64(byte - UInt8(ascii: "a") + 10)
            default: return nil
            }
        }
        return number
    }

    /// Exactly `length` bytes.
    func write(to room: UnsafeMutableRawPointer) {
        let bytes = room.assumingMemoryBound(to: UInt8.self)
        bytes[0] = UInt8(ascii: "0")
        bytes[1] = UInt8(ascii: "0")
        bytes[2] = Self.dash
        bytes[35] = Self.dash
        bytes[52] = Self.dash
        for index in 0..<16 {
            let shift = UInt64(60 - 4 * index)
            bytes[3 + index] = ASCII.hexDigit(traceHigh >> shift)
            bytes[19 + index] = ASCII.hexDigit(traceLow >> shift)
            bytes[36 + index] = ASCII.hexDigit(span >> shift)
        }
        bytes[53] = ASCII.hexDigit(UInt64(flags >> 4))
        bytes[54] = ASCII.hexDigit(UInt64(flags))
    }
}

/// The two names that a request gets for its way through the services.
struct Correlation {
    var requestID: RequestID
    var trace: TraceParent
}

/// Makes ids for one event loop: xoshiro256++ (Blackman, Vigna 2018) seeded by the system. They have to be different, not secret; 256
/// bits of state keep the sequences of many loops and gateways apart.
struct CorrelationSource {
    private var state: (UInt64, UInt64, UInt64, UInt64)

    init() {
        var system = SystemRandomNumberGenerator()
        // All zeros is the one state that it never leaves.
        state = (system.next() | 1, system.next(), system.next(), system.next())
    }

    mutating func next() -> UInt64 {
        let sum = state.0 &+ state.3
        let result = (sum << 23 | sum >> 41) &+ state.0
        let shifted = state.1 << 17
        state.2 ^= state.0
        state.3 ^= state.1
        state.1 ^= state.2
        state.0 ^= state.3
        state.2 ^= shifted
        state.3 = state.3 << 45 | state.3 >> 19
        return result
    }

    mutating func requestID() -> RequestID { RequestID(next(), next()) }

    /// What the client sent is kept if it is sane and there once; the rest is made. A trace goes on with a span of ours.
    mutating func correlate(_ head: RequestHead, _ bytes: UnsafeRawBufferPointer) -> Correlation {
        var kept: RequestID?
        if let line = head.first(.xRequestID), !head.repeated.contains(.xRequestID) { kept = RequestID(bytes.slice(line.value)) }
        // Never zero, which means "none".
        let span = next() | 1
        if let line = head.first(.traceparent), !head.repeated.contains(.traceparent), var trace = TraceParent(bytes.slice(line.value)) {
            trace.span = span
            return Correlation(requestID: kept ?? requestID(), trace: trace)
        }
        let trace = TraceParent(traceHigh: next() | 1, traceLow: next(), span: span, flags: 0, isNew: true)
        return Correlation(requestID: kept ?? requestID(), trace: trace)
    }
}
