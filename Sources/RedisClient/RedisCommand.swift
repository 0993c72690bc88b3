// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import CHiredis
import NIOCore

/// A command as it goes over the wire, made once by hiredis' formatter and sent as often as wanted: sending copies its bytes and makes nothing.
///
/// Only commands with exactly one reply. `SUBSCRIBE`, `MONITOR`, `CLIENT REPLY`, `RESET`, `QUIT` and the like have none, several or change the
/// protocol, and would cost the connection. One that blocks (`WAIT` with a timeout) holds up all that is sent after it.
package struct RedisCommand: Sendable, Equatable {
    package let bytes: ByteBuffer

    /// - Parameter arguments: the command's name and its arguments, at least one.
    package init(_ arguments: [[UInt8]]) {
        precondition(!arguments.isEmpty, "a command has a name: Redis skips an empty one without a reply")
        // hiredis takes an array of pointers: all arguments are laid out in one block (never empty, so that it has an address), and pointed into.
        let lengths = arguments.map(\.count)
        var block: [UInt8] = []
        block.reserveCapacity(lengths.reduce(1, +))
        for argument in arguments { block.append(contentsOf: argument) }
        block.append(0)
        bytes = block.withUnsafeBytes { block in
            var start = block.baseAddress?.assumingMemoryBound(to: CChar.self)
            var pointers: [UnsafePointer<CChar>?] = []
            pointers.reserveCapacity(lengths.count)
            for length in lengths {
                pointers.append(start)
                start = start.map { $0 + length }
            }
            var formatted: UnsafeMutablePointer<CChar>?
            // The length is an int in hiredis 0.14 and a long long in 1.x; negative when there is no memory.
            let length = Int(redisFormatCommandArgv(&formatted, Int32(pointers.count), &pointers, lengths))
            guard let formatted, length >= 0 else { preconditionFailure("out of memory") }
            defer { redisFreeCommand(formatted) }
            return ByteBuffer(bytes: UnsafeRawBufferPointer(start: formatted, count: length))
        }
    }

    package init(_ words: [String]) {
        self.init(words.map { Array($0.utf8) })
    }

    package init(_ words: String...) {
        self.init(words)
    }
}
