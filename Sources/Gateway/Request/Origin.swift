// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import HTTPRules

/// Whether a page of the request's own origin made it (contract §4.7). Browsers send cookies along with a WebSocket from any page, and
/// nothing but `Origin` tells.
enum SameOrigin {
    /// `Origin` is there once and is the request's own, as a trusted proxy tells that.
    static func holds(_ head: RequestHead, _ bytes: UnsafeRawBufferPointer, _ client: ClientView) -> Bool {
        guard let line = head.first(.origin), !head.repeated.contains(.origin) else { return false }
        return WebOrigin.isOwn(bytes.slice(line.value), isSecure: client.isSecure, host: bytes.slice(client.host))
    }
}

/// Whether an upgrade is passed on (contract §4.8). What is not is an ordinary request.
enum Upgrade {
    /// From HTTP/1.1 without a body, to one protocol that does not change how HTTP itself is spoken; `websocket` only with GET.
    static func isCarried(_ head: RequestHead, _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let offered = head.upgrade, head.minorVersion == 1 else { return false }
        switch head.framing {
        case .none, .counted(0): break
        case .counted, .chunked, .untilClose: return false
        }
        var name = offered
        if let slash = (Int(offered.start)..<Int(offered.end)).first(where: { bytes[$0] == UInt8(ascii: "/") }) {
            name.end = Int32(truncatingIfNeeded: slash)
        }
        for refused in ["h2c", "http", "tls"] as [StaticString] where equalIgnoringCase(bytes, name, refused) { return false }
        return head.methodKind == .get || !equalIgnoringCase(bytes, name, "websocket")
    }
}

/// Whether a person looks at the answer: then a login page is worth more than a 401.
enum Browser {
    /// A GET whose `Accept` lists `text/html`, and not with the weight of nothing (RFC 9110 §12.4.2).
    static func wantsHTML(_ head: RequestHead, _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard head.methodKind == .get, head.seen.contains(.accept) else { return false }
        for index in 0..<head.fieldCount where head.fields[index].kind == .accept {
            var types = ListElements(bytes, head.fields[index].value)
            while let type = types.next() {
                if isHTML(bytes, type) { return true }
            }
        }
        return false
    }

    private static func isHTML(_ bytes: UnsafeRawBufferPointer, _ range: ByteRange) -> Bool {
        var end = range.start
        while end < range.end, bytes[Int(end)] != UInt8(ascii: ";") { end += 1 }
        var nameEnd = end
        while nameEnd > range.start, ASCII.isBlank(bytes[Int(nameEnd) - 1]) { nameEnd -= 1 }
        guard equalIgnoringCase(bytes, ByteRange(start: range.start, end: nameEnd), "text/html") else { return false }
        // q=0, q=0.0 and so on.
        var isRefused = false
        var index = Int(end)
        while index < Int(range.end) {
            index += 1
            while index < Int(range.end), ASCII.isBlank(bytes[index]) { index += 1 }
            if index + 1 < Int(range.end), lowercased(bytes[index]) == UInt8(ascii: "q"), bytes[index + 1] == UInt8(ascii: "=") {
                isRefused = true
                index += 2
                while index < Int(range.end), bytes[index] != UInt8(ascii: ";") {
                    if bytes[index] != UInt8(ascii: "0"), bytes[index] != UInt8(ascii: "."), !ASCII.isBlank(bytes[index]) { isRefused = false }
                    index += 1
                }
            }
            while index < Int(range.end), bytes[index] != UInt8(ascii: ";") { index += 1 }
        }
        return !isRefused
    }
}
