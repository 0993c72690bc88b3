// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// One of the parts into which a cluster divides its keys (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/). Worth
/// keeping beside a prepared command: then nothing is hashed when it is sent.
package struct RedisSlot: Sendable, Hashable {
    package static let count = 16384

    package let number: UInt16

    /// - Parameter key: a key, or only its tag with the braces: what stands between the first `{` and the next `}` decides, if it is not empty.
    package init(key: some Collection<UInt8>) {
        number = crc16(Self.tag(of: key)) & UInt16(Self.count - 1)
    }

    private static func tag<Key: Collection<UInt8>>(of key: Key) -> Key.SubSequence {
        guard let open = key.firstIndex(of: UInt8(ascii: "{")) else { return key[...] }
        let rest = key[key.index(after: open)...]
        guard let close = rest.firstIndex(of: UInt8(ascii: "}")), close != rest.startIndex else { return key[...] }
        return rest[..<close]
    }
}

/// CRC-16/XMODEM: polynomial 0x1021, nothing reflected, begun with 0.
private func crc16(_ bytes: some Sequence<UInt8>) -> UInt16 {
    bytes.reduce(0) { $0 << 8 ^ table[Int($0 >> 8 ^ UInt16($1))] }
}

private let table: [UInt16] = (0..<256).map { index in
    (0..<8).reduce(UInt16(index) << 8) { value, _ in value & 0x8000 == 0 ? value << 1 : value << 1 ^ 0x1021 }
}
