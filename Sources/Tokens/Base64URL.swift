// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// Base64url as JOSE has it (RFC 7515 §2): no padding, no other characters, and canonical, so that one text alone stands for
/// given bytes (RFC 4648 §3.5) and a token cannot be written in two ways.
package enum Base64URL {
    /// Nil for anything that `encode` would not have written.
    package static func decode(_ text: UnsafeRawBufferPointer) -> [UInt8]? {
        let tail = text.count % 4
        guard tail != 1 else { return nil }
        let size = text.count / 4 * 3 + (tail == 0 ? 0 : tail - 1)
        // Not into an array of `unsafeUninitializedCapacity`, which looks its type up at run time: that costs more than the copy.
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: size) { output in
            fill(output, from: text, tail: tail) ? Array(output) : nil
        }
    }

    package static func decode(_ text: [UInt8]) -> [UInt8]? {
        text.withUnsafeBytes { decode($0) }
    }

    package static func decode(_ text: String) -> [UInt8]? {
        decode([UInt8](text.utf8))
    }

    package static func encode(_ bytes: [UInt8]) -> String {
        String(decoding: encodeToBytes(bytes), as: UTF8.self)
    }

    package static func encodeToBytes(_ bytes: [UInt8]) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity((bytes.count * 4 + 2) / 3)
        var index = 0
        while index + 3 <= bytes.count {
            let group = UInt32(bytes[index]) << 16 | UInt32(bytes[index + 1]) << 8 | UInt32(bytes[index + 2])
            text.append(letter(group >> 18))
            text.append(letter(group >> 12 & 63))
            text.append(letter(group >> 6 & 63))
            text.append(letter(group & 63))
            index += 3
        }
        switch bytes.count - index {
        case 1:
            text.append(letter(UInt32(bytes[index]) >> 2))
            text.append(letter(UInt32(bytes[index]) << 4 & 63))
        case 2:
            let group = UInt32(bytes[index]) << 8 | UInt32(bytes[index + 1])
            text.append(letter(group >> 10))
            text.append(letter(group >> 4 & 63))
            text.append(letter(group << 2 & 63))
        default:
            break
        }
        return text
    }

    /// False for a character outside the alphabet, or bits in the last one that no byte uses.
    private static func fill(_ output: UnsafeMutableBufferPointer<UInt8>, from text: UnsafeRawBufferPointer, tail: Int) -> Bool {
        values.withUnsafeBufferPointer { values in
            var (written, index) = (0, 0)
            // Looked at once at the end: what is refused is rare, and no branch for each letter is worth it.
            var seen: UInt8 = 0
            let whole = text.count - tail
            while index < whole {
                let letters = UInt32(littleEndian: text.loadUnaligned(fromByteOffset: index, as: UInt32.self))
                let (a, b) = (values[Int(letters & 255)], values[Int(letters &>> 8 & 255)])
                let (c, d) = (values[Int(letters &>> 16 & 255)], values[Int(letters &>> 24)])
                seen |= a | b | c | d
                let group = UInt32(a) &<< 18 | UInt32(b) &<< 12 | UInt32(c) &<< 6 | UInt32(d)
                output[written] = UInt8(truncatingIfNeeded: group >> 16)
                output[written &+ 1] = UInt8(truncatingIfNeeded: group >> 8)
                output[written &+ 2] = UInt8(truncatingIfNeeded: group)
                index &+= 4
                written &+= 3
            }
            guard seen < 64 else { return false }
            guard tail > 0 else { return true }
            let (a, b) = (values[Int(text[index])], values[Int(text[index + 1])])
            guard (a | b) < 64 else { return false }
            output[written] = a << 2 | b >> 4
            if tail == 2 { return b & 0x0F == 0 }
            let c = values[Int(text[index + 2])]
            guard c < 64 else { return false }
            output[written + 1] = b << 4 | c >> 2
            return c & 0x03 == 0
        }
    }

    /// The six bits of each byte that is a letter; 255 for what is none.
    private static let values: [UInt8] = {
        var values = [UInt8](repeating: 255, count: 256)
        for bits in UInt32(0)..<64 { values[Int(letter(bits))] = UInt8(bits) }
        return values
    }()

    private static func letter(_ bits: UInt32) -> UInt8 {
        let bits = UInt8(truncatingIfNeeded: bits)
        return switch bits {
        case 0..<26: bits + UInt8(ascii: "A")
        case 26..<52: bits - 26 + UInt8(ascii: "a")
        case 52..<62: bits - 52 + UInt8(ascii: "0")
        case 62: UInt8(ascii: "-")
        default: UInt8(ascii: "_")
        }
    }
}
