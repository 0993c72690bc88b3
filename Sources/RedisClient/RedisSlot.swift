// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc

/// One of the parts into which a cluster divides its keys (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/). Worth
/// keeping beside a prepared command: then nothing is hashed when it is sent.
package struct RedisSlot: Sendable, Hashable {
    package static let count = 16384

    package let number: UInt16

    /// - Parameter key: a key, or only its tag with the braces: what stands between the first `{` and the next `}` decides, if it is not empty.
    package init(key: some Collection<UInt8>) {
        // Bytes in one piece: a collection of another module's would be asked for each of them through its witnesses.
        number = key.withContiguousStorageIfAvailable(Self.number) ?? Array(key).withUnsafeBufferPointer(Self.number)
    }

    private static func number(of key: UnsafeBufferPointer<UInt8>) -> UInt16 {
        crc16(tag(of: key)) & UInt16(count - 1)
    }

    private static func tag(of key: UnsafeBufferPointer<UInt8>) -> UnsafeBufferPointer<UInt8> {
        guard let open = position(of: UInt8(ascii: "{"), in: key) else { return key }
        let rest = UnsafeBufferPointer(rebasing: key[(open + 1)...])
        guard let close = position(of: UInt8(ascii: "}"), in: rest), close > 0 else { return key }
        return UnsafeBufferPointer(rebasing: rest[..<close])
    }

    private static func position(of byte: UInt8, in bytes: UnsafeBufferPointer<UInt8>) -> Int? {
        guard let start = bytes.baseAddress, let found = memchr(start, Int32(byte), bytes.count) else { return nil }
        return UnsafeRawPointer(found) - UnsafeRawPointer(start)
    }
}

/// CRC-16/XMODEM: polynomial 0x1021, nothing reflected, begun with 0.
private func crc16(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt16 {
    bytes.reduce(0) { $0 << 8 ^ table[Int($0 >> 8 ^ UInt16($1))] }
}

private let table: [UInt16] = (0..<256).map { index in
    (0..<8).reduce(UInt16(index) << 8) { value, _ in value & 0x8000 == 0 ? value << 1 : value << 1 ^ 0x1021 }
}
