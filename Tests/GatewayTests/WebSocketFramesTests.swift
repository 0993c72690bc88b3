// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport
import Testing

@testable import Gateway

@Suite("Where a WebSocket's frames end")
struct WebSocketFramesTests {
    /// How the length is written (RFC 6455 §5.2), whatever would be shortest.
    private enum LengthForm: CaseIterable {
        case short, medium, long

        var greatest: Int {
            switch self {
            case .short: 125
            case .medium: 65535
            case .long: .max
            }
        }
    }

    private static func frame(_ payload: [UInt8], _ form: LengthForm, isMasked: Bool) -> [UInt8] {
        let mark: UInt8 = isMasked ? 0x80 : 0, length = UInt64(payload.count)
        var frame: [UInt8] = [0x82]
        switch form {
        case .short: frame.append(mark | UInt8(length))
        case .medium: frame += [mark | 126, UInt8(length >> 8), UInt8(length & 0xFF)]
        case .long: frame += [mark | 127] + (0..<8).map { UInt8(truncatingIfNeeded: length >> (56 - 8 * UInt64($0))) }
        }
        if isMasked { frame += [0xFF, 0x81, 0x00, 0x7F] }
        return frame + payload
    }

    private static func advance(_ frames: inout WebSocketFrames, over bytes: some Sequence<UInt8>) {
        Array(bytes).withUnsafeBytes { frames.advance(over: $0) }
    }

    @Test("A frame of any length and mask ends with its last byte and not before", arguments: [0, 1, 2, 125, 126, 127, 65535, 65536, 70_000])
    func boundaries(length: Int) {
        // Bytes that would be headers if they were looked at.
        let payload = (0..<length).map { $0 % 2 == 0 ? UInt8(0x82) : 0x01 }
        for form in LengthForm.allCases where length <= form.greatest {
            for isMasked in [false, true] {
                let bytes = Self.frame(payload, form, isMasked: isMasked)
                var frames = WebSocketFrames()
                #expect(frames.isBetweenFrames)
                // Twice: what is left of the first must not be in the way of the second.
                for _ in 0..<2 {
                    for index in bytes.indices {
                        Self.advance(&frames, over: [bytes[index]])
                        guard frames.isBetweenFrames == (index == bytes.count - 1) else {
                            Issue.record("after byte \(index) of \(bytes.count), \(form), masked: \(isMasked)")
                            return
                        }
                    }
                }
            }
        }
    }

    @Test("Frames may come in pieces of any size, several in one")
    func pieces() {
        let share = SeededGenerator.run(rounds: 100) { random in
            var bytes: [UInt8] = [], ends: Set<Int> = [0]
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                guard let form = LengthForm.allCases.randomElement(using: &random) else { return false }
                let length = Int.random(in: 0...min(form.greatest, [3, 130, 70_000].randomElement(using: &random) ?? 0), using: &random)
                let payload = [UInt8](repeating: .random(in: 0...255, using: &random), count: length)
                bytes += Self.frame(payload, form, isMasked: .random(using: &random))
                ends.insert(bytes.count)
            }
            var frames = WebSocketFrames(), place = 0
            while place < bytes.count {
                let most = [1, 10, 5000].randomElement(using: &random) ?? 1
                let step = min(bytes.count - place, Int.random(in: 0...most, using: &random))
                Self.advance(&frames, over: bytes[place..<(place + step)])
                place += step
                guard frames.isBetweenFrames == ends.contains(place) else {
                    Issue.record("at \(place) of \(bytes.count), frames end at \(ends.sorted())")
                    return false
                }
            }
            return true
        }
        #expect(share == 1)
    }

    @Test(
        "A length that no frame ends within, even one that is too great to be one, is waited for",
        arguments: [0x0000_0100_0000_0000, .max] as [UInt64])
    func greatLengths(length: UInt64) {
        var frames = WebSocketFrames()
        Self.advance(&frames, over: [0x82, 127] + (0..<8).map { UInt8(truncatingIfNeeded: length >> (56 - 8 * UInt64($0))) })
        for _ in 0..<16 {
            Self.advance(&frames, over: [UInt8](repeating: 0, count: 65536))
            #expect(!frames.isBetweenFrames)
        }
    }

    @Test("The close frame to a client is plain, and the one to an upstream says the same behind its mask", arguments: [UInt16(1001), 1008])
    func close(code: UInt16) throws {
        let reason: StaticString = "session revoked"
        let payload = [UInt8(code >> 8), UInt8(code & 0xFF)] + Array("session revoked".utf8)
        let plain = WebSocketFrames.close(code: code, reason: reason, mask: nil)
        #expect(plain == [0x88, UInt8(payload.count)] + payload)

        let masked = WebSocketFrames.close(code: code, reason: reason, mask: 0x0102_03FF)
        #expect(masked.prefix(6) == [0x88, 0x80 | UInt8(payload.count), 0x01, 0x02, 0x03, 0xFF])
        #expect(masked.dropFirst(6).enumerated().map { $1 ^ [0x01, 0x02, 0x03, 0xFF][$0 % 4] } == payload)
        for frame in [plain, masked] {
            var frames = WebSocketFrames()
            Self.advance(&frames, over: frame)
            #expect(frames.isBetweenFrames)
        }
    }
}
