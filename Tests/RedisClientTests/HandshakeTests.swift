// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import NIOSSL
import TestSupport
import Testing

@testable import PeerTLS
@testable import RedisClient

@Suite("The beginning of a connection")
struct HandshakeTests {
    private let pong = RedisOutcome.reply(.simple(Array("PONG".utf8)))
    private let unavailable = RedisOutcome.failure(.unavailable(wasSent: false))

    // MARK: Authentication

    @Test("a password alone is the default user's")
    func password() async throws {
        try await withRedisServer(password: "secret-word") { redis in
            try await withClient(.local(redis.port, password: "secret-word")) { client in #expect(await client.outcome("PING") == pong) }
        }
    }

    @Test("a user and a password are an ACL user's, who may be restricted")
    func user() async throws {
        try await withRedisServer { redis in
            try redis.command("ACL", "SETUSER", "gate", "on", ">word", "~p:*", "&*", "+@all", "-@dangerous", "+info", "+role")
            try await withClient(.local(redis.port, username: "gate", password: "word")) { client in
                #expect(await client.outcome("SET", "p:1", "x") == .reply(.simple(Array("OK".utf8))))
                let code = try await client.call(RedisCommand("GET", "other")).errorCode
                #expect(code == "NOPERM")
                #expect(client.status.connections == 1)
            }
        }
    }

    @Test(
        "wrong or missing credentials mean not connected; the log says so once, and never tells them",
        arguments: [
            (nil, "wrong-word", "AUTH was refused: WRONGPASS"), ("ghost", "word", "AUTH was refused: WRONGPASS"),
            (nil, nil, "PING was refused: NOAUTH"),
        ])
    func refused(_ username: String?, _ password: String?, _ reason: String) async throws {
        try await withRedisServer(password: "secret-word") { redis in
            let told = Told()
            try await withClient(.local(redis.port, username: username, password: password), told: told) { client in
                #expect(await client.outcome("PING") == unavailable)
                try await eventually("several attempts") { redis.connectionsReceived >= 4 }
                #expect(await client.outcome("PING") == unavailable)
                #expect(told.warnings == ["Redis is not available \(reason)"])
                #expect(!client.isConnected && !client.wasEverConnected && told.changes.isEmpty)
            }
        }
    }

    @Test("a user without the right to PING is not connected")
    func noPermission() async throws {
        try await withRedisServer { redis in
            try redis.command("ACL", "SETUSER", "gate", "on", ">word", "~*", "+get")
            let told = Told()
            try await withClient(.local(redis.port, username: "gate", password: "word"), told: told) { client in
                #expect(await client.outcome("GET", "x") == unavailable)
                #expect(told.warnings == ["Redis is not available PING was refused: NOPERM"])
            }
        }
    }

    @Test("a user without the right to ask for the role, or which server it is, is not connected", arguments: ["role", "info"])
    func noPermissionToAsk(_ command: String) async throws {
        try await withRedisServer { redis in
            try redis.command("ACL", "SETUSER", "gate", "on", ">word", "~*", "+@all", "-\(command)")
            let told = Told()
            try await withClient(.local(redis.port, username: "gate", password: "word"), told: told) { client in
                #expect(await client.outcome("GET", "x") == unavailable)
                #expect(told.warnings == ["Redis is not available \(command.uppercased()) was refused: NOPERM"])
            }
        }
    }

    @Test("credentials that become right let the client in without a restart")
    func corrected() async throws {
        try await withRedisServer { redis in
            let told = Told()
            try await withClient(.local(redis.port, username: "gate", password: "word"), told: told) { client in
                #expect(await client.outcome("PING") == unavailable)
                try redis.command("ACL", "SETUSER", "gate", "on", ">word", "~*", "&*", "+@all")
                try await eventually("connected") { client.isConnected }
                #expect(await client.outcome("PING") == pong)
                #expect(told.changes == [true])
            }
        }
    }

    // MARK: Database

    @Test("the database is selected on every connection")
    func database() async throws {
        try await withRedisServer { redis in
            try await withClient(.local(redis.port, database: 3)) { client in
                #expect(await client.outcome("SET", "key", "three") == .reply(.simple(Array("OK".utf8))))
                try redis.command("CLIENT", "KILL", "TYPE", "normal")
                try await eventually("connected again") { client.status.connections == 2 && client.isConnected }
                #expect(await client.outcome("GET", "key") == .reply(.bulk(Array("three".utf8))))
                #expect(try redis.command("GET", "key") == .null)
            }
        }
    }

    @Test("a database that does not exist means not connected")
    func noDatabase() async throws {
        try await withRedisServer { redis in
            let told = Told()
            try await withClient(.local(redis.port, database: 99), told: told) { client in
                #expect(await client.outcome("PING") == unavailable)
                #expect(told.warnings == ["Redis is not available SELECT was refused: ERR"])
            }
        }
    }

    // MARK: Who it is

    @Test("a replica is not connected to, and is when it has become a primary")
    func replica() async throws {
        try await withRedisServer(["--replicaof", "127.0.0.1 1"]) { redis in
            let told = Told()
            try await withClient(.local(redis.port), told: told) { client in
                #expect(await client.outcome("GET", "x") == unavailable)
                #expect(told.warnings == ["Redis is not available it is no primary"])
                try redis.command("REPLICAOF", "NO", "ONE")
                try await eventually("connected") { client.isConnected }
                #expect(await client.outcome("PING") == pong)
            }
        }
    }

    @Test(
        "what does not say that it is a primary, or which server it is, is not connected to",
        arguments: [
            ("*5\r\n$8\r\nsentinel\r\n*0\r\n", nil), ("*0\r\n", nil), ("+master\r\n", nil), ("$-1\r\n", nil), (nil, "$-1\r\n"),
            (nil, "$7\r\nrun_id:\r\n"), (nil, "$4\r\nnone\r\n"), (nil, "+run_id:1\r\n"),
        ] as [(String?, String?)])
    func unclear(role: String?, info: String?) async throws {
        let server = try FakeServer { connection in
            while let command = connection.readCommand() {
                let reply = command == ["ROLE"] ? role : command == ["INFO", "server"] ? info : nil
                connection.write(reply ?? redisGreeting(command) ?? "+OK\r\n")
            }
        }
        defer { server.stop() }
        try await withClient(.local(server.port, connectTimeout: .milliseconds(500))) { client in
            #expect(await client.outcome("GET", "x").isFailure)
            #expect(!client.wasEverConnected && client.status.serverID == 0)
        }
    }

    @Test("the server's id is the same for every connection to it, and another after its restart and for another server")
    func serverID() async throws {
        try await withRedisServer { redis in
            try await withRedisServer { other in
                try await withClient(.local(redis.port)) { client in
                    let idle = RedisClient(eventLoop: client.eventLoop, configuration: .local(redis.port), logger: Told().logger)
                    #expect(idle.status.serverID == 0, "none before the first connection")
                    try await idle.close().get()
                    try await eventually("connected") { client.isConnected }
                    let first = client.status.serverID
                    try redis.command("CLIENT", "KILL", "TYPE", "normal")
                    try await eventually("connected again") { client.status.connections == 2 && client.isConnected }
                    #expect(client.status.serverID == first && first != 0)
                    try await redis.restart()
                    try await eventually("connected again") { client.status.connections == 3 && client.isConnected }
                    #expect(client.status.serverID != first)
                    try await withClient(.local(other.port)) { stranger in
                        try await eventually("connected") { stranger.isConnected }
                        #expect(![first, client.status.serverID].contains(stranger.status.serverID))
                    }
                }
            }
        }
    }

    // MARK: TLS

    private func tls(_ certificates: TestCertificates, trusting authority: TestCertificates? = nil, serverName: String? = nil, client: Bool = false)
        throws -> PeerTLS
    {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.trustRoots = .file((authority ?? certificates).authority)
        if client {
            configuration.certificateChain = try NIOSSLCertificate.fromPEMFile(certificates.clientCertificate).map { .certificate($0) }
            configuration.privateKey = .privateKey(try NIOSSLPrivateKey(file: certificates.clientPrivateKey, format: .pem))
        }
        return try PeerTLS(configuration, serverName: serverName)
    }

    @Test("over TLS the certificate may be for the address, the name in it, or a configured name", arguments: [nil, "localhost", "redis.internal"])
    func tls(_ serverName: String?) async throws {
        let certificates = try TestCertificates(names: "DNS:localhost,DNS:redis.internal,IP:127.0.0.1")
        defer { certificates.remove() }
        try await withRedisServer(password: "word", certificates: certificates) { redis in
            let port = try #require(redis.tlsPort)
            try await withClient(.local(port, password: "word", tls: tls(certificates, serverName: serverName))) { client in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 0..<200 {
                        group.addTask { #expect(await client.outcome("ECHO", "\(number)") == .reply(.bulk(Array("\(number)".utf8)))) }
                    }
                    try await group.waitForAll()
                }
                try redis.command("CLIENT", "KILL", "TYPE", "normal")
                try await eventually("connected again") { client.status.connections == 2 && client.isConnected }
                #expect(await client.outcome("PING") == pong)
            }
        }
    }

    @Test("a client certificate is shown where one is asked for")
    func clientCertificate() async throws {
        let certificates = try TestCertificates()
        defer { certificates.remove() }
        try await withRedisServer(["--tls-auth-clients", "yes"], certificates: certificates) { redis in
            let port = try #require(redis.tlsPort)
            try await withClient(.local(port, tls: tls(certificates, client: true))) { client in #expect(await client.outcome("PING") == pong) }
            try await withClient(.local(port, tls: tls(certificates))) { client in #expect(await client.outcome("PING") == unavailable) }
        }
    }

    @Test("a certificate of another authority, or for another name, is refused before the password is sent", arguments: [true, false])
    func wrongCertificate(_ otherAuthority: Bool) async throws {
        let certificates = try TestCertificates()
        let others = try TestCertificates()
        defer {
            certificates.remove()
            others.remove()
        }
        try await withRedisServer(password: "word", certificates: certificates) { redis in
            let told = Told()
            let before = redis.authentications
            let tls = try otherAuthority ? tls(certificates, trusting: others) : tls(certificates, serverName: "other.internal")
            try await withClient(.local(try #require(redis.tlsPort), password: "word", tls: tls), told: told) { client in
                #expect(await client.outcome("PING") == unavailable)
                #expect(told.warnings.count == 1)
                #expect(redis.authentications == before + 1, "this question's own alone")
                #expect(!client.wasEverConnected)
            }
        }
    }

    @Test("a name matches without case, and a wildcard exactly one label")
    func names() {
        let cases = [
            ("redis.internal", "Redis.Internal", true), ("redis.internal", "redis.internal.", true), ("*.a.example", "x.a.example", true),
            ("*.a.example", "a.example", false), ("*.a.example", "x.y.a.example", false), ("*.a.example", ".a.example", false),
            ("*.example", "x.example", false),
            ("*", "example", false), ("r*.a.example", "redis.a.example", false), ("", "", false), ("redis", "redis.internal", false),
        ]
        for (pattern, name, expected) in cases {
            #expect(matches(pattern: Array(pattern.utf8), name: Array(name.utf8)) == expected, "\(pattern) \(name)")
        }
    }

    @Test("a server name that is an IP address is refused at once")
    func addressAsName() throws {
        #expect(throws: (any Error).self) { try PeerTLS(.makeClientConfiguration(), serverName: "127.0.0.1") }
    }

    // MARK: Slow and full servers

    @Test("a Redis that accepts and says nothing costs the connect timeout, and then commands fail at once")
    func silent() async throws {
        let server = try FakeServer { $0.waitForEnd() }
        defer { server.stop() }
        let told = Told()
        let configuration = RedisConfiguration.local(server.port, connectTimeout: .milliseconds(300), commandTimeout: .milliseconds(100))
        try await withClient(configuration, told: told) { client in
            #expect(await client.outcome("PING") == .failure(.timedOut(wasSent: false)))
            try await eventually("a second attempt") { server.acceptedConnections >= 2 }
            #expect(await client.outcome("PING") == unavailable)
            try await eventually("the first socket is closed") { server.acceptedConnections > server.openConnections }
            #expect(told.warnings == ["Redis is not available handshake not answered within the connect timeout"])
        }
    }

    @Test("a handshake that is slow but in time is waited for, and commands with it")
    func slow() async throws {
        try await withRedisServer(password: "word") { redis in
            let relay = try TCPRelay(to: redis.port)
            defer { relay.stop() }
            relay.delay = .milliseconds(100)
            try await withClient(.local(relay.port, password: "word")) { client in #expect(await client.outcome("PING") == pong) }
        }
    }

    @Test("a Redis that is full says so, and lets the client in when there is room")
    func maxclients() async throws {
        try await withRedisServer(["--maxclients", "1"]) { redis in
            var guest = try redis.connect()
            // The place may still be that of who has waited for Redis to be there.
            try await eventually("the guest has the place") {
                if try guest("PING") == .text("PONG") { return true }
                guest = try redis.connect()
                return false
            }
            let told = Told()
            try await withClient(.local(redis.port), told: told) { client in
                #expect(await client.outcome("PING") == unavailable)
                #expect(!told.warnings.isEmpty)
                guest.close()
                try await eventually("connected") { client.isConnected }
                #expect(await client.outcome("PING") == pong)
            }
        }
    }

    @Test(
        "what is no Redis is not connected to",
        arguments: ["HTTP/1.1 400 Bad Request\r\n\r\n", "+OK\r\n", ":1\r\n", "*1\r\n+PONG\r\n", "$4\r\nPONG\r\n"])
    func stranger(_ greeting: String) async throws {
        let server = try FakeServer { connection in
            _ = connection.readCommand()
            connection.write(greeting)
            connection.waitForEnd()
        }
        defer { server.stop() }
        try await withClient(.local(server.port)) { client in
            guard case .failure(let failure) = await client.outcome("PING") else {
                Issue.record("it was taken for a Redis")
                return
            }
            #expect(!failure.wasSent)
            #expect(!client.wasEverConnected)
        }
    }
}

extension RedisServer {
    /// Connections that this server has accepted since it was started, this question's included.
    fileprivate var connectionsReceived: Int { number("stats", after: "total_connections_received:") }

    /// How often somebody has sent AUTH, this question included.
    fileprivate var authentications: Int { number("commandstats", after: "cmdstat_auth:calls=") }

    private func number(_ section: String, after prefix: String) -> Int {
        let text = (try? command("INFO", section))?.text ?? ""
        let line = text.split(separator: "\r\n").first { $0.hasPrefix(prefix) }
        return line.flatMap { Int($0.dropFirst(prefix.count).prefix { $0.isNumber }) } ?? 0
    }
}
