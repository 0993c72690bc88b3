// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import NIOHPACK
import NIOHTTP2

/// A connection that speaks HTTP/2 (RFC 9113), several requests at a time. It stands directly above the codec and reads frames: a channel for
/// each stream would cost more than the request.
final class HTTP2Link: Link, ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame
    typealias OutboundOut = HTTP2Frame

    /// What the other side may send of all streams before it is told that it has been read, in bytes: never what an answer waits for.
    static let connectionWindow = 16 << 20
    /// The same of one stream, the most that there can be: bodies are thrown away as they come. Longer ones end as `malformed`.
    static let streamWindow = Int(Int32.max)

    private struct Stream {
        var flight: Flight
        /// 0 until its head has come.
        var status = 0
    }

    /// Has the link in a list until it is gone: no cycle outlives that.
    private let owner: any LinkOwner
    private let table: RequestTable
    private let streamLimit: Int
    private var streams: [HTTP2StreamID: Stream] = [:]
    private var nextStream = HTTP2StreamID(1)
    private var context: ChannelHandlerContext?
    /// When it could be written to; nil before.
    private var openedAt: Int64?
    /// The owner knows that it is open.
    private var isAnnounced = false
    /// Requests at a time that the other side allows (RFC 9113 §6.5.2).
    private var peerLimit = Int.max
    private var isGone = false
    /// The other side takes no new streams, or there are no more numbers.
    private var isLast = false
    private var unconfirmedBytes = 0
    private var fault: FailureKind?
    /// What has come in one read is being looked at: what is written meanwhile leaves in one go after it.
    private var isReading = false
    var isListed = false

    /// - Parameter streams: requests at a time.
    init(owner: any LinkOwner, table: RequestTable, streams: Int) {
        self.owner = owner
        self.table = table
        streamLimit = streams
    }

    var freeSlots: Int { isAnnounced && !isLast && !isGone ? max(0, min(streamLimit, peerLimit) - streams.count) : 0 }

    // MARK: Opening

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    /// The codec for the other side of this handler.
    static func codec() -> NIOHTTP2Handler {
        var connection = NIOHTTP2Handler.ConnectionConfiguration()
        connection.initialSettings = [
            HTTP2Setting(parameter: .enablePush, value: 0), HTTP2Setting(parameter: .initialWindowSize, value: streamWindow),
            HTTP2Setting(parameter: .maxHeaderListSize, value: ResponseParser.lineBytes),
        ]
        // A gateway that ends many streams at once is what is measured, and no attack.
        connection.maximumConnectionGlitches = .max
        var stream = NIOHTTP2Handler.StreamConfiguration()
        stream.streamResetFrameRateLimit.maximumCount = .max
        stream.streamErrorRateLimit.maximumCount = .max
        return NIOHTTP2Handler(mode: .client, connectionConfiguration: connection, streamConfiguration: stream)
    }

    func opened() {
        guard openedAt == nil, !isGone else { return }
        openedAt = BenchClock.now()
        // The codec has sent the settings; the window of the connection is no setting (RFC 9113 §6.9.2).
        write(.rootStream, .windowUpdate(windowSizeIncrement: Self.connectionWindow))
        context?.flush()
        // Several at once may be more than the other side takes, which would refuse some: that it tells in its settings.
        if streamLimit == 1 { announce() }
    }

    private func announce() {
        guard openedAt != nil, !isAnnounced, !isGone else { return }
        isAnnounced = true
        owner.linkOpened(self)
    }

    private func take(_ settings: HTTP2Settings) {
        // One at least: what is too much for a side that allows none for a while waits in the codec.
        for setting in settings where setting.parameter == .maxConcurrentStreams { peerLimit = max(1, setting.value) }
        announce()
    }

    func openingFailed(_ kind: FailureKind) {
        guard openedAt == nil, !isGone else { return }
        isGone = true
        context?.close(promise: nil)
        owner.linkGone(self, kind)
    }

    // MARK: Requests

    func send(_ flight: Flight, _ choice: RequestChoice) {
        let stream = nextStream
        if Int(stream) >= Int(Int32.max) - 2 { isLast = true } else { nextStream = HTTP2StreamID(Int(stream) + 2) }
        streams[stream] = Stream(flight: flight)
        let body = table.shapes[choice.shape].body
        write(stream, .headers(.init(headers: table.headers(choice), endStream: body.isEmpty)))
        if !body.isEmpty { write(stream, .data(.init(data: .byteBuffer(ByteBuffer(bytes: body)), endStream: true))) }
        flush()
    }

    private func flush() {
        if !isReading { context?.flush() }
    }

    private func write(_ stream: HTTP2StreamID, _ payload: HTTP2Frame.FramePayload) {
        context?.write(wrapOutboundOut(HTTP2Frame(streamID: stream, payload: payload)), promise: nil)
    }

    /// Nobody keeps bodies of HTTP/2.
    func takeBody() -> [UInt8] { [] }

    func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        context.flush()
        context.fireChannelReadComplete()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        isReading = true
        let frame = unwrapInboundIn(data)
        switch frame.payload {
        case .headers(let head): read(head, of: frame.streamID)
        case .data(let data):
            // Padding and its length count, too (RFC 9113 §6.9.1).
            confirm(data.data.readableBytes + (data.paddingBytes.map { $0 + 1 } ?? 0))
            if data.endStream { ended(frame.streamID) }
        case .rstStream: fail(frame.streamID, .reset)
        case .goAway(let last, _, _):
            isLast = true
            for stream in streams.keys where stream > last { fail(stream, .reset) }
            endIfLast()
        case .settings(.settings(let settings)): take(settings)
        case .priority, .settings(.ack), .pushPromise, .ping, .windowUpdate, .alternativeService, .origin: break
        }
    }

    private func read(_ head: HTTP2Frame.FramePayload.Headers, of id: HTTP2StreamID) {
        // The codec has checked that a head comes first and that its status is a number; interim ones are followed by another.
        if let stream = streams[id], stream.status < 200 {
            guard let status = head.headers.first(name: ":status").flatMap({ Int($0) }), 100...599 ~= status else {
                return fail(id, .malformed)
            }
            streams[id]?.status = status
        }
        if head.endStream { ended(id) }
    }

    private func confirm(_ count: Int) {
        unconfirmedBytes += count
        guard unconfirmedBytes >= Self.connectionWindow / 2 else { return }
        write(.rootStream, .windowUpdate(windowSizeIncrement: unconfirmedBytes))
        flush()
        unconfirmedBytes = 0
    }

    private func ended(_ id: HTTP2StreamID) {
        guard let stream = streams.removeValue(forKey: id) else { return }
        if stream.status >= 200 {
            owner.link(self, answered: stream.flight, status: stream.status, at: BenchClock.now())
        } else {
            owner.link(self, failed: stream.flight, .malformed)
        }
        endIfLast()
    }

    private func fail(_ id: HTTP2StreamID, _ kind: FailureKind) {
        guard let stream = streams.removeValue(forKey: id) else { return }
        owner.link(self, failed: stream.flight, kind)
        endIfLast()
    }

    // MARK: The end

    func expire(intendedBefore limit: Int64) {
        // Its settings are waited for no longer than an answer.
        if !isAnnounced, let openedAt, openedAt < limit { return close(.timeout) }
        for (id, stream) in streams where stream.flight.intended < limit {
            write(id, .rstStream(.cancel))
            flush()
            fail(id, .timeout)
        }
    }

    private func endIfLast() {
        if isLast, streams.isEmpty { close(.reset) }
    }

    func close(_ kind: FailureKind) {
        guard !isGone else { return }
        isGone = true
        context?.close(promise: nil)
        let flights = streams.values.map(\.flight)
        streams = [:]
        for flight in flights { owner.link(self, failed: flight, kind) }
        owner.linkGone(self, isAnnounced ? nil : kind)
    }

    func channelInactive(context: ChannelHandlerContext) {
        close(fault ?? .reset)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // The connection goes on.
        if let error = error as? NIOHTTP2Errors.StreamError { return fail(error.streamID, .malformed) }
        fault = FailureKind.ending(error) ?? .malformed
        context.close(promise: nil)
    }
}

@available(*, unavailable)
extension HTTP2Link: Sendable {}
