// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import ArgumentParser
import BenchHarness
import NIOCore
import NIOSSL
import PeerTLS

/// How the target is spoken to.
struct Connecting: ParsableArguments {
    @Option(help: ArgumentHelp("With https: the authorities to trust instead of the system's, PEM.", valueName: "file"))
    var ca: String?

    @Flag(help: "With https: take any certificate.")
    var insecure = false

    @Flag(name: .customLong("http2"), help: "Speak HTTP/2: over TLS by ALPN, in clear by prior knowledge.")
    var isHTTP2 = false

    @Option(help: "With --http2: requests at a time on a connection.")
    var streams = 1

    /// More than any server allows.
    private static let greatestStreams = 10_000

    /// For one connection attempt, in seconds.
    private static let connectTimeout: Int64 = 5

    func validate() throws {
        guard 1...Self.greatestStreams ~= streams else { throw ValidationError("--streams must be from 1 to \(Self.greatestStreams).") }
        guard isHTTP2 || streams == 1 else { throw ValidationError("--streams needs --http2.") }
        guard ca == nil || !insecure else { throw ValidationError("--ca and --insecure exclude each other.") }
    }

    /// Looks up the name and reads the certificates.
    func dialer(to target: Target) throws -> Dialer {
        Dialer(
            target: target, address: try address(of: target), tls: try target.isTLS ? tls(isHTTP2 ? "h2" : "http/1.1") : nil,
            streams: isHTTP2 ? streams : nil,
            connectTimeout: .seconds(Self.connectTimeout))
    }

    /// The same for calls of an API: in HTTP/1.1, whatever requests are sent in.
    func adminDialer(to target: Target) throws -> Dialer {
        Dialer(
            target: target, address: try address(of: target), tls: try target.isTLS ? tls("http/1.1") : nil, streams: nil,
            connectTimeout: .seconds(Self.connectTimeout))
    }

    private func address(of target: Target) throws -> SocketAddress {
        let addresses = AddressChoice.addresses(of: target.host, port: target.port)
        guard let address = AddressChoice.reachable(among: addresses) else {
            throw Exit.failure(Exit.unavailable, "the name \(target.host) cannot be resolved")
        }
        return address
    }

    private func tls(_ protocolName: String) throws -> PeerTLS {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.applicationProtocols = [protocolName]
        if insecure { configuration.certificateVerification = .none }
        do {
            if let ca { configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(ca)) }
            return try PeerTLS(configuration)
        } catch {
            throw Exit.failure(Exit.unavailable, "\(ca ?? "the system's certificates") cannot be used as authorities")
        }
    }
}
