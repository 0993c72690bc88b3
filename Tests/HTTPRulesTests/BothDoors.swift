// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import HTTPTypes
import Hummingbird
import Testing
import Tokens

@testable import Control
@testable import Gateway

/// A request with the given fields, as it is judged at each of the two doors.
struct BothDoors {
    /// What a door finds by way of a credential.
    enum Finding: Equatable, CustomStringConvertible {
        case none, ambiguous
        case bearer(String)
        case cookie(String)

        var description: String {
            switch self {
            case .none: "none"
            case .ambiguous: "ambiguous"
            case .bearer(let token): "bearer <\(token)>"
            case .cookie(let token): "cookie <\(token)>"
            }
        }
    }

    static let host = "app.example"
    var fields: [(String, String)]
    var host = BothDoors.host

    /// The data plane, from the bytes on.
    func dataPlaneCredential() throws -> Finding {
        var configuration = GatewayConfiguration()
        configuration.tokenSources = [.authorization, .cookie]
        let rules = CredentialRules(configuration)
        return try scanned { head, bytes in
            switch rules.find(head, bytes) {
            case .none: return .none
            case .ambiguous: return .ambiguous
            case .token(let range, let source):
                let text = String(decoding: bytes.slice(range), as: UTF8.self)
                return source == .cookie ? .cookie(text) : .bearer(text)
            }
        }
    }

    func dataPlaneOrigin(isSecure: Bool) throws -> Bool {
        try scanned { head, bytes in SameOrigin.holds(head, bytes, ClientView(address: .loopback, isSecure: isSecure, host: head.host)) }
    }

    /// The control plane, as the data plane hands the request to it.
    func controlPlaneCredential() async throws -> Finding {
        do {
            let credentials = try Credentials(try await handedOver(), body: JSONObject(), cookies: CookieRules())
            guard credentials.bearer != nil || credentials.accessCookie != nil else { return .none }
            let token = try credentials.accessToken()
            return token.isCookie ? .cookie(token.text) : .bearer(token.text)
        } catch let refusal as Refusal {
            #expect(refusal.code == Refusal.tokenAmbiguous.code)
            return .ambiguous
        }
    }

    func controlPlaneOrigin(isSecure: Bool) async throws -> Bool { try await OriginEvidence(handedOver(isSecure: isSecure)) == .sameOrigin }

    private func scanned<Result>(_ body: (RequestHead, UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        let lines = ["Host: \(host)"] + fields.map { "\($0.0): \($0.1)" }
        let scanner = RequestScanner(limits: HeadLimits())
        return try Array("POST /auth/logout HTTP/1.1\r\n\(lines.joined(separator: "\r\n"))\r\n\r\n".utf8).withUnsafeBytes { bytes in
            try #require(scanner.scan(bytes) == .head)
            return try body(scanner.head, bytes)
        }
    }

    private func handedOver(isSecure: Bool = true) async throws -> ControlRequest {
        var all = HTTPFields()
        for (name, value) in fields { all.append(HTTPField(name: try #require(HTTPField.Name(name)), value: value)) }
        all[.portcullisClient] = "192.0.2.1"
        all[.portcullisScheme] = isSecure ? "https" : "http"
        all[.portcullisHost] = host
        let head = HTTPRequest(method: .post, scheme: nil, authority: host, path: "/auth/logout", headerFields: all)
        return try await ControlRequest(Request(head: head, body: RequestBody(buffer: .init())), peer: nil)
    }
}
