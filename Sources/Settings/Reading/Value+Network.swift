// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc

extension Value {
    /// `host:port`, `[v6]:port` or `unix:/path`.
    func address() -> Settings.Address? {
        guard let text = line() else { return nil }
        if text.hasPrefix("unix:") {
            let path = reader.absolute(String(text.dropFirst(5)))
            guard text.utf8.count > 5, !path.hasSuffix("/") else { return wrong("needs the path of a socket after unix:") }
            guard path.utf8.count <= SettingLimit.socketPathBytes else {
                return wrong("has a socket path of more than \(SettingLimit.socketPathBytes) bytes")
            }
            return .unix(path: path)
        }
        guard let colon = text.lastIndex(of: ":") else { return wrong("needs a port: host:port, [v6]:port or unix:/path") }
        var host = text[..<colon]
        guard let port = Self.port(text[text.index(after: colon)...]) else { return wrong("needs a port from 1 to 65535") }
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
            guard Self.isIPv6(String(host)) else { return wrong("has brackets around what is no IPv6 address") }
        } else if !Self.isName(host) {
            return wrong("must be host:port, [v6]:port or unix:/path")
        }
        return .inet(host: host.lowercased(), port: port)
    }

    /// A name or an IP address.
    func hostName() -> String? {
        guard let text = line() else { return nil }
        return Self.isName(text[...]) || Self.isIPv6(text) ? text : wrong("must be a host's name or address")
    }

    /// What a route compares with Host: a name, an address, or `*.name`.
    func hostPattern() -> String? {
        guard let text = line() else { return nil }
        if text.hasPrefix("["), text.hasSuffix("]"), Self.isIPv6(String(text.dropFirst().dropLast())) { return text.lowercased() }
        let name = text.hasPrefix("*.") ? text.dropFirst(2) : text[...]
        guard Self.isName(name) else { return wrong("must be a host's name or address without a port, or *.name") }
        return text.lowercased()
    }

    /// `https://host[:port]/path`, or http.
    func url() -> String? {
        guard let text = line() else { return nil }
        guard let scheme = ["https://", "http://"].first(where: text.hasPrefix) else { return wrong("must be an http or https URL") }
        let rest = text.dropFirst(scheme.utf8.count)
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "#") && $0 != UInt8(ascii: "\\") }), !authority.contains("@") else {
            return wrong("must be a URL without blanks, fragment, user and password")
        }
        var host = authority
        if let colon = authority.lastIndex(of: ":"), !authority.hasSuffix("]") {
            host = authority[..<colon]
            guard Self.port(authority[authority.index(after: colon)...]) != nil else { return wrong("has no port from 1 to 65535") }
        }
        let isHost = host.hasPrefix("[") && host.hasSuffix("]") ? Self.isIPv6(String(host.dropFirst().dropLast())) : Self.isName(host)
        return isHost ? text : wrong("has no good host")
    }

    /// A field name (RFC 9110 §5.1).
    func fieldName() -> String? {
        guard let text = line(limit: SettingLimit.nameBytes) else { return nil }
        return FieldNameRules.isToken(text) ? text : wrong("must be a field name: letters, digits and -")
    }

    /// A method that can be forwarded (RFC 9110 §9.1).
    func method() -> String? {
        guard let method = line(limit: SettingLimit.nameBytes) else { return nil }
        guard FieldNameRules.isToken(method), method == method.uppercased() else { return wrong("must be a method in capitals") }
        return method == "CONNECT" ? wrong("is a method that is never forwarded") : method
    }

    /// A name of ours, as routes, metrics and log lines have it.
    func name() -> String? { line(limit: SettingLimit.nameBytes) }

    /// One to five digits, and nothing else.
    private static func port(_ text: Substring) -> Int? {
        guard (1...5).contains(text.utf8.count), text.utf8.allSatisfy({ $0 &- UInt8(ascii: "0") < 10 }), let port = Int(text) else { return nil }
        return (1...65_535).contains(port) ? port : nil
    }

    /// Names (letters, digits, `-`, `_` and dots; RFC 1123 §2.1 and what is used besides) and IPv4 addresses.
    private static func isName(_ text: Substring) -> Bool {
        let labels = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard (1...253).contains(text.utf8.count) else { return false }
        guard labels.allSatisfy({ label in (1...63).contains(label.count) && label.allSatisfy(isNameByte) }) else { return false }
        // All digits: it must be an address in full, not one of its historical short forms.
        guard text.utf8.allSatisfy({ $0 == UInt8(ascii: ".") || $0 &- UInt8(ascii: "0") < 10 }) else { return true }
        var address = in_addr()
        return inet_pton(AF_INET, String(text), &address) == 1
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        byte &- UInt8(ascii: "0") < 10 || (byte | 0x20) &- UInt8(ascii: "a") < 26 || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_")
    }

    private static func isIPv6(_ text: String) -> Bool {
        var address = in6_addr()
        return inet_pton(AF_INET6, text, &address) == 1
    }
}

/// Which field names the gateway can give away for its own use.
enum FieldNameRules {
    /// Token characters (RFC 9110 §5.6.2).
    static func isToken(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                byte &- UInt8(ascii: "0") < 10 || (byte | 0x20) &- UInt8(ascii: "a") < 26 || "!#$%&'*+-.^_`|~".utf8.contains(byte)
            }
    }

    /// What a name is when case and everything but letters and digits do not count: many upstreams read `X_Auth_User` as `X-Auth-User`.
    static func alias(_ name: String) -> String {
        String(decoding: name.lowercased().utf8.filter { $0 &- UInt8(ascii: "0") < 10 || $0 &- UInt8(ascii: "a") < 26 }, as: UTF8.self)
    }

    /// Fields that frame or route the message, that the gateway sets itself, or that requests cannot do without.
    static func isTaken(_ name: String) -> Bool { isReserved(name) || alias(name).hasPrefix("xforwarded") }

    /// What no identity header may be, either. `X-Forwarded-User` and its like may: many services expect an identity under such names, and
    /// a client's own never gets past the gateway.
    static func isReserved(_ name: String) -> Bool {
        let alias = alias(name)
        return taken.contains(alias) || takenPrefixes.contains { alias.hasPrefix($0) }
    }

    private static let taken: Set<String> = [
        "", "accept", "acceptencoding", "authorization", "connection", "contentencoding", "contentlength", "contentrange", "contenttype", "cookie",
        "date", "expect", "forwarded", "host", "http2settings", "keepalive", "origin", "proxyauthenticate", "proxyauthorization", "proxyconnection",
        "range",
        "setcookie", "te", "trailer", "traceparent", "tracestate", "transferencoding", "upgrade", "useragent", "via", "xforwardedfor",
        "xforwardedhost", "xforwardedproto", "xrequestid", "xrewriteurl",
    ]
    private static let takenPrefixes = ["xoriginal", "xportcullis", "secfetch", "secwebsocket"]
}
