// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import HTTPTypes
import NIOCore
import NIOEmbedded
import NIOHTTPTypes
import Testing

@testable import Control

@Suite("A client that does not get on")
struct ConnectionDeadlineTests {
    private let loop = EmbeddedEventLoop()
    private let channel: EmbeddedChannel
    private static let head = HTTPRequestPart.head(HTTPRequest(method: .post, scheme: "http", authority: "x", path: "/"))

    init() throws {
        channel = EmbeddedChannel(handler: ConnectionDeadline(.init(body: .seconds(10), answer: .seconds(90))), loop: loop)
        try channel.connect(to: SocketAddress(unixDomainSocketPath: "/nowhere")).wait()
    }

    private func answer() throws {
        try channel.writeOutbound(HTTPResponsePart.head(HTTPResponse(status: .ok)))
        try channel.writeOutbound(HTTPResponsePart.end(nil))
    }

    @Test("and does not send its body is cut off, though it sends a little again and again")
    func slowBody() throws {
        try channel.writeInbound(Self.head)
        for _ in 0..<9 {
            loop.advanceTime(by: .seconds(1))
            try channel.writeInbound(HTTPRequestPart.body(ByteBuffer(string: "x")))
        }
        #expect(channel.isActive)
        loop.advanceTime(by: .seconds(1))
        #expect(!channel.isActive)
    }

    @Test("and does not take its answer is cut off")
    func slowAnswer() throws {
        try channel.writeInbound(Self.head)
        try channel.writeInbound(HTTPRequestPart.end(nil))
        loop.advanceTime(by: .seconds(89))
        #expect(channel.isActive)
        loop.advanceTime(by: .seconds(1))
        #expect(!channel.isActive)
    }

    @Test("is not one that has its answer, nor one whose next request waits")
    func quick() throws {
        for _ in 0..<3 {
            try channel.writeInbound(Self.head)
            try channel.writeInbound(HTTPRequestPart.end(nil))
        }
        loop.advanceTime(by: .seconds(60))
        try answer()
        loop.advanceTime(by: .seconds(60))
        #expect(channel.isActive)
        try answer()
        try answer()
        loop.advanceTime(by: .hours(1))
        #expect(channel.isActive)
        _ = try channel.finish(acceptAlreadyClosed: true)
    }

    @Test("makes room when others come: the one that has waited for longest, and none whose request is being answered")
    func crowd() throws {
        let crowd = ConnectionCrowd(limit: 2), loop = loop
        func connect() throws -> EmbeddedChannel {
            let channel = EmbeddedChannel(handler: ConnectionDeadline(.init(body: .seconds(10), answer: .seconds(90)), crowd: crowd), loop: loop)
            try channel.connect(to: SocketAddress(unixDomainSocketPath: "/nowhere")).wait()
            return channel
        }
        let asking = try connect()
        try asking.writeInbound(Self.head)
        try asking.writeInbound(HTTPRequestPart.end(nil))
        let silent = try connect(), half = try connect()
        try half.writeInbound(Self.head)
        #expect(asking.isActive && silent.isActive && half.isActive)
        let third = try connect()
        #expect(asking.isActive && !silent.isActive && half.isActive)
        try asking.writeOutbound(HTTPResponsePart.head(HTTPResponse(status: .ok)))
        #expect(asking.isActive && !half.isActive && third.isActive)
        let fourth = try connect()
        #expect(asking.isActive && !third.isActive)
        // It has left by itself, and takes no room.
        try fourth.close().wait()
        let fifth = try connect()
        #expect(asking.isActive && fifth.isActive)
        for channel in [asking, fifth] { _ = try channel.finish(acceptAlreadyClosed: true) }
    }
}
