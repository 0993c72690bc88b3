// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// Where requests go: the parts of an `http` or `https` URL (RFC 3986, RFC 9110 §4.2). A value.
package struct Target: Sendable, Equatable {
    package let isTLS: Bool
    /// Without the brackets of an IPv6 address.
    package let host: String
    package let port: Int
    /// As `Host` and `:authority` have it: the port only where it is not the scheme's.
    package let authority: String
    /// Path and query.
    package let path: String

    package struct Problem: Error, CustomStringConvertible {
        package let description: String
    }

    /// - Throws: a clause about the URL, without its text: it may hold a secret.
    package init(_ url: String) throws(Problem) {
        let rest: Substring
        if url.lowercased().hasPrefix("http://") {
            isTLS = false
            rest = url.dropFirst(7)
        } else if url.lowercased().hasPrefix("https://") {
            isTLS = true
            rest = url.dropFirst(8)
        } else {
            throw Problem(description: "must begin with http:// or https://")
        }
        guard url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && !"\"<>\\^`{|}".utf8.contains($0) }) else {
            throw Problem(description: "has a character that has to be percent-encoded")
        }
        guard !rest.contains("#") else { throw Problem(description: "has a fragment, which is never sent") }
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        let place = rest[..<end]
        guard !place.contains("@") else { throw Problem(description: "has a user or password in it: use a token file") }
        let path = rest[end...]
        self.path = path.hasPrefix("/") ? String(path) : "/" + path

        let isBracketed = place.hasPrefix("[")
        let hostEnd = isBracketed ? place.firstIndex(of: "]").map(place.index(after:)) : place.firstIndex(of: ":") ?? place.endIndex
        guard let hostEnd else { throw Problem(description: "has a bracket that is not closed") }
        let host = place[..<hostEnd]
        self.host = String(isBracketed ? host.dropFirst().dropLast() : host)
        guard !self.host.isEmpty, isBracketed || !self.host.contains("[") else { throw Problem(description: "has no host") }
        let usual = isTLS ? 443 : 80
        let tail = place[hostEnd...]
        if tail.isEmpty {
            port = usual
        } else {
            guard tail.hasPrefix(":"), let number = UInt16(tail.dropFirst()), number > 0, tail.dropFirst().utf8.allSatisfy({ $0 &- 0x30 < 10 }) else {
                throw Problem(description: "has no port from 1 to 65535 after its host")
            }
            port = Int(number)
        }
        authority = port == usual ? String(host) : "\(host):\(port)"
    }

    /// Another path of the same server.
    ///
    /// - Parameter path: begins with `/`.
    package init(_ server: Target, path: String) {
        isTLS = server.isTLS
        host = server.host
        port = server.port
        authority = server.authority
        self.path = path
    }

    package var scheme: String { isTLS ? "https" : "http" }

    /// For reports: what follows `?` is left out, as tokens travel there, too.
    package var shown: String { "\(scheme)://\(authority)\(Target.withoutQuery(path))" }

    /// The text up to its first `?`, and three dots for the rest.
    package static func withoutQuery(_ text: String) -> String {
        guard let mark = text.firstIndex(of: "?") else { return text }
        return text[...mark] + "…"
    }
}
