// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import CHiredis
import NIOCore

/// hiredis' reader, guarded: bytes in, replies out. All of hiredis' pointers stay in this file. Confined to its connection's loop.
struct ReplyReader: ~Copyable {
    /// Why the connection cannot be used any more, for the log: never holds bytes of a reply.
    struct Problem: Error {
        let reason: String
    }

    private let reader: UnsafeMutablePointer<redisReader>
    private var gate: RESPGuard

    init(limits: RedisLimits) {
        guard let reader = redisReaderCreate() else { preconditionFailure("out of memory") }
        self.reader = reader
        gate = RESPGuard(limits: limits)
    }

    deinit { redisReaderFree(reader) }

    /// Takes further bytes (they are copied). After an error the reader must not be used any more.
    mutating func feed(_ bytes: UnsafeRawBufferPointer) throws(Problem) {
        do {
            try gate.admit(bytes)
        } catch {
            throw Problem(reason: error.rawValue)
        }
        guard redisReaderFeed(reader, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count) == REDIS_OK else { throw problem }
    }

    /// The same of what has been read from a channel.
    mutating func feed(_ buffer: ByteBuffer) throws(Problem) {
        var problem: Problem?
        buffer.withUnsafeReadableBytes { bytes in
            do throws(Problem) { try feed(bytes) } catch { problem = error }
        }
        if let problem { throw problem }
    }

    /// The next whole reply; nil when more bytes are needed.
    mutating func next() throws(Problem) -> RedisReply? {
        var object: UnsafeMutableRawPointer?
        guard redisReaderGetReply(reader, &object) == REDIS_OK else { throw problem }
        guard let object else { return nil }
        defer { freeReplyObject(object) }
        return try Self.convert(object.assumingMemoryBound(to: redisReply.self))
    }

    /// Whole replies that the guard has let pass; as many must come out of hiredis.
    var admitted: Int { gate.completed }

    /// hiredis' messages quote no more of the input than one byte.
    private var problem: Problem {
        withUnsafeBytes(of: reader.pointee.errstr) { text in
            Problem(reason: String(decoding: text.prefix { $0 != 0 }, as: UTF8.self))
        }
    }

    /// Depth is bounded by the guard. Lengths are int in hiredis 0.14 and size_t in 1.x, never negative here.
    private static func convert(_ reply: UnsafeMutablePointer<redisReply>) throws(Problem) -> RedisReply {
        switch reply.pointee.type {
        case REDIS_REPLY_INTEGER: return .integer(reply.pointee.integer)
        case REDIS_REPLY_STRING: return .bulk(text(reply))
        case REDIS_REPLY_STATUS: return .simple(text(reply))
        case REDIS_REPLY_ERROR: return .error(text(reply))
        case REDIS_REPLY_NIL: return .null
        case REDIS_REPLY_ARRAY:
            let count = Int(reply.pointee.elements)
            var elements: [RedisReply] = []
            elements.reserveCapacity(count)
            for index in 0..<count {
                guard let element = reply.pointee.element?[index] else { throw Problem(reason: "array with a hole") }
                elements.append(try convert(element))
            }
            return .array(elements)
        default: throw Problem(reason: RESPGuard.Violation.type.rawValue)
        }
    }

    private static func text(_ reply: UnsafeMutablePointer<redisReply>) -> [UInt8] {
        Array(UnsafeRawBufferPointer(start: reply.pointee.str, count: Int(reply.pointee.len)))
    }
}
