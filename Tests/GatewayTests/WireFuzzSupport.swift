// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import NIOCore
import NIOEmbedded
import NIOHTTP1

@testable import Gateway

/// Makes hostile bytes out of good ones, the same ones in every run.
///
/// `PORTCULLIS_FUZZ_SECONDS` makes each fuzz test run so long, from another seed (`PORTCULLIS_FUZZ_SEED`) if that is wanted.
struct WireFuzzer: RandomNumberGenerator {
    private static let environment = ProcessInfo.processInfo.environment
    private static let seed = environment["PORTCULLIS_FUZZ_SEED"].flatMap(UInt64.init) ?? 1

    private var state: UInt64

    /// SplitMix64.
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    /// Calls `body` `rounds` times, or as long as the environment says. Returns the share of calls that answered true: that what was made
    /// was good enough to be taken. If hardly anything is, the test tests nothing.
    static func run(rounds: Int, _ body: (inout WireFuzzer) -> Bool) -> Double {
        var fuzzer = WireFuzzer(state: seed)
        var taken = 0
        guard let seconds = environment["PORTCULLIS_FUZZ_SECONDS"].flatMap(Double.init) else {
            for _ in 0..<rounds where body(&fuzzer) { taken += 1 }
            return Double(taken) / Double(rounds)
        }
        let clock = ContinuousClock()
        let end = clock.now + .seconds(seconds)
        var made = 0
        while clock.now < end {
            for _ in 0..<500 where body(&fuzzer) { taken += 1 }
            made += 500
        }
        return Double(taken) / Double(max(made, 1))
    }

    /// One of the texts, changed in a few places: bytes, words, and stretches of the other texts.
    mutating func mutated(_ texts: [[UInt8]], words: [[UInt8]]) -> [UInt8] {
        var bytes = texts.randomElement(using: &self) ?? []
        for _ in 0..<Int.random(in: 0...4, using: &self) {
            let place = Int.random(in: 0...bytes.count, using: &self)
            let end = min(bytes.count, place + Int.random(in: 0...12, using: &self))
            switch Int.random(in: 0..<8, using: &self) {
            case 0 where place < bytes.count: bytes[place] = UInt8.random(in: 0...255, using: &self)
            case 1 where place < bytes.count: bytes[place] ^= 1 << UInt8.random(in: 0...7, using: &self)
            case 2: bytes.removeSubrange(place..<end)
            case 3: bytes.insert(contentsOf: bytes[place..<end], at: place)
            case 4:
                let other = texts.randomElement(using: &self) ?? []
                let from = Int.random(in: 0...other.count, using: &self)
                bytes.insert(contentsOf: other[from..<min(other.count, from + Int.random(in: 0...40, using: &self))], at: place)
            case 5: bytes.replaceSubrange(place..<end, with: words.randomElement(using: &self) ?? [])
            default: bytes.insert(contentsOf: words.randomElement(using: &self) ?? [], at: place)
            }
        }
        return bytes
    }

    /// Sizes of pieces in which bytes may come.
    mutating func pieces() -> [Int] { (0..<8).map { _ in Int.random(in: 1...9, using: &self) } + [Int.random(in: 1...60, using: &self)] }
}

/// What NIOHTTP1 makes of bytes. It is more lenient than we are; what we take, it must take for the same.
enum Oracle {
    struct Message<Head: Equatable>: Equatable {
        var head: Head
        var body: [UInt8] = []
        var trailers: [String] = []
        var hasEnded = false
    }

    /// It leaves white space at the end of values, which does not belong to them (RFC 9112 §5.1).
    static func lines(_ headers: HTTPHeaders) -> [String] {
        headers.map { name, value in
            let end = value.utf8.lastIndex { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\t") }
            return "\(name): \(end.map { value[...$0] } ?? "")"
        }
    }

    /// Nil if it refuses the bytes.
    static func request(_ bytes: [UInt8]) -> Message<HTTPRequestHead>? {
        let channel = EmbeddedChannel()
        defer { _ = try? channel.finish() }
        do {
            try channel.pipeline.syncOperations.addHandler(ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes)))
            try channel.writeInbound(ByteBuffer(bytes: bytes))
            var message: Message<HTTPRequestHead>?
            while let part = try channel.readInbound(as: HTTPServerRequestPart.self) {
                switch part {
                case .head(let head):
                    if message != nil { return message }
                    message = Message(head: head)
                case .body(let data): message?.body += Array(buffer: data)
                case .end(let trailers):
                    message?.hasEnded = true
                    message?.trailers = trailers.map(lines) ?? []
                    return message
                }
            }
            return message
        } catch {
            return nil
        }
    }

    static func response(_ bytes: [UInt8], to method: HTTPMethod) -> Message<HTTPResponseHead>? {
        let channel = EmbeddedChannel()
        defer { _ = try? channel.finish() }
        do {
            let decoder = HTTPResponseDecoder(leftOverBytesStrategy: .dropBytes, informationalResponseStrategy: .forward)
            try channel.pipeline.syncOperations.addHandler(ByteToMessageHandler(decoder))
            try channel.writeOutbound(HTTPClientRequestPart.head(HTTPRequestHead(version: .http1_1, method: method, uri: "/")))
            try channel.writeInbound(ByteBuffer(bytes: bytes))
            var message: Message<HTTPResponseHead>?
            while let part = try channel.readInbound(as: HTTPClientResponsePart.self) {
                switch part {
                case .head(let head):
                    if message != nil { return message }
                    message = Message(head: head)
                case .body(let data): message?.body += Array(buffer: data)
                case .end:
                    message?.hasEnded = true
                    return message
                }
            }
            return message
        } catch {
            return nil
        }
    }
}
