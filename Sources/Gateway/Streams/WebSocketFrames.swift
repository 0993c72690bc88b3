// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// Follows one direction of a WebSocket and knows whether it stands between two frames (RFC 6455 §5.2), where a close
/// frame may be put in. Looks at frame headers alone; what is in them is not judged.
struct WebSocketFrames {
    /// The second byte of the header: mask bit and short length.
    private var second: UInt8 = 0
    /// Bytes of the current frame's header that have been seen; 0 between frames.
    private var headerSeen: UInt8 = 0
    private var headerLength: UInt8 = 2
    private var length: UInt64 = 0
    private var payloadLeft: UInt64 = 0

    var isBetweenFrames: Bool { headerSeen == 0 && payloadLeft == 0 }

    mutating func advance(over bytes: UnsafeRawBufferPointer) {
        var position = 0
        while position < bytes.count {
            if payloadLeft > 0 {
                let step = min(payloadLeft, UInt64(bytes.count - position))
                payloadLeft -= step
                position += Int(step)
                continue
            }
            take(bytes[position])
            position += 1
        }
    }

    private mutating func take(_ byte: UInt8) {
        switch headerSeen {
        case 0:
            length = 0
            headerLength = 2
        case 1:
            switch byte & 0x7F {
            case 126: headerLength = 4
            case 127: headerLength = 10
            case let short:
                headerLength = 2
                length = UInt64(short)
            }
            if byte & 0x80 != 0 { headerLength += 4 }
            second = byte
        default:
            let extended: UInt8 =
                switch second & 0x7F {
                case 126: 4
                case 127: 10
                default: 2
                }
            if headerSeen < extended { length = length << 8 | UInt64(byte) }
        }
        headerSeen += 1
        if headerSeen == headerLength {
            payloadLeft = length
            headerSeen = 0
        }
    }

    /// A close frame (RFC 6455 §5.5.1). A client's frames are masked (§5.3); `mask` is for those to the upstream.
    static func close(code: UInt16, reason: StaticString, mask: UInt32?) -> [UInt8] {
        var payload = [UInt8(code >> 8), UInt8(code & 0xFF)]
        reason.withUTF8Buffer { payload.append(contentsOf: $0) }
        var frame: [UInt8] = [0x88, UInt8(payload.count) | (mask == nil ? 0 : 0x80)]
        if let mask {
            let key = [
                UInt8(truncatingIfNeeded: mask >> 24), UInt8(truncatingIfNeeded: mask >> 16), UInt8(truncatingIfNeeded: mask >> 8),
                UInt8(truncatingIfNeeded: mask),
            ]
            frame.append(contentsOf: key)
            for (index, byte) in payload.enumerated() { frame.append(byte ^ key[index & 3]) }
        } else {
            frame.append(contentsOf: payload)
        }
        return frame
    }
}
