// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import TestSupport

/// Somebody else who signs tokens, with a shared secret and the tool of OpenSSL: nothing of the product's.
struct IdentityProvider {
    private static let secret = "secret-of-the-identity-provider-0"

    /// The `issuers` of a configuration that trusts it and obeys its logout tokens; its users are the gateway's own.
    static func issuers(sessions: String, backchannel: Bool = true) -> String {
        "[{name: idp, issuer: \"https://idp.example\", audiences: [gate], algorithms: [HS256], secret: \(secret), "
            + "namespace: \"\", sessions: \(sessions), backchannel_logout: \(backchannel)}]"
    }

    /// - Parameter issuedIn: seconds from now.
    static func accessToken(_ session: String, of user: String = "alice", issuedIn: Int = -10) throws -> String {
        try sign(["sub": user, "sid": session], type: "at+jwt", issuedIn: issuedIn)
    }

    static func logoutToken(_ session: String?, of user: String = "alice") throws -> String {
        var claims: [String: Any] = ["sub": user, "jti": UUID().uuidString, "events": ["http://schemas.openid.net/event/backchannel-logout": [:]]]
        claims["sid"] = session
        return try sign(claims, type: "logout+jwt", issuedIn: 0)
    }

    private static func sign(_ claims: [String: Any], type: String, issuedIn: Int) throws -> String {
        let now = Int(Date().timeIntervalSince1970)
        let all = claims.merging(["iss": "https://idp.example", "aud": "gate", "iat": now + issuedIn, "exp": now + 600]) { $1 }
        let parts = [["alg": "HS256", "typ": type], all].map { base64url((try? JSONSerialization.data(withJSONObject: $0)) ?? Data()) }
        let input = parts.joined(separator: ".")
        let folder = try temporaryFolder("signature")
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try input.write(toFile: "\(folder)/input", atomically: true, encoding: .utf8)
        try openssl(["dgst", "-sha256", "-mac", "HMAC", "-macopt", "key:\(secret)", "-binary", "-out", "\(folder)/mac", "\(folder)/input"])
        return input + "." + base64url(try Data(contentsOf: URL(fileURLWithPath: "\(folder)/mac")))
    }

    private static func base64url(_ data: Data) -> String {
        data.base64EncodedString().replacingOccurrences(of: "+", with: "-").replacingOccurrences(of: "/", with: "_")
            .replacingOccurrences(of: "=", with: "")
    }
}

extension RunningGateway {
    /// Sends a logout token as a provider does.
    func tell(_ logoutToken: String) throws -> HTTPMessage {
        let connection = try HTTPConnection(port: port)
        let body = "logout_token=\(logoutToken)"
        let fields = [("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", "\(body.utf8.count)")]
        connection.socket.write(HTTPConnection.head("POST", "/auth/backchannel-logout", fields) + body)
        return try connection.answer(to: "POST")
    }
}
