// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc
import HTTPRules
import NIOCore

/// An IP address as 128 bits, IPv4 as its v4-mapped form (RFC 4291 §2.5.5.2): both spellings of one address are equal.
struct Address: Hashable, Sendable {
    var high: UInt64
    var low: UInt64

    static let loopback = Address(ipv4: 0x7f00_0001)
    private static let mappedPrefix: UInt64 = 0xffff_0000_0000
    /// The longest text of an address (`INET6_ADDRSTRLEN`), its end included.
    static let textLimit = 46

    init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// In host byte order.
    init(ipv4: UInt32) { self.init(high: 0, low: Self.mappedPrefix | UInt64(ipv4)) }

    /// `192.0.2.1` or `2001:db8::1`; no zone, no port, no brackets. Nil for anything else.
    init?(_ text: UnsafeRawBufferPointer) {
        guard text.count >= 2, text.count < Self.textLimit else { return nil }
        let parsed: Address? = withUnsafeTemporaryAllocation(of: CChar.self, capacity: Self.textLimit) { terminated in
            var isIPv6 = false
            for (index, byte) in text.enumerated() {
                guard byte != 0 else { return nil }
                if byte == UInt8(ascii: ":") { isIPv6 = true }
                terminated[index] = CChar(bitPattern: byte)
            }
            terminated[text.count] = 0
            guard let start = terminated.baseAddress else { return nil }
            if isIPv6 {
                var address = in6_addr()
                return inet_pton(AF_INET6, start, &address) == 1 ? Address(address) : nil
            }
            var address = in_addr()
            return inet_pton(AF_INET, start, &address) == 1 ? Address(ipv4: UInt32(bigEndian: address.s_addr)) : nil
        }
        guard let parsed else { return nil }
        self = parsed
    }

    init(_ address: in6_addr) {
        self = withUnsafeBytes(of: address) { raw in
            Address(
                high: UInt64(bigEndian: raw.loadUnaligned(as: UInt64.self)),
                low: UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
        }
    }

    var isIPv4: Bool { high == 0 && low >> 32 == Self.mappedPrefix >> 32 }

    /// The canonical text (RFC 5952), of a v4-mapped address its IPv4 text.
    var text: [UInt8] {
        if isIPv4 {
            return Array("\(low >> 24 & 255).\(low >> 16 & 255).\(low >> 8 & 255).\(low & 255)".utf8)
        }
        var address = in6_addr()
        withUnsafeMutableBytes(of: &address) { raw in
            raw.storeBytes(of: high.bigEndian, as: UInt64.self)
            raw.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
        }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: Self.textLimit) { room in
            guard let start = room.baseAddress, inet_ntop(AF_INET6, &address, start, socklen_t(Self.textLimit)) != nil else { return [] }
            return (0..<strlen(start)).map { UInt8(bitPattern: room[$0]) }
        }
    }
}

/// A range of addresses in CIDR notation (RFC 4632), or a single one.
package struct AddressRange: Sendable, Hashable {
    private let high: UInt64
    private let low: UInt64
    private let highMask: UInt64
    private let lowMask: UInt64

    /// `10.0.0.0/8`, `2001:db8::/32`, or an address alone. Bits beyond the prefix do not count. Nil for anything else.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let address = Array(first.utf8).withUnsafeBytes({ Address($0) }) else { return nil }
        var prefix = 128
        if parts.count == 2 {
            // A v4-mapped address that is written as IPv6 has an IPv6 prefix length.
            let shift = first.contains(":") ? 0 : 96
            guard parts[1].utf8.allSatisfy({ $0 &- UInt8(ascii: "0") < 10 }), let length = Int(parts[1]), length + shift <= 128 else { return nil }
            prefix = length + shift
        }
        highMask = prefix >= 64 ? .max : prefix == 0 ? 0 : .max << UInt64(64 - prefix)
        lowMask = prefix <= 64 ? 0 : .max << UInt64(128 - prefix)
        high = address.high & highMask
        low = address.low & lowMask
    }

    @inline(__always)
    func contains(_ address: Address) -> Bool { address.high & highMask == high && address.low & lowMask == low }
}

/// The other end of a client connection, read once for each connection. The peer of a Unix socket counts as 127.0.0.1 (contract §3);
/// a TCP connection whose peer is not known is not served.
final class PeerAddress: Sendable {
    let address: Address
    let text: [UInt8]

    init(_ socket: SocketAddress?) {
        switch socket {
        case .v4(let ipv4): address = Address(ipv4: UInt32(bigEndian: ipv4.address.sin_addr.s_addr))
        case .v6(let ipv6): address = Address(ipv6.address.sin6_addr)
        case .unixDomainSocket, nil: address = .loopback
        }
        text = address.text
    }
}

/// Who the client is and how it reached us, as far as that is believed (contract §4.4). A plain value that is valid as long as the head
/// that it was made of.
struct ClientView {
    var address: Address
    /// The scheme is https.
    var isSecure: Bool
    /// Host, or what a trusted proxy says that it was.
    var host: ByteRange
    /// The believed part of X-Forwarded-For: from this offset on, in this line and all later ones of its kind. Nil: nothing of it.
    var chain: (line: Int, start: Int32)?
    /// Where the client's address stands in the head; nil: it is the peer's.
    var addressText: ByteRange?
}

extension Snapshot {
    /// `isSecure`: whether the connection itself has TLS.
    func view(_ head: RequestHead, _ bytes: UnsafeRawBufferPointer, peer: PeerAddress, isSecure: Bool) -> ClientView {
        var view = ClientView(address: peer.address, isSecure: isSecure, host: head.host)
        guard !trustedProxies.isEmpty, trusts(peer.address) else { return view }
        // Two of them say nothing: nobody knows which one the proxy wrote.
        if let proto = head.first(.xForwardedProto), !head.repeated.contains(.xForwardedProto) {
            if equalIgnoringCase(bytes, proto.value, "https") { view.isSecure = true }
            if equalIgnoringCase(bytes, proto.value, "http") { view.isSecure = false }
        }
        if let host = head.first(.xForwardedHost), !head.repeated.contains(.xForwardedHost), validHost(bytes.slice(host.value)) {
            view.host = host.value
        }
        if head.seen.contains(.xForwardedFor) { readChain(head, bytes, into: &view) }
        return view
    }

    func trusts(_ address: Address) -> Bool {
        for range in trustedProxies where range.contains(address) { return true }
        return false
    }

    /// Reads X-Forwarded-For from the right, as far as it consists of addresses. The client is the last that is not trusted, or the
    /// first of the chain if all are.
    private func readChain(_ head: RequestHead, _ bytes: UnsafeRawBufferPointer, into view: inout ClientView) {
        var clientIsFound = false
        for index in stride(from: head.fieldCount - 1, through: 0, by: -1) where head.fields[index].kind == .xForwardedFor {
            let value = head.fields[index].value
            var end = value.end
            while end >= value.start {
                var start = end
                while start > value.start, bytes[Int(start) - 1] != UInt8(ascii: ",") { start -= 1 }
                let element = Self.trimmed(bytes, ByteRange(start: start, end: end))
                if !element.isEmpty {
                    guard let address = Address(bytes.slice(element)) else { return }
                    view.chain = (index, element.start)
                    if !clientIsFound {
                        view.address = address
                        view.addressText = element
                        clientIsFound = !trusts(address)
                    }
                }
                end = start - 1
            }
        }
    }

    private static func trimmed(_ bytes: UnsafeRawBufferPointer, _ range: ByteRange) -> ByteRange {
        var range = range
        while range.start < range.end, ASCII.isBlank(bytes[Int(range.start)]) { range.start += 1 }
        while range.start < range.end, ASCII.isBlank(bytes[Int(range.end) - 1]) { range.end -= 1 }
        return range
    }
}
