// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation

/// Certificates made by the openssl command: an authority, a server's for localhost and 127.0.0.1, a client's. PEM files with P-256 keys.
package final class TestCertificates: Sendable {
    package let folder: String
    /// The authority's certificate.
    package var authority: String { "\(folder)/ca.pem" }
    package var certificate: String { "\(folder)/server.pem" }
    package var privateKey: String { "\(folder)/server.key" }
    package var clientCertificate: String { "\(folder)/client.pem" }
    package var clientPrivateKey: String { "\(folder)/client.key" }

    /// - Parameter names: subject alternative names of the server's certificate, as openssl writes them.
    package init(names: String = "DNS:localhost,IP:127.0.0.1") throws {
        folder = try temporaryFolder("certificates")
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        try openssl(
            ["req", "-x509"] + key + ["-days", "30", "-subj", "/CN=Test authority", "-keyout", "\(folder)/ca.key", "-out", authority])
        for (name, alternatives) in [("server", names), ("client", "DNS:client")] {
            let request = "\(folder)/\(name).csr"
            try openssl(
                ["req"] + key + [
                    "-subj", "/CN=\(name)", "-addext", "subjectAltName=\(alternatives)", "-keyout", "\(folder)/\(name).key", "-out", request,
                ])
            try openssl([
                "x509", "-req", "-in", request, "-CA", authority, "-CAkey", "\(folder)/ca.key", "-CAcreateserial", "-days", "30",
                "-copy_extensions", "copy", "-out", "\(folder)/\(name).pem",
            ])
        }
    }

    /// Removes the files.
    package func remove() { try? FileManager.default.removeItem(atPath: folder) }
}

/// Runs the openssl command and throws what it printed when it fails.
package func openssl(_ arguments: [String]) throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["openssl"] + arguments
    let output = Pipe()
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let printed = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
        throw NotInTime(description: "openssl \(arguments.first ?? ""): \(String(decoding: printed, as: UTF8.self))")
    }
}
