// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import Glibc

/// Paths and hosts read in the plainest way, against which the fast ones are held.
enum ReferencePath {
    private static let unreserved = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~".utf8)
    private static let allowed = unreserved.union("!$&'()*+,;=:@/".utf8)
    private static let escaped = Set("\"<>[]^`{|}".utf8)

    static func normalForm(_ path: [UInt8], merge: Bool, keep: Bool) -> [UInt8]? {
        if path.isEmpty { return [UInt8(ascii: "/")] }
        guard path[0] == UInt8(ascii: "/") else { return nil }
        var raw = path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).dropFirst().map { Array($0) }
        if merge {
            let last = raw.last
            raw = raw.dropLast().filter { !$0.isEmpty } + (last.map { [$0] } ?? [])
        } else if raw.dropLast().contains([]) {
            return nil
        }
        var segments: [String] = []
        var wasDots = false
        var sawDots = false
        for (index, part) in raw.enumerated() {
            guard let segment = decode(part, keep: keep) else { return nil }
            wasDots = segment == "." || segment == ".."
            for piece in segment.components(separatedBy: "%2F") {
                let name = piece.components(separatedBy: ";")[0].components(separatedBy: "%3B")[0]
                if name == "." || name == ".." {
                    if piece != segment || piece != name || part.contains(UInt8(ascii: "%")) { return nil }
                    sawDots = true
                }
            }
            if segment == ".." { _ = segments.popLast() }
            if !wasDots, index < raw.count - 1 || !segment.isEmpty { segments.append(segment) }
        }
        let endsWithSlash = wasDots || raw.last == []
        let joined = "/" + segments.joined(separator: "/") + (endsWithSlash && !segments.isEmpty ? "/" : "")
        if sawDots, raw.contains(where: { String(decoding: $0, as: UTF8.self).lowercased().contains("%2f") }) { return nil }
        for twice in ["%252E", "%252F", "%255C", "%2525", "%2500"] where joined.uppercased().contains(twice) { return nil }
        if joined.firstMatch(of: /%(C[01]%[89AB]|E0%[89]|F0%8|F8%8[0-7]|FC%8[0-3])/) != nil { return nil }
        return Array(joined.utf8)
    }

    private static func decode(_ segment: [UInt8], keep: Bool) -> String? {
        var text = ""
        var index = 0
        while index < segment.count {
            var byte = segment[index]
            var isDecoded = false
            if byte == UInt8(ascii: "%") {
                guard index + 2 < segment.count, isxdigit(Int32(segment[index + 1])) != 0, isxdigit(Int32(segment[index + 2])) != 0,
                    let value = UInt8(String(decoding: segment[(index + 1)...(index + 2)], as: UTF8.self), radix: 16)
                else { return nil }
                byte = value
                isDecoded = true
                index += 2
                if byte == 0 || byte == UInt8(ascii: "\\") || (byte == UInt8(ascii: "/") && !keep) { return nil }
            }
            index += 1
            if unreserved.contains(byte) || (!isDecoded && allowed.contains(byte)) {
                text += String(UnicodeScalar(byte))
            } else if isDecoded || escaped.contains(byte) {
                text += String(format: "%%%02X", byte)
            } else {
                return nil
            }
        }
        return text
    }
}

enum ReferenceHost {
    static func isValid(_ host: String) -> Bool {
        // A C string would end at it.
        if host.utf8.contains(0) { return false }
        if host.hasPrefix("[") {
            guard let close = host.firstIndex(of: "]") else { return false }
            let address = String(host[host.index(after: host.startIndex)..<close])
            var storage = in6_addr()
            guard !address.contains("%"), inet_pton(AF_INET6, address, &storage) == 1 else { return false }
            return isPort(String(host[host.index(after: close)...]))
        }
        let parts = host.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count > 0, parts[0].wholeMatch(of: /([A-Za-z0-9\-._~!$&'()*+=]|%[0-9A-Fa-f][0-9A-Fa-f])+/) != nil else { return false }
        return parts.count == 1 || isPort(":" + parts[1])
    }

    private static func isPort(_ text: String) -> Bool {
        if text.isEmpty { return true }
        guard text.wholeMatch(of: /:[0-9]{0,5}/) != nil else { return false }
        return (Int(text.dropFirst()) ?? 0) <= 65535
    }
}
