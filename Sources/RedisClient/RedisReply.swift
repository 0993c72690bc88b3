// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

// Public and not package is what an `open` method's signature needs.

/// One reply of Redis, in RESP2 (https://redis.io/docs/latest/develop/reference/protocol-spec/).
public enum RedisReply: Sendable, Equatable {
    case integer(Int64)
    case bulk([UInt8])
    case simple([UInt8])
    /// Redis has refused the command. What that means is the caller's to decide: `errorCode` tells which refusal it is.
    case error([UInt8])
    /// The null bulk string or the null array.
    case null
    case array([RedisReply])

    package var integer: Int64? {
        if case .integer(let value) = self { value } else { nil }
    }

    /// What a bulk or simple string holds.
    package var bytes: [UInt8]? {
        switch self {
        case .bulk(let bytes), .simple(let bytes): bytes
        case .integer, .error, .null, .array: nil
        }
    }

    package var elements: [RedisReply]? {
        if case .array(let elements) = self { elements } else { nil }
    }

    /// The first word of an error reply (`NOSCRIPT`, `READONLY`, `WRONGTYPE`, …), which is its stable part; the text after it may hold names and
    /// values and belongs into no log. Letters, digits and `_`, at most 32; anything else is `ERR`.
    package var errorCode: String? {
        guard case .error(let text) = self else { return nil }
        let word = text.prefix { $0 != UInt8(ascii: " ") }
        let isCode = word.allSatisfy {
            ("A"..."Z").contains(Unicode.Scalar($0)) || ("0"..."9").contains(Unicode.Scalar($0)) || $0 == UInt8(ascii: "_")
        }
        guard isCode, (1...32).contains(word.count) else { return "ERR" }
        return String(decoding: word, as: UTF8.self)
    }
}

/// Why there is no reply.
public enum RedisFailure: Error, Sendable, Equatable {
    /// There was no connection, or it was lost, or too many commands were outstanding.
    case unavailable(wasSent: Bool)
    /// The deadline passed, of this command or of one before it on the same connection.
    case timedOut(wasSent: Bool)
    /// What came from the other side is not Redis' protocol, or exceeds a limit.
    case protocolViolation(wasSent: Bool)

    /// Whether Redis may have carried out the command. If false it never has seen it, and repeating is safe whatever it does.
    package var wasSent: Bool {
        switch self {
        case .unavailable(let wasSent), .timedOut(let wasSent), .protocolViolation(let wasSent): wasSent
        }
    }
}

/// What became of a command.
public enum RedisOutcome: Sendable, Equatable {
    case reply(RedisReply)
    case failure(RedisFailure)
}

/// Who waits for a command's outcome. A class and not a closure, so that sending allocates nothing.
open class RedisRequest {
    /// A reply came from a node that is not known to have the slot: it is about to get it (ASK), or the map here is late (MOVED). Stays so until the
    /// owner sets it back.
    public final var wasAsked = false

    public init() {}

    /// Called exactly once for each `send`, on the client's event loop; a refusal (not connected) comes before `send` returns.
    ///
    /// May send further commands, or close the client.
    open func redisCompleted(_ outcome: RedisOutcome) {
        preconditionFailure("a subclass overrides this")
    }

    /// Whether Redis can answer this command so. If not, the order of replies is in doubt, so that the next one's may be this one's: the command
    /// fails as a violation, and the connection is closed.
    open func accepts(_ reply: RedisReply) -> Bool { true }
}

@available(*, unavailable)
extension RedisRequest: Sendable {}
