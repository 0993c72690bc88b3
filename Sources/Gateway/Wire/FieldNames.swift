// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// Recognises field names: which bytes they may have, what they hash to, and which of them the gateway has to do with.
///
/// Two tables, made once with each scanner and held by it, so that the hot path neither asks a global whether it is ready
/// nor touches a Swift array. Read only after `init`.
final class FieldNames {
    /// FNV-1a, 32 bits.
    static let hashStart: UInt32 = 2_166_136_261
    static let hashPrime: UInt32 = 16_777_619

    /// What `classes` says of a byte that no name (RFC 9110 §5.6.2 `token`) may have.
    static let invalid: UInt8 = 0
    /// …and of a byte that a name may have, but that does not count for the hash. Letters (in lower case) and digits are themselves.
    static let uncounted: UInt8 = 1

    private struct Slot {
        var hash: UInt32 = 0
        var nameStart: UInt16 = 0
        var nameLength: UInt8 = 0
        var kind = FieldKind.other
    }

    /// Four times the known names and a power of two: hardly any name needs a second probe.
    private static let slotCount = 128

    let classes: UnsafeMutablePointer<UInt8>
    private let slots: UnsafeMutablePointer<Slot>
    /// The known names in lower case, one after the other.
    private let known: UnsafeMutablePointer<UInt8>

    init() {
        classes = .allocate(capacity: 256)
        for byte in 0..<256 { classes[byte] = Self.classify(UInt8(byte)) }
        slots = .allocate(capacity: Self.slotCount)
        slots.initialize(repeating: Slot(), count: Self.slotCount)
        known = .allocate(capacity: Self.kinds.reduce(0) { $0 + $1.name.utf8.count })
        var offset = 0
        for (name, kind) in Self.kinds {
            let hash = Gateway.aliasHash(of: name.utf8)
            var index = Self.slotIndex(hash)
            while slots[index].nameLength != 0 { index = (index + 1) % Self.slotCount }
            slots[index] = Slot(hash: hash, nameStart: UInt16(offset), nameLength: UInt8(name.utf8.count), kind: kind)
            for byte in name.utf8 {
                known[offset] = byte
                offset += 1
            }
        }
    }

    deinit {
        classes.deallocate()
        slots.deallocate()
        known.deallocate()
    }

    private static let kinds: [(name: String, kind: FieldKind)] = [
        ("host", .host), ("content-length", .contentLength), ("transfer-encoding", .transferEncoding), ("connection", .connection),
        ("keep-alive", .keepAlive), ("proxy-connection", .proxyConnection), ("te", .te), ("trailer", .trailer), ("upgrade", .upgrade),
        ("http2-settings", .http2Settings), ("proxy-authenticate", .proxyAuthenticate), ("proxy-authorization", .proxyAuthorization),
        ("expect", .expect), ("authorization", .authorization), ("cookie", .cookie), ("origin", .origin), ("accept", .accept), ("via", .via),
        ("traceparent", .traceparent), ("x-request-id", .xRequestID), ("date", .date), ("x-forwarded-for", .xForwardedFor),
        ("x-forwarded-proto", .xForwardedProto), ("x-forwarded-host", .xForwardedHost), ("forwarded", .otherForwarding),
        ("x-rewrite-url", .otherForwarding),
    ]

    fileprivate static func classify(_ byte: UInt8) -> UInt8 {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"): byte
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte | 0x20
        case UInt8(ascii: "!"), UInt8(ascii: "#")...UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "^")...UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"):
            uncounted
        default: invalid
        }
    }

    @inline(__always)
    private static func slotIndex(_ hash: UInt32) -> Int { Int((hash ^ (hash &>> 15)) & UInt32(slotCount - 1)) }

    /// The kind of a name of which every byte is known to be one that a name may have.
    @inline(__always)
    func kind(_ name: UnsafePointer<UInt8>, _ length: Int, _ hash: UInt32) -> FieldKind {
        var index = Self.slotIndex(hash)
        while slots[index].nameLength != 0 {
            if slots[index].hash == hash { return kind(name, length, slots[index]) }
            index = (index &+ 1) & (Self.slotCount &- 1)
        }
        // Only these two letters can begin one of the families, and only punctuation can hide them.
        let first = classes[Int(name[0])]
        guard first == UInt8(ascii: "x") || first == Self.uncounted else { return .other }
        return isOfForwardingFamily(name, length) ? .otherForwarding : .other
    }

    private func kind(_ name: UnsafePointer<UInt8>, _ length: Int, _ slot: Slot) -> FieldKind {
        if length == Int(slot.nameLength), isKnown(name, slot) { return slot.kind }
        switch slot.kind {
        case .host, .contentLength, .transferEncoding: return .otherSpelling
        case .xForwardedFor, .xForwardedProto, .xForwardedHost, .otherForwarding: return .otherForwarding
        case .other, .connection, .keepAlive, .proxyConnection, .te, .trailer, .upgrade, .http2Settings, .proxyAuthenticate, .proxyAuthorization,
            .expect, .authorization, .cookie, .origin, .accept, .via, .traceparent, .xRequestID, .date, .otherSpelling:
            return .other
        }
    }

    @inline(__always)
    private func isKnown(_ name: UnsafePointer<UInt8>, _ slot: Slot) -> Bool {
        let expected = known + Int(slot.nameStart)
        for index in 0..<Int(slot.nameLength) where name[index] != expected[index] {
            // Setting the case bit could turn other punctuation into "-", so only letters are folded.
            guard classes[Int(name[index])] == expected[index] else { return false }
        }
        return true
    }

    /// `X-Forwarded…` and `X-Original…`, however spelled.
    private func isOfForwardingFamily(_ name: UnsafePointer<UInt8>, _ length: Int) -> Bool {
        begins(name, length, with: "xforwarded") || begins(name, length, with: "xoriginal")
    }

    private func begins(_ name: UnsafePointer<UInt8>, _ length: Int, with letters: StaticString) -> Bool {
        var matched = 0
        for index in 0..<length where matched < letters.utf8CodeUnitCount {
            let letter = classes[Int(name[index])]
            if letter == Self.uncounted { continue }
            guard letter == letters.utf8Start[matched] else { return false }
            matched += 1
        }
        return matched == letters.utf8CodeUnitCount
    }
}

@available(*, unavailable)
extension FieldNames: Sendable {}

/// `FieldLine.aliasHash` of a name: for configuration, where there is no scanner.
func aliasHash(of name: some Sequence<UInt8>) -> UInt32 {
    var hash = FieldNames.hashStart
    for byte in name {
        let counted = FieldNames.classify(byte)
        if counted > FieldNames.uncounted { hash = (hash ^ UInt32(counted)) &* FieldNames.hashPrime }
    }
    return hash
}
