// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Dispatch
import Glibc
import NIOCore
import Synchronization

/// Writes whole lines to a file descriptor from one thread of its own, so that lines never mix and nobody else waits for whoever reads
/// them. What waits is bounded: lines beyond it are dropped and counted, and a line says so as soon as there is room again.
///
/// Safe to use from any thread.
package final class LineWriter: Sendable {
    /// Bytes that may wait for a slow reader.
    private static let waitingLimit = 8 << 20
    /// How long to wait at a time for a reader that takes nothing, in milliseconds.
    private static let pollTimeout: Int32 = 1000

    private struct State {
        var waiting: [ByteBuffer] = []
        var waitingBytes = 0
        /// All that were dropped, and those of which no line has told yet.
        var dropped = 0
        var untold = 0
        /// The queue has been told that there is something to write.
        var isScheduled = false
    }

    private let fileDescriptor: Int32
    private let queue = DispatchQueue(label: "portcullis.lines")
    private let state = Mutex(State())

    /// The descriptor stays open as long as this is used.
    package init(fileDescriptor: Int32 = STDOUT_FILENO) { self.fileDescriptor = fileDescriptor }

    /// One line, its end included. Returns at once.
    package func write(_ line: [UInt8]) { write(ByteBuffer(bytes: line), lines: 1) }

    /// Several lines, each with its end.
    func write(_ batch: ByteBuffer, lines: Int) {
        let schedules = state.withLock { state in
            guard state.waitingBytes + batch.readableBytes <= Self.waitingLimit else {
                state.dropped += lines
                state.untold += lines
                return false
            }
            state.waiting.append(batch)
            state.waitingBytes += batch.readableBytes
            defer { state.isScheduled = true }
            return !state.isScheduled
        }
        if schedules { queue.async { self.drain() } }
    }

    /// Lines that nobody will ever read, since the start.
    package var droppedLines: Int { state.withLock { $0.dropped } }

    /// How long the end of the process waits for a reader that takes nothing.
    private static let flushPatience = DispatchTimeInterval.seconds(1)

    /// Returns when all that was given before has been written, or cannot be within `flushPatience`. For the end of the process.
    package func flush() {
        let written = DispatchSemaphore(value: 0)
        queue.async {
            self.drain()
            written.signal()
        }
        _ = written.wait(timeout: .now() + Self.flushPatience)
    }

    /// On the queue.
    private func drain() {
        while true {
            let (batches, untold) = state.withLock { state in
                let taken = (state.waiting, state.untold)
                state.waiting = []
                state.untold = 0
                if taken.0.isEmpty { state.isScheduled = false }
                return taken
            }
            for batch in batches {
                batch.withUnsafeReadableBytes { writeAll($0) }
                state.withLock { $0.waitingBytes -= batch.readableBytes }
            }
            if untold > 0 {
                let line = "{\"time\":\"\(WallClock.text())\",\"level\":\"warning\",\"message\":\"log lines dropped\",\"lines\":\(untold)}\n"
                Array(line.utf8).withUnsafeBytes { writeAll($0) }
            }
            if batches.isEmpty { return }
        }
    }

    /// Gives up on what cannot be written: a closed pipe is no reason to stop serving.
    private func writeAll(_ bytes: UnsafeRawBufferPointer) {
        var rest = bytes
        while let start = rest.baseAddress, rest.count > 0 {
            let count = Glibc.write(fileDescriptor, start, rest.count)
            if count > 0 {
                rest = UnsafeRawBufferPointer(rebasing: rest[count...])
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN:
                var waits = pollfd(fd: fileDescriptor, events: Int16(POLLOUT), revents: 0)
                _ = poll(&waits, 1, Self.pollTimeout)
            default: return
            }
        }
    }
}
