// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// What a token says that it is (`typ`, RFC 7515 §4.1.9): tokens of one kind must not pass as those of another (RFC 8725 §3.11).
enum TokenType {
    /// Absent, or `JWT`: any kind.
    case unsaid
    /// `at+jwt` (RFC 9068 §2.1).
    case accessToken
    /// `logout+jwt` (OpenID Connect Back-Channel Logout 1.0 §2.4).
    case logoutToken
    /// Another one, or no string.
    case other

    /// Media types are compared without case, and `application/` may be left out.
    init(_ value: JSONValue?) {
        guard let value else {
            self = .unsaid
            return
        }
        // As nearly all are spelled.
        if let text = value.string, text.isIdentical(to: "JWT") {
            self = .unsaid
            return
        }
        var name = (value.string ?? "").utf8.map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 | 0x20 : $0 }
        let prefix = Array("application/".utf8)
        if name.starts(with: prefix) { name.removeFirst(prefix.count) }
        switch String(decoding: name, as: UTF8.self) {
        case "jwt": self = .unsaid
        case "at+jwt": self = .accessToken
        case "logout+jwt": self = .logoutToken
        default: self = .other
        }
    }
}
