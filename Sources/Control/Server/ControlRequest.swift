// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import HTTPTypes
import Hummingbird
import Tokens

/// A call as it is judged: read whole, its path split and decoded, with who sent it.
struct ControlRequest: Sendable {
    /// Of a body; contract §5.
    static let bodyByteLimit = 64 << 10
    /// Of a `User-Agent`, of a device's name, of a client address, in bytes: what is over it is cut off, as these are for people to read.
    static let noteByteLimit = 256

    let method: HTTPRequest.Method
    let path: RequestPath
    let fields: HTTPFields
    let body: [UInt8]
    let client: Client

    /// Who asks, as the data plane tells it: it removes fields of these names from what clients send.
    struct Client: Sendable {
        var address: String
        var scheme: String
        var host: String
        var userAgent: String?
        var requestID: String?
    }

    /// `peer`: the client's address where the request did not come through the data plane.
    init(_ request: Request, peer: String?) async throws(Refusal) {
        method = request.head.method
        fields = request.headers
        client = Client(
            address: Self.note(peer ?? fields[.portcullisClient]) ?? "unknown",
            scheme: peer == nil ? fields[.portcullisScheme] ?? "" : "http",
            host: peer == nil ? fields[.portcullisHost] ?? "" : request.head.authority ?? "",
            userAgent: Self.note(fields[.userAgent]),
            requestID: fields[.requestID])
        guard let path = RequestPath(request.head.path ?? "/") else { throw .badRequest("the path cannot be decoded") }
        self.path = path
        guard let buffer = try? await request.body.collect(upTo: Self.bodyByteLimit) else { throw .bodyTooLarge }
        body = Array(buffer.readableBytesView)
    }

    /// What people will read in a list of sessions: cut off at the limit, at a character's border. Nil for nothing.
    static func note(_ text: String?) -> String? {
        guard let text, !text.isEmpty else { return nil }
        guard text.utf8.count > noteByteLimit else { return text }
        var kept = ""
        for scalar in text.unicodeScalars {
            guard kept.utf8.count + UTF8.width(scalar) <= noteByteLimit else { break }
            kept.unicodeScalars.append(scalar)
        }
        return kept
    }

    /// The members of a JSON body; those of an absent one are none. 400 for everything else.
    func jsonBody() throws(Refusal) -> JSONObject {
        guard !body.isEmpty else { return JSONObject() }
        let type = fields[values: .contentType]
        guard type.count == 1, Self.mediaType(type[0]) == "application/json" else { throw .badRequest("the body has to be application/json") }
        // Nothing is unpacked here: what is packed would be misread at best, and grow at worst (RFC 9110 §8.4).
        let codings = fields[values: .contentEncoding]
        guard codings.allSatisfy({ $0.trimmingBlanks.lowercased() == "identity" }) else { throw .badRequest("the body has to be sent as it is") }
        guard let object = try? JSONObject(parsing: body) else { throw .badRequest("the body is no JSON object") }
        return object
    }

    /// A parameter of a form (RFC 7662 §2.1, RFC 7009 §2.1, OpenID Connect Back-Channel Logout 1.0 §2.5). Nil where the body is none, or names one
    /// twice; one without a value counts as absent (RFC 6749 §3.2).
    func formParameter(_ name: String) -> String? {
        let type = fields[values: .contentType]
        guard type.count == 1, Self.mediaType(type[0]) == "application/x-www-form-urlencoded" else { return nil }
        guard let value = PercentCoding.form(body)?[name], !value.isEmpty else { return nil }
        return value
    }

    /// Without parameters and case.
    private static func mediaType(_ value: String) -> String {
        let end = value.firstIndex(of: ";") ?? value.endIndex
        return value[..<end].trimmingBlanks.lowercased()
    }
}

extension JSONObject {
    /// A string that must be there.
    func requiredString(_ name: String) throws(Refusal) -> String {
        guard let value = self[name]?.string else { throw .badRequest("\(name) has to be a string") }
        return value
    }

    /// A string that may be absent or null.
    func optionalString(_ name: String) throws(Refusal) -> String? {
        switch self[name] {
        case nil, .null?: return nil
        case .string(let value)?: return value
        default: throw .badRequest("\(name) has to be a string")
        }
    }
}

extension StringProtocol {
    /// Without blanks and tabs at the ends (RFC 9110 `OWS`).
    var trimmingBlanks: SubSequence {
        guard let first = firstIndex(where: { $0 != " " && $0 != "\t" }), let last = lastIndex(where: { $0 != " " && $0 != "\t" }) else {
            return self[endIndex...]
        }
        return self[first...last]
    }
}

extension HTTPField.Name {
    static let portcullisClient = Self.known("X-Portcullis-Client")
    static let portcullisScheme = Self.known("X-Portcullis-Scheme")
    static let portcullisHost = Self.known("X-Portcullis-Host")
    static let requestID = Self.known("X-Request-Id")
    static let secFetchSite = Self.known("Sec-Fetch-Site")

    private static func known(_ name: String) -> Self {
        guard let name = Self(name) else { preconditionFailure("a literal field name is valid") }
        return name
    }
}
