// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

// What the machine is told at the beginning, and what it decides: one action type for each event.
extension ConnectionMachine {
    /// What is sent at the beginning, and what it is answered with.
    enum HandshakeStep: String, Equatable {
        case auth = "AUTH"
        case select = "SELECT"
        case ping = "PING"
        /// Only a primary knows the truth, however it came that we are connected to something else.
        case role = "ROLE"
        /// `INFO server`: which server this is, so that another one at the same address is not taken for it.
        case info = "INFO"

        enum Judgement: Equatable {
            case accepted
            /// It names the server.
            case identified(serverID: UInt64)
            /// The server is a replica, or no data server at all.
            case notPrimary
            /// No Redis answers so.
            case unexpected
        }

        func judge(_ reply: RedisReply) -> Judgement {
            switch self {
            case .auth, .select: return reply == .simple(Array("OK".utf8)) ? .accepted : .unexpected
            case .ping: return reply == .simple(Array("PONG".utf8)) ? .accepted : .unexpected
            case .role:
                guard let role = reply.elements?.first?.bytes else { return .unexpected }
                return role == Array("master".utf8) ? .accepted : .notPrimary
            case .info:
                return hashedRunID(info: reply).map { .identified(serverID: $0) } ?? .unexpected
            }
        }
    }

    struct Settings {
        var handshake: [HandshakeStep]
        var connectTimeout: TimeAmount
        var commandTimeout: TimeAmount
        var depth: Int
    }

    /// A command that came while there was no connection, and one was made that commands wait for.
    struct Waiting {
        let command: RedisCommand
        let request: Request
        let deadline: NIODeadline
    }

    /// What was outstanding when a connection ended, oldest first. `first sent` were written, the others never left.
    struct Ending {
        enum Cause: Equatable { case unavailable, timedOut, violation }
        let requests: CircularBuffer<Request>
        let sent: Int
        let cause: Cause

        func failure(at index: Int) -> RedisFailure {
            switch cause {
            case .unavailable: .unavailable(wasSent: index < sent)
            case .timedOut: .timedOut(wasSent: index < sent)
            case .violation: .protocolViolation(wasSent: index < sent)
            }
        }
    }

    enum StartAction: Equatable {
        case connect(ConnectionID)
        case none
    }

    enum SendAction: Equatable {
        /// Add its bytes to what leaves next, and see to a flush at the end of this tick if told so.
        case append(scheduleFlush: Bool)
        /// It is kept until the connection is ready.
        case hold
        case refuse(RedisFailure)
    }

    enum FlushAction: Equatable {
        /// Write everything that was appended.
        case write
        case none
    }

    enum CloseAction {
        case end(Ending)
        case none
    }

    enum ConnectedAction: Equatable {
        /// Send the handshake's commands.
        case handshake
        /// Nobody waits for this connection any more: close it.
        case discard
    }

    enum ReplyAction {
        case deliver(Request)
        /// A step of the handshake is done.
        case proceed
        /// The connection can be used; these have waited for it.
        case ready(CircularBuffer<Waiting>)
        /// Redis does not let us in.
        case refused(HandshakeStep, Ending)
        /// A server that is no primary: nothing that it says counts.
        case notPrimary(Ending)
        /// A reply that nobody has asked for, or not such a one: what comes next cannot be told.
        case violation(Ending)
        case ignore
    }

    enum LossAction {
        case end(Ending)
        /// The same, and make another connection at once.
        case replace(Ending, ConnectionID)
        case ignore
    }

    enum TimerAction {
        case connect(ConnectionID)
        /// The connection was not made, or its handshake not answered, in time.
        case giveUp(Ending)
        /// A command was not answered in time.
        case timeOut(Ending)
        /// These have waited too long for the connection, which may still come.
        case expire([Request])
        case none
    }
}

/// A hash (FNV-1a, 64 bits) of the `run_id` that a server has given itself at its start: a name, not a protection. Never 0.
///
/// - Parameter reply: to `INFO server`.
func hashedRunID(info reply: RedisReply) -> UInt64? {
    guard case .bulk(let text) = reply else { return nil }
    let name = Array("run_id:".utf8)
    for line in text.split(whereSeparator: { $0 == 0x0A || $0 == 0x0D }) where line.starts(with: name) && line.count > name.count {
        let hash = line.dropFirst(name.count).reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        return max(hash, 1)
    }
    return nil
}
