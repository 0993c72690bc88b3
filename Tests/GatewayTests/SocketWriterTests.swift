// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc
import NIOCore
import NIOEmbedded
import NIOPosix
import Synchronization
import Testing

@testable import Gateway

/// Counts what goes through the pipeline.
private final class Counter: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer
    var writes = 0

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        writes += 1
        context.write(data, promise: promise)
    }
}

/// Above the counter: whose context the writer writes from.
private final class Top: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    var changes = 0

    func channelWritabilityChanged(context: ChannelHandlerContext) { changes += 1 }
}

/// A writer on one end of a pair of sockets; everything runs on one event loop, which the test is on.
private final class WriterWorld {
    let channel: any Channel
    let counter = Counter()
    let writer: SocketWriter
    /// The other end.
    let peer: CInt

    static func make(isSecure: Bool = false, on eventLoop: any EventLoop) -> EventLoopFuture<NIOLoopBound<WriterWorld>> {
        var ends: [CInt] = [0, 0]
        precondition(socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &ends) == 0)
        _ = fcntl(ends[1], F_SETFL, O_NONBLOCK)
        let peer = ends[1]
        return ClientBootstrap(group: eventLoop).withConnectedSocket(ends[0]).flatMapThrowing { channel in
            NIOLoopBound(try WriterWorld(channel, peer: peer, isSecure: isSecure), eventLoop: eventLoop)
        }
    }

    init(_ channel: any Channel, peer: CInt, isSecure: Bool) throws {
        self.channel = channel
        self.peer = peer
        let top = Top()
        try channel.pipeline.syncOperations.addHandlers([counter, top])
        writer = SocketWriter(try channel.pipeline.syncOperations.context(handler: top), isSecure: isSecure)
    }

    /// All that the other end can read now.
    func read() -> [UInt8] {
        var all: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = Glibc.read(peer, &part, part.count)
            guard count > 0 else { return all }
            all += part[..<count]
        }
    }

    func end() {
        channel.close(promise: nil)
        Glibc.close(peer)
    }
}

@Suite("Writing to a socket")
struct SocketWriterTests {
    /// Runs the body on an event loop with a writer.
    private func with(isSecure: Bool = false, _ body: @escaping @Sendable (WriterWorld) throws -> Void) async throws {
        let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
        try await WriterWorld.make(isSecure: isSecure, on: eventLoop).flatMapThrowing { world in
            defer { world.value.end() }
            try body(world.value)
        }.get()
    }

    @Test("One piece leaves when it is flushed, past the pipeline")
    func onePiece() async throws {
        try await with { world in
            world.writer.write(ByteBuffer(string: "first"))
            #expect(world.read().isEmpty)
            world.writer.flush()
            #expect(world.read() == Array("first".utf8) && world.counter.writes == 0)
            world.writer.flush()
            #expect(world.read().isEmpty)
            world.writer.write(ByteBuffer(string: "second"))
            world.writer.flush()
            #expect(world.read() == Array("second".utf8) && world.counter.writes == 0)
        }
    }

    @Test("Several pieces are gathered by the pipeline and leave in order; what follows goes past it again")
    func severalPieces() async throws {
        try await with { world in
            for text in ["a", "b", "c"] { world.writer.write(ByteBuffer(string: text)) }
            world.writer.flush()
            #expect(world.read() == Array("abc".utf8) && world.counter.writes == 3)
            world.writer.write(ByteBuffer(string: "d"))
            world.writer.flush()
            #expect(world.read() == Array("d".utf8) && world.counter.writes == 3)
        }
    }

    @Test("A peer that does not read is waited for, and then has every byte in its order", arguments: [1, 3])
    func slowPeer(piecesAtOnce: Int) async throws {
        let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
        let world = try await WriterWorld.make(on: eventLoop).get()
        let written = try await eventLoop.submit {
            let world = world.value
            var written: [UInt8] = []
            while world.writer.isWritable {
                for _ in 0..<piecesAtOnce {
                    let piece = (0..<50_000).map { UInt8(truncatingIfNeeded: written.count + $0) &* 7 }
                    written += piece
                    world.writer.write(ByteBuffer(bytes: piece))
                }
                world.writer.flush()
            }
            return written
        }.get()
        var read: [UInt8] = []
        while read.count < written.count { read += try await eventLoop.submit { world.value.read() }.get() }
        #expect(read == written)
        try await eventLoop.submit {
            let world = world.value
            #expect(world.writer.isWritable)
            let before = world.counter.writes
            world.writer.write(ByteBuffer(string: "afterwards"))
            world.writer.flush()
            #expect(world.read() == Array("afterwards".utf8) && world.counter.writes == before)
            world.end()
        }.get()
    }

    @Test("Nothing is written to a socket that has been closed, though another has its number by now")
    func reusedNumber() async throws {
        // Other tests of this process open files meanwhile, and may be given the number first.
        let isReused = Mutex(false)
        for _ in 0..<100 where !isReused.withLock({ $0 }) {
            try await with { world in
                let number = try #require(try world.channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: CInt.self) { $0 })
                world.writer.write(ByteBuffer(string: "secret"))
                world.channel.close(promise: nil)
                var others: [CInt] = [0, 0]
                try #require(socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &others) == 0)
                defer { for other in others { Glibc.close(other) } }
                guard let other = others.firstIndex(of: number) else { return }
                isReused.withLock { $0 = true }
                _ = fcntl(others[1 - other], F_SETFL, O_NONBLOCK)
                world.writer.flush()
                world.writer.write(ByteBuffer(string: "secret"))
                world.writer.flush()
                var byte: UInt8 = 0
                #expect(Glibc.read(others[1 - other], &byte, 1) == -1 && errno == EAGAIN)
                #expect(!world.writer.isActive)
            }
        }
        #expect(isReused.withLock { $0 })
    }

    @Test("A peer that has gone is found by the pipeline, which ends the connection")
    func goneForever() async throws {
        try await with { world in
            Glibc.shutdown(world.peer, CInt(SHUT_RDWR))
            world.writer.write(ByteBuffer(string: "nobody"))
            world.writer.flush()
            #expect(!world.writer.isActive)
        }
    }

    @Test("Under TLS, and where there is no socket, everything goes through the pipeline")
    func throughThePipeline() async throws {
        try await with(isSecure: true) { world in
            world.writer.write(ByteBuffer(string: "plain"))
            world.writer.flush()
            #expect(world.read() == Array("plain".utf8) && world.counter.writes == 1)
        }
        let channel = EmbeddedChannel()
        let top = Top()
        try channel.pipeline.syncOperations.addHandler(top)
        let writer = SocketWriter(try channel.pipeline.syncOperations.context(handler: top), isSecure: false)
        writer.write(ByteBuffer(string: "embedded"))
        #expect(try channel.readOutbound(as: ByteBuffer.self) == nil)
        writer.flush()
        #expect(try channel.readOutbound(as: ByteBuffer.self) == ByteBuffer(string: "embedded"))
    }
}
