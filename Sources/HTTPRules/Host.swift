// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

private let colon = UInt8(ascii: ":")

/// Whether this is a host as the contract (§4.1) wants it: a registered name (RFC 3986 §3.2.2) without `,` and `;`, an IPv4 or a
/// bracketed IPv6 address (no zone), then perhaps a port up to 65535 of at most five digits. The port may be empty after its
/// colon (`*DIGIT`), the name may not (RFC 9110 §4.2.1). Shared by Host, absolute-form targets, X-Forwarded-Host and Origin.
package func validHost(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard let split = splitHost(bytes) else { return false }
    return !split.name.isEmpty
}

/// Whether an authority (of an absolute-form target, of an origin) and a host name the same place: the names without case, the ports with the
/// scheme's default where there is none. Escapes are not decoded: what is spelled differently disagrees.
package func sameAuthority(_ authority: UnsafeRawBufferPointer, _ host: UnsafeRawBufferPointer, defaultPort: Int) -> Bool {
    guard let left = splitHost(authority), let right = splitHost(host) else { return false }
    guard left.name.count == right.name.count, (left.port ?? defaultPort) == (right.port ?? defaultPort) else { return false }
    for index in left.name where lowercased(authority[index]) != lowercased(host[index]) { return false }
    return true
}

/// Name and port; nil if it is no host. An empty port is no port.
private func splitHost(_ bytes: UnsafeRawBufferPointer) -> (name: Range<Int>, port: Int?)? {
    var index = 0
    let end = bytes.count
    guard index < end else { return nil }
    if bytes[index] == UInt8(ascii: "[") {
        let start = index + 1
        index = start
        while index < end, bytes[index] != UInt8(ascii: "]") { index += 1 }
        guard index < end, isIPv6(bytes, start, index) else { return nil }
        index += 1
    } else {
        while index < end, isNameByte(bytes[index]) {
            if bytes[index] == UInt8(ascii: "%") {
                guard index + 2 < end, isHexDigit(bytes[index + 1]), isHexDigit(bytes[index + 2]) else { return nil }
                index += 2
            }
            index += 1
        }
        guard index > 0 else { return nil }
    }
    let name = 0..<index
    guard index < end else { return (name, nil) }
    guard bytes[index] == colon, end - index - 1 <= 5 else { return nil }
    if index + 1 == end { return (name, nil) }
    var port = 0
    for digitIndex in (index + 1)..<end {
        let digit = bytes[digitIndex] &- UInt8(ascii: "0")
        guard digit < 10 else { return nil }
        port = port * 10 + Int(digit)
    }
    return port <= 65535 ? (name, port) : nil
}

/// unreserved, `%`, and sub-delims but for `,` and `;`.
@inline(__always)
private func isNameByte(_ byte: UInt8) -> Bool {
    let set: UInt64 = byte < 64 ? 0x23ff_6ff2_0000_0000 : 0x47ff_fffe_87ff_fffe
    return byte < 128 && (set &>> UInt64(byte & 63)) & 1 != 0
}

/// RFC 3986 §3.2.2 `IPv6address`: eight groups, or fewer with one `::` for at least one, the last two perhaps as an IPv4 address.
private func isIPv6(_ bytes: UnsafeRawBufferPointer, _ start: Int, _ end: Int) -> Bool {
    var index = start
    var groups = 0
    var isShortened = false
    if index + 1 < end, bytes[index] == colon, bytes[index + 1] == colon {
        isShortened = true
        index += 2
        if index == end { return true }
    }
    while index < end {
        let groupStart = index
        while index < end, isHexDigit(bytes[index]) { index += 1 }
        if index < end, bytes[index] == UInt8(ascii: ".") {
            guard isIPv4(bytes, groupStart, end) else { return false }
            groups += 2
            index = end
            break
        }
        guard index > groupStart, index - groupStart <= 4 else { return false }
        groups += 1
        guard index < end else { break }
        guard bytes[index] == colon, index + 1 < end else { return false }
        index += 1
        if bytes[index] == colon {
            if isShortened { return false }
            isShortened = true
            index += 1
        }
    }
    return isShortened ? groups <= 7 : groups == 8
}

/// Four numbers up to 255 without leading zeros.
private func isIPv4(_ bytes: UnsafeRawBufferPointer, _ start: Int, _ end: Int) -> Bool {
    var index = start
    for part in 0..<4 {
        if part > 0 {
            guard index < end, bytes[index] == UInt8(ascii: ".") else { return false }
            index += 1
        }
        let numberStart = index
        var number = 0
        while index < end, index - numberStart < 3, bytes[index] &- UInt8(ascii: "0") < 10 {
            number = number * 10 + Int(bytes[index] &- UInt8(ascii: "0"))
            index += 1
        }
        guard index > numberStart, number <= 255, index - numberStart == 1 || bytes[numberStart] != UInt8(ascii: "0") else { return false }
    }
    return index == end
}
