// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOSSL

extension Settings {
    /// Of a listener: certificate and key have been read and belong together.
    package struct ServerTLS: Sendable, Equatable {
        package enum MinimumVersion: String, Sendable, CaseIterable {
            case tls12 = "1.2"
            case tls13 = "1.3"
        }

        /// The listener's own, first, then those that lead to the authority.
        package var certificates: [NIOSSLCertificate]
        package var privateKey: NIOSSLPrivateKey
        package var minimumVersion = MinimumVersion.tls12
        /// Clients must have a certificate of one of these authorities. Empty: none is asked for.
        package var clientAuthorities: [NIOSSLCertificate] = []

        package init(certificates: [NIOSSLCertificate], privateKey: NIOSSLPrivateKey) {
            self.certificates = certificates
            self.privateKey = privateKey
        }

        /// - Parameter protocols: what ALPN offers, most wanted first.
        package func configuration(protocols: [Listener.ApplicationProtocol]) -> TLSConfiguration {
            var configuration = TLSConfiguration.makeServerConfiguration(
                certificateChain: certificates.map { .certificate($0) }, privateKey: .privateKey(privateKey))
            configuration.minimumTLSVersion = minimumVersion == .tls13 ? .tlsv13 : .tlsv12
            configuration.applicationProtocols = protocols.map(\.rawValue)
            if !clientAuthorities.isEmpty {
                configuration.trustRoots = .certificates(clientAuthorities)
                configuration.certificateVerification = .noHostnameVerification
            }
            return configuration
        }
    }

    /// Towards an upstream or the store: `ca`, `certificate`, `private_key` and `server_name`.
    package struct ClientTLS: Sendable, Equatable {
        /// Empty: the system's authorities.
        package var authorities: [NIOSSLCertificate] = []
        /// What the client shows; empty: nothing.
        package var certificates: [NIOSSLCertificate] = []
        /// There if and only if there are certificates.
        package var privateKey: NIOSSLPrivateKey?
        /// What the other side's certificate must be for, and SNI. Nil: its host or address.
        package var serverName: String?

        package init() {}

        /// Verifies in full, at least TLS 1.2.
        package var configuration: TLSConfiguration {
            var configuration = TLSConfiguration.makeClientConfiguration()
            configuration.minimumTLSVersion = .tlsv12
            if !authorities.isEmpty { configuration.trustRoots = .certificates(authorities) }
            configuration.certificateChain = certificates.map { .certificate($0) }
            configuration.privateKey = privateKey.map { .privateKey($0) }
            return configuration
        }
    }
}
