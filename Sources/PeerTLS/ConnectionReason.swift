// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc
import NIOCore
import NIOPosix
import NIOSSL

/// Why a connection could not be made, or ended, in words for the person who reads the log: nothing that the peer has sent.
package func connectionReason(_ error: any Error) -> String {
    switch error {
    case let several as NIOConnectionError:
        return several.connectionErrors.first.map { connectionReason($0.error) } ?? "the name \(several.host) cannot be resolved"
    case let failure as IOError: return String(cString: strerror(failure.errnoCode))
    case ChannelError.connectTimeout: return "not connected in time"
    case is SocketAddressError: return "the name cannot be resolved"
    case is CertificateForAnotherName: return "its certificate is for another name"
    case NIOSSLError.uncleanShutdown: return "the connection was cut"
    case is NIOSSLError, is BoringSSLError, is NIOSSLExtraError: return tlsReason("\(error)")
    default: return "\(type(of: error))"
    }
}

/// OpenSSL's errors have no type for each cause: their text is all there is.
private func tlsReason(_ text: String) -> String {
    if text.contains("CERTIFICATE_VERIFY_FAILED") {
        return "its certificate is not trusted: signed by another authority, for another name, or out of date"
    }
    if text.contains("ostname") { return "its certificate is for another name" }
    if text.contains("CERTIFICATE_REQUIRED") || text.contains("ALERT") {
        return "it refused the TLS handshake, perhaps for want of a client certificate"
    }
    return "the TLS handshake failed: does it speak TLS there?"
}
