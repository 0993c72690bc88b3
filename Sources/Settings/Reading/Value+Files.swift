// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc
import NIOSSL
import Tokens

extension Value {
    // MARK: Secrets

    /// `{file: PATH}`, `{env: NAME}` or a literal text; not empty.
    func secret() -> [UInt8]? {
        var bytes: [UInt8]?
        switch node.content {
        case .scalar: bytes = text().map { Array($0.utf8) }
        case .sequence: return wrong("must be text, {file: PATH} or {env: NAME}")
        case .mapping:
            guard let section = Section(self) else { return nil }
            let file = section.take("file")
            let variable = section.take("env")
            // What stands where a secret is due is not shown, be it as a key: {hunter2} may be one without its quotes.
            if let place = section.placeOfUnknownKey {
                reader.report(path, "must be text, {file: PATH} or {env: NAME}", at: place)
                return nil
            }
            switch (file, variable) {
            case (let file?, nil): bytes = file.secretFile().map(Self.withoutLineEnd)
            case (nil, let variable?): bytes = variable.line().flatMap { variable.environment($0) }
            default: return wrong("must be text, {file: PATH} or {env: NAME}")
            }
        }
        guard let bytes else { return nil }
        return bytes.isEmpty ? wrong("must not be empty") : bytes
    }

    private func environment(_ name: String) -> [UInt8]? {
        guard Value.isVariableName(name.utf8) else { return wrong("is no name of a variable: it has letters, digits and _") }
        guard let value = reader.variable(name) else { return wrong("needs an environment variable that is not set") }
        return Array(value.utf8)
    }

    private static func withoutLineEnd(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        if bytes.last == UInt8(ascii: "\n") {
            bytes.removeLast()
            if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
        }
        return bytes
    }

    // MARK: Files

    /// The name of a file, as it was written.
    func fileName() -> String? { line(limit: 4 << 10) }

    /// What a named file holds.
    func file() -> [UInt8]? { fileName().flatMap { reader.read($0, for: path) } }

    /// What a named file holds that is nobody else's business.
    func secretFile() -> [UInt8]? { fileName().flatMap { reader.readSecret($0, for: path) } }

    /// What the file of `{file: PATH}` holds.
    func fileInMapping() -> [UInt8]? {
        guard let section = Section(self) else { return nil }
        let bytes = section.require("file") { $0.file() }
        section.finish()
        return bytes
    }

    func signingKey() -> SigningKey? {
        guard let pem = secret() else { return nil }
        do throws(KeyProblem) { return try SigningKey(pkcs8PEM: pem) } catch { return wrong("\(error)") }
    }

    /// Certificates in PEM, at least one.
    func certificates() -> [NIOSSLCertificate]? {
        guard let bytes = file() else { return nil }
        guard let certificates = try? NIOSSLCertificate.fromPEMBytes(bytes), !certificates.isEmpty else {
            return wrong("names a file without a certificate in PEM")
        }
        return certificates
    }

    /// A listener's own: one whose time is over, or not yet come, is used, and warned of.
    private func currentCertificates() -> [NIOSSLCertificate]? {
        guard let certificates = certificates() else { return nil }
        let now = time(nil)
        if certificates[0].notValidAfter < now {
            reader.warn(path, "names a certificate whose time is over: clients will refuse it")
        } else if certificates[0].notValidBefore > now {
            reader.warn(path, "names a certificate whose time has not come yet: clients will refuse it")
        }
        return certificates
    }

    /// A private key in PEM, without a passphrase.
    func privateKey() -> NIOSSLPrivateKey? {
        guard let bytes = secretFile() else { return nil }
        guard let key = try? NIOSSLPrivateKey(bytes: bytes, format: .pem) else {
            return wrong("names a file without a private key in PEM that needs no passphrase")
        }
        return key
    }

    /// `tls` towards an upstream or the store.
    func clientTLS() -> Settings.ClientTLS? {
        guard let section = Section(self) else { return nil }
        var tls = Settings.ClientTLS()
        section.read("ca", into: &tls.authorities) { $0.certificates() }
        section.readOptional("server_name", into: &tls.serverName) { $0.hostName() }
        section.read("certificate", into: &tls.certificates) { $0.certificates() }
        section.readOptional("private_key", into: &tls.privateKey) { $0.privateKey() }
        section.finish()
        guard section.has("certificate") == section.has("private_key") else { return wrong("needs both certificate and private_key, or none") }
        guard reader.isSoundWithin(path) else { return nil }
        guard tls.certificates.isEmpty || (try? NIOSSLContext(configuration: tls.configuration)) != nil else {
            return wrong("has a private_key that is not the certificate's")
        }
        return tls
    }

    /// `tls` of a listener.
    func serverTLS() -> Settings.ServerTLS? {
        guard let section = Section(self) else { return nil }
        let certificates = section.require("certificate") { $0.currentCertificates() }
        let key = section.require("private_key") { $0.privateKey() }
        var minimum = Settings.ServerTLS.MinimumVersion.tls12
        section.read("minimum_version", into: &minimum) { $0.word() }
        var authorities: [NIOSSLCertificate] = []
        section.read("client_ca", into: &authorities) { $0.certificates() }
        section.finish()
        guard let certificates, let key, reader.isSoundWithin(path) else { return nil }
        var tls = Settings.ServerTLS(certificates: certificates, privateKey: key)
        tls.minimumVersion = minimum
        tls.clientAuthorities = authorities
        guard (try? NIOSSLContext(configuration: tls.configuration(protocols: [.http1]))) != nil else {
            return wrong("has a private_key that is not the certificate's")
        }
        return tls
    }
}
