// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import NIOSSL

/// TLS towards Redis or an upstream: the certificates, read and checked once, and the name that the other side must prove.
package struct PeerTLS: Sendable {
    private let context: NIOSSLContext
    private let serverName: String?
    private let checksName: Bool

    /// - Parameter serverName: what the certificate must be for, and SNI; nil: the host that is connected to, by name or by IP address.
    /// - Throws: NIOSSL's errors, also for a server name that is an IP address or none at all.
    package init(_ configuration: TLSConfiguration, serverName: String? = nil) throws {
        var configuration = configuration
        // A connection that is given up is usually one whose other side is silent: no long wait for its farewell.
        configuration.shutdownTimeout = .milliseconds(500)
        context = try NIOSSLContext(configuration: configuration)
        self.serverName = serverName
        checksName = configuration.certificateVerification == .fullVerification
        if let serverName { _ = try NIOSSLClientHandler(context: context, serverHostname: serverName) }
    }

    /// The handler for a connection to this host; nil where it has none, as with a Unix socket.
    package func makeHandler(host: String?) throws -> NIOSSLClientHandler {
        let expected = serverName ?? host.flatMap(Self.nonAddress)
        guard checksName, let name = expected else {
            // Without a name NIOSSL compares the certificate with the peer's IP address.
            return try NIOSSLClientHandler(context: context, serverHostname: expected)
        }
        // NIOSSL alone is content with the name *or* the peer's address. Who names a server means the name. It asks this after its own check,
        // and before anything that was written leaves.
        return try NIOSSLClientHandler._makeSSLClientHandler(context: context, serverHostname: name) { certificate, channel in
            isCertificate(certificate, for: name)
                ? channel.eventLoop.makeSucceededVoidFuture() : channel.eventLoop.makeFailedFuture(CertificateForAnotherName())
        }
    }

    /// What SNI may carry: a name, never an address (RFC 6066 §3).
    private static func nonAddress(_ host: String) -> String? {
        (try? SocketAddress(ipAddress: host, port: 0)) == nil ? host : nil
    }
}

struct CertificateForAnotherName: Error, CustomStringConvertible {
    var description: String { "the certificate is for another name" }
}

/// Whether one of the certificate's alternative names is that host name (RFC 6125 §6.4). One without any has passed NIOSSL by its common name.
private func isCertificate(_ certificate: NIOSSLCertificate, for name: String) -> Bool {
    let names = certificate._subjectAlternativeNames()
    return names.isEmpty || names.contains { $0.nameType == .dnsName && matches(pattern: Array($0.contents), name: Array(name.utf8)) }
}

/// Without case; `*` stands for one whole label, the leftmost, if two others follow.
func matches(pattern: [UInt8], name: [UInt8]) -> Bool {
    let dot = UInt8(ascii: ".")
    let pattern = lowercased(pattern)
    var name = lowercased(name)
    if name.last == dot { name.removeLast() }
    if pattern == name { return !name.isEmpty }
    guard pattern.starts(with: [UInt8(ascii: "*"), dot]), let firstDot = name.firstIndex(of: dot), firstDot > 0 else { return false }
    let parent = pattern.dropFirst()
    return parent.dropFirst().contains(dot) && name[firstDot...].elementsEqual(parent)
}

private func lowercased(_ name: [UInt8]) -> [UInt8] {
    name.map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 | 0x20 : $0 }
}
