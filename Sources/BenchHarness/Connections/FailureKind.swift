// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc
import NIOCore
import NIOPosix
import NIOSSL

/// Why a request got no whole answer. The names are those of the reports (contract §10); answers of 400 and above are counted as
/// `status_503` and so on.
package enum FailureKind: Int, CaseIterable, Sendable {
    /// Nobody listens there.
    case refused
    /// The connection ended before the answer was whole, in order or not.
    case reset
    /// No whole answer within the timeout, which begins with the intended send time; or not connected in time.
    case timeout
    /// What came is no answer of HTTP, or not one that every client would read alike.
    case malformed
    /// The TLS handshake failed, or the other side does not speak the protocol that was asked for.
    case tls
    /// A connection could not be made for another reason, such as no route or no free port or descriptor of this machine.
    case connect
    /// It was never sent: `LoadPlan.waitingLimit` requests were waiting for a connection already.
    case dropped

    package var name: String { "\(self)" }

    /// Of what NIO says of a connection that was not made.
    static func opening(_ error: any Error) -> FailureKind {
        switch error {
        case ChannelError.connectTimeout: .timeout
        case let failure as IOError: failure.errnoCode == ECONNREFUSED ? .refused : failure.errnoCode == ECONNRESET ? .reset : .connect
        case is NIOSSLError, is BoringSSLError, is NIOSSLExtraError: .tls
        default: .connect
        }
    }

    /// Of what ends a connection below HTTP; nil: something else has.
    static func ending(_ error: any Error) -> FailureKind? {
        switch error {
        case NIOSSLError.uncleanShutdown, is IOError: .reset
        case is NIOSSLError, is BoringSSLError, is NIOSSLExtraError: .tls
        default: nil
        }
    }
}
