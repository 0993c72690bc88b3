// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Synchronization

/// The access log: one JSON line a request (contract §9), gathered by each loop and handed in batches to the one writer.
package final class AccessLog: Sendable {
    private let writer: LineWriter
    private let buffers = Mutex<[NIOLoopBound<AccessLogBuffer>]>([])

    package init(_ writer: LineWriter) { self.writer = writer }

    /// A loop's own end of it. To be called on that loop.
    func buffer(on eventLoop: any EventLoop) -> AccessLogBuffer {
        let buffer = AccessLogBuffer(writer, eventLoop: eventLoop)
        buffers.withLock { $0.append(NIOLoopBound(buffer, eventLoop: eventLoop)) }
        return buffer
    }

    /// Returns when every line of a request that has ended is written. For the end of the process, while the loops still run.
    package func flush() async {
        for buffer in buffers.withLock({ $0 }) {
            try? await buffer.eventLoop.submit { buffer.value.flush() }.get()
        }
        writer.flush()
    }
}

/// Lines of one loop that wait to be handed over: no longer than `interval`, and no more than `batchBytes`.
///
/// Confined to its loop. A line costs no allocation.
final class AccessLogBuffer {
    /// The longest that a line waits.
    private static let interval = TimeAmount.milliseconds(100)
    private static let batchBytes = 64 << 10
    /// The longest line but for its text, in bytes: names of members, numbers, ids.
    private static let lineBytes = 768

    private let writer: LineWriter
    private let eventLoop: any EventLoop
    private let allocator = ByteBufferAllocator()
    private var batch: ByteBuffer
    private var lines = 0
    private var isScheduled = false
    private var clock = WallClock()

    init(_ writer: LineWriter, eventLoop: any EventLoop) {
        self.writer = writer
        self.eventLoop = eventLoop
        batch = allocator.buffer(capacity: Self.batchBytes)
    }

    /// A request has ended now.
    ///
    /// - Parameter identity: whose request it was; nil for an anonymous one.
    func append(_ record: AccessRecord, _ identity: RememberedToken?, snapshot: Snapshot, route: Int) {
        write(record, identity, snapshot.route(route))
        lines += 1
        if batch.readableBytes >= Self.batchBytes { return flush() }
        guard !isScheduled else { return }
        isScheduled = true
        _ = eventLoop.assumeIsolated().scheduleTask(in: Self.interval) { [self] in
            isScheduled = false
            flush()
        }
    }

    func flush() {
        guard lines > 0 else { return }
        writer.write(batch, lines: lines)
        lines = 0
        batch = allocator.buffer(capacity: Self.batchBytes)
    }

    private func write(_ record: AccessRecord, _ identity: RememberedToken?, _ route: Route?) {
        let names = route.map { JSONText.upperBound($0.name) + JSONText.upperBound($0.upstreamName) } ?? 0
        let limit = record.text.count + (identity?.logMembers.count ?? 0) + names + Self.lineBytes
        HeadWriter.write(into: &batch, limit: limit) { line in
            line.add("{\"time\":\"")
            line.add(&clock)
            line.add("\",\"request_id\":\"")
            line.add(record.requestID)
            line.add("\",")
            if record.text.isEmpty { line.add("\"method\":null,\"host\":null,\"path\":null") } else { line.add(record.text) }
            line.add(",\"status\":")
            if record.status > 0 { line.add(number: Int64(record.status)) } else { line.add("null") }
            line.add(",\"code\":")
            if let code = record.outcome.code {
                line.add(byte: UInt8(ascii: "\""))
                line.add(code)
                line.add(byte: UInt8(ascii: "\""))
            } else {
                line.add("null")
            }
            if let route {
                line.add(",\"route\":\"")
                line.add(json: route.name)
                line.add("\",\"upstream\":\"")
                line.add(json: route.upstreamName)
                line.add("\",")
            } else {
                line.add(",\"route\":null,\"upstream\":null,")
            }
            if let identity { line.add(identity.logMembers) } else { line.add("\"user\":null,\"session\":null") }
            line.add(",\"request_bytes\":")
            line.add(number: record.requestBytes)
            line.add(",\"response_bytes\":")
            line.add(number: record.responseBytes)
            line.add(",\"duration_ms\":")
            line.add(milliseconds: record.duration)
            line.add(",\"upstream_ms\":")
            if let duration = record.upstreamDuration { line.add(milliseconds: duration) } else { line.add("null") }
            line.add("}\n")
        }
    }
}

@available(*, unavailable)
extension AccessLogBuffer: Sendable {}

/// Configured texts inside of JSON strings.
enum JSONText {
    /// The longest that one becomes: each byte six characters.
    static func upperBound(_ text: String) -> Int { 6 * text.utf8.count }
}

extension HeadWriter {
    mutating func add(_ clock: inout WallClock) {
        var text: InlineArray<24, UInt8> = .init(repeating: 0)
        withUnsafeMutableBytes(of: &text) { clock.write(to: $0) }
        withUnsafeBytes(of: text) { add($0) }
    }

    mutating func add(number: Int64) {
        if number < 0 { add(byte: UInt8(ascii: "-")) }
        var digits: InlineArray<20, UInt8> = .init(repeating: 0)
        var rest = number.magnitude
        var start = 20
        repeat {
            start -= 1
            digits[start] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        } while rest > 0
        withUnsafeBytes(of: digits) { add(UnsafeRawBufferPointer(rebasing: $0[start...])) }
    }

    /// With three places behind the point.
    mutating func add(milliseconds duration: TimeAmount) {
        let microseconds = max(0, duration.nanoseconds / 1000)
        add(number: microseconds / 1000)
        let rest = microseconds % 1000
        add(byte: UInt8(ascii: "."))
        add(byte: UInt8(ascii: "0") + UInt8(rest / 100))
        add(byte: UInt8(ascii: "0") + UInt8(rest / 10 % 10))
        add(byte: UInt8(ascii: "0") + UInt8(rest % 10))
    }

    mutating func add(json text: String) {
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                add(byte: UInt8(ascii: "\\"))
                add(byte: byte)
            case 0..<0x20:
                add("\\u00")
                add(byte: ASCII.hexDigit(UInt64(byte >> 4)))
                add(byte: ASCII.hexDigit(UInt64(byte)))
            default: add(byte: byte)
            }
        }
    }
}
