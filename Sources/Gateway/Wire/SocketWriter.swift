// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc
import NIOCore

/// Writes to one connection: straight to its socket where a single piece is flushed and nothing waits before it, which is almost always so; through
/// its pipeline otherwise, which gathers several pieces into one call and waits for a peer that does not read. The pipeline's way costs
/// many times the instructions (`make gate`).
///
///     empty ──write──▶ held ──flush──▶ empty       the socket has taken all of it
///                       │  └──flush──▶ behind      …or not: what is left goes through the pipeline
///                       └──write──▶ gathering ──flush──▶ behind ──all of it has left──▶ empty
///
/// Enforced: pieces leave in the order in which they were written, however they go; a socket that has been closed is never written to, though its
/// number may be another's by then. Whatever goes wrong is left to the pipeline to find and to tell: the socket says it once more.
///
/// A connection under TLS always goes through its pipeline. Confined to its loop, used as long as its handler is in the pipeline.
final class SocketWriter {
    private let context: ChannelHandlerContext
    private let channel: any Channel
    /// -1: always through the pipeline.
    private let socket: CInt
    /// The piece that was written last, not flushed yet.
    private var held: ByteBuffer?
    /// What was written before `held` is in the pipeline, not flushed yet.
    private var isGathering = false
    /// Flushes through the pipeline of which something has not left.
    private var behind = 0

    init(_ context: ChannelHandlerContext, isSecure: Bool) {
        self.context = context
        channel = context.channel
        let socket = isSecure ? nil : try? context.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: CInt.self) { $0 }
        self.socket = socket.flatMap { $0 } ?? -1
    }

    /// Whether the connection is open.
    var isActive: Bool { channel.isActive }

    /// Whether little enough waits to be written; false until the pipeline tells of a change.
    var isWritable: Bool { (socket >= 0 && behind == 0 && !isGathering) || channel.isWritable }

    func write(_ bytes: ByteBuffer) {
        guard socket >= 0 else { return context.write(NIOAny(bytes), promise: nil) }
        let before = held
        held = bytes
        if let before {
            isGathering = true
            context.write(NIOAny(before), promise: nil)
        }
    }

    func flush() {
        guard socket >= 0 else { return context.flush() }
        guard var bytes = held else { return }
        held = nil
        // An inactive channel's number may have been given to another connection.
        if !isGathering, behind == 0, isActive {
            let sent = bytes.withUnsafeReadableBytes { send(socket, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL)) }
            if sent == bytes.readableBytes { return }
            if sent > 0 { bytes.moveReaderIndex(forwardBy: sent) }
        }
        isGathering = false
        flushThroughPipeline(bytes)
    }

    private func flushThroughPipeline(_ bytes: ByteBuffer) {
        behind += 1
        let left = context.eventLoop.makePromise(of: Void.self)
        // After a failure the connection is over, and nothing goes past the pipeline any more.
        left.futureResult.assumeIsolated().whenSuccess { self.behind -= 1 }
        context.writeAndFlush(NIOAny(bytes), promise: left)
    }
}

@available(*, unavailable)
extension SocketWriter: Sendable {}
