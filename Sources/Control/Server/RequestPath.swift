// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// A request's path and query. The path is split before it is decoded, so that `%2F` is part of a segment (contract §6).
struct RequestPath: Sendable, Equatable {
    /// Raw bytes of each segment, decoded; `/a//b/` is `a`, ``, `b`, ``.
    let segments: [[UInt8]]
    /// Names and values in the order of the query, decoded.
    let query: [(name: String, value: String)]

    /// Nil where an escape is broken, or the query is no UTF-8.
    init?(_ target: String) {
        let bytes = Array(target.utf8)
        guard bytes.first == UInt8(ascii: "/") else { return nil }
        let mark = bytes.firstIndex(of: UInt8(ascii: "?")) ?? bytes.endIndex
        var segments: [[UInt8]] = []
        for part in bytes[1..<mark].split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
            guard let segment = PercentCoding.decode(part, plusIsBlank: false) else { return nil }
            segments.append(segment)
        }
        self.segments = segments
        guard let query = PercentCoding.pairs(bytes[mark...].dropFirst()) else { return nil }
        self.query = query
    }

    static func == (one: RequestPath, other: RequestPath) -> Bool {
        one.segments == other.segments && one.query.elementsEqual(other.query, by: ==)
    }

    /// What is left below `prefix` (as `/auth`), or nil.
    func segments(below prefix: String) -> ArraySlice<[UInt8]>? {
        let own = prefix.utf8.split(separator: UInt8(ascii: "/")).map { Array($0) }
        guard segments.starts(with: own) else { return nil }
        return segments[own.count...]
    }
}

/// Percent-encoding (RFC 3986 §2.1) and forms (`application/x-www-form-urlencoded`).
enum PercentCoding {
    /// Nil where `%` is not followed by two hexadecimal digits.
    static func decode(_ bytes: some Collection<UInt8>, plusIsBlank: Bool) -> [UInt8]? {
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var rest = bytes.makeIterator()
        while let byte = rest.next() {
            if byte == UInt8(ascii: "%") {
                guard let high = rest.next().flatMap(digit), let low = rest.next().flatMap(digit) else { return nil }
                result.append(high << 4 | low)
            } else {
                result.append(plusIsBlank && byte == UInt8(ascii: "+") ? UInt8(ascii: " ") : byte)
            }
        }
        return result
    }

    /// `a=b&c=d`; nil where an escape is broken or the result is no UTF-8.
    static func pairs(_ bytes: some Collection<UInt8>) -> [(name: String, value: String)]? {
        var pairs: [(name: String, value: String)] = []
        for part in Array(bytes).split(separator: UInt8(ascii: "&")) {
            let equals = part.firstIndex(of: UInt8(ascii: "=")) ?? part.endIndex
            guard let name = text(part[..<equals]), let value = text(part[equals...].dropFirst()) else { return nil }
            pairs.append((name, value))
        }
        return pairs
    }

    /// As `pairs`; nil also where a name is there twice.
    static func form(_ bytes: [UInt8]) -> [String: String]? {
        guard let pairs = pairs(bytes) else { return nil }
        var form: [String: String] = [:]
        for pair in pairs {
            guard form.updateValue(pair.value, forKey: pair.name) == nil else { return nil }
        }
        return form
    }

    private static func text(_ bytes: ArraySlice<UInt8>) -> String? {
        decode(bytes, plusIsBlank: true).flatMap { String(validating: $0, as: UTF8.self) }
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        default: nil
        }
    }
}
