// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// The client's side of an exchange, whatever the protocol: HTTP/1.1 connections, and later HTTP/2 streams.
///
/// Confined to its loop. A class, so that calling it is one table look-up and boxes nothing.
class Downstream {
    /// Sends bytes of the answer; they leave with the next `flush`.
    func write(_ bytes: ByteBuffer) { preconditionFailure("a subclass overrides this") }
    func flush() { preconditionFailure("a subclass overrides this") }
    var isWritable: Bool { preconditionFailure("a subclass overrides this") }

    /// Whether the connection ends with the answer that is being made, so that the answer must say so.
    func endsWithAnswer(refused: Bool) -> Bool { preconditionFailure("a subclass overrides this") }

    /// The answer that is being made says that the connection ends with it: so it does.
    func closesAfterAnswer() { preconditionFailure("a subclass overrides this") }

    /// The exchange is ready for the request's body.
    func pumpBody() { preconditionFailure("a subclass overrides this") }
    /// The answer is complete and has been flushed.
    func exchangeEnded() { preconditionFailure("a subclass overrides this") }
    /// The answer cannot be completed: ends it so that it does not look whole.
    func cut() { preconditionFailure("a subclass overrides this") }
    /// From now on bytes pass as they are, both ways.
    func becomeTunnel() { preconditionFailure("a subclass overrides this") }
    /// The tunnel is over: sends what was written, then closes. `patience` bounds how long the client may take; nil: as long as any stream.
    func closeTunnel(within patience: TimeAmount?) { preconditionFailure("a subclass overrides this") }
}

@available(*, unavailable)
extension Downstream: Sendable {}
