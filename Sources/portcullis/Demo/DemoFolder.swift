// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc
import Tokens

/// What the demo needs on disk: a configuration as anybody would write it, a fresh signing key and a users file. Gone at the end.
struct DemoFolder {
    struct Problem: Error {
        let reason: String
    }

    let path: String
    var configurationPath: String { path + "/portcullis.yaml" }
    var servicePath: String { path + "/service" }

    init(port: Int, adminPort: Int, redis: RedisURL?) throws(Problem) {
        var template = Array("\(Self.temporaryFolder)/portcullis-demo-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Problem(reason: "no temporary folder can be made: \(String(cString: strerror(errno)))") }
        path = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        try write(Self.signingKey(), to: "signing.pem")
        try write(Array(Self.users.utf8), to: "users")
        try write(Array(Self.configuration(port, adminPort, redis).utf8), to: "portcullis.yaml")
    }

    func remove() {
        for name in ["signing.pem", "users", "portcullis.yaml", "service"] { unlink("\(path)/\(name)") }
        rmdir(path)
    }

    private static func signingKey() throws(Problem) -> [UInt8] {
        do throws(KeyProblem) { return try SigningKey.generate(.eddsa).pem } catch {
            throw Problem(reason: "no signing key can be made: OpenSSL \(error)")
        }
    }

    private static var temporaryFolder: String { getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp" }

    private func write(_ bytes: [UInt8], to name: String) throws(Problem) {
        do throws(NewFile.Problem) {
            try NewFile.write(bytes, to: "\(path)/\(name)")
        } catch {
            throw Problem(reason: "\(path)/\(name) \(error.reason)")
        }
    }

    /// A port of loopback that nobody has.
    static func freePort() throws(Problem) -> Int {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw Problem(reason: "no socket can be made: \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                bind(descriptor, generic, length) == 0 ? getsockname(descriptor, generic, &length) : -1
            }
        }
        guard result == 0 else { throw Problem(reason: "no port of 127.0.0.1 is free: \(String(cString: strerror(errno)))") }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    /// Passwords that everybody may know: `wonderland` and `builder`, as `mkpasswd` makes hashes of them.
    private static let users = """
        alice:$6$portcullisdemo$aDCdCferGIGHIWeM0fdhbTWcKdJcouXmShiFzFjJQuZWGBvps0OnS3f1iF.zpKznFRSPFx.nVI3rp6cQ9ODcc.
        bob:$6$portcullisdemo$JjafL5EK.au3cmSyxBkElgQAlPOluTmr/bZIDrqDcQhGVyngQ1sErFRIaPP1a4MGLpHn7ZmJYp9.Crm1soVp21

        """

    private static func configuration(_ port: Int, _ adminPort: Int, _ redis: RedisURL?) -> String {
        """
        listeners:
          - address: "127.0.0.1:\(port)"
        admin:
          address: "127.0.0.1:\(adminPort)"
        workers: 1
        store:
        \(store(redis))
        sessions:
          signing_key: {file: signing.pem}
          login: {users_file: users}
        upstreams:
          sample:
            endpoints: ["unix:service"]
        routes:
          - path: /public
            upstream: sample
            auth: none
          - path: /
            upstream: sample
        logging: {level: warning, access_log: false}
        shutdown: {drain: 2s}

        """
    }

    private static func store(_ redis: RedisURL?) -> String {
        guard let redis else { return "  kind: memory" }
        var lines = [
            "  redis:", "    addresses: [\(quoted(redis.address))]", "    key_prefix: \"portcullis:demo:\"", "    database: \(redis.database)",
        ]
        if let username = redis.username { lines.append("    username: \(quoted(username))") }
        if let password = redis.password { lines.append("    password: \(quoted(password))") }
        return lines.joined(separator: "\n")
    }

    /// In single quotes nothing but a quote has a meaning; a variable would be filled in.
    private static func quoted(_ text: String) -> String {
        "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''") + "'"
    }
}
