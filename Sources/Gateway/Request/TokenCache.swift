// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Tokens

/// Remembers verified tokens of one loop by their exact bytes, so that a signature is checked once (contract §4.5). Its times count on every
/// use. Refusals are not remembered; a new snapshot begins with nothing remembered.
///
/// Bounded in bytes and number: when it is full, the ones that have not been used since the hand last came by make room (CLOCK), in constant
/// time on average. A hit allocates nothing. Confined to its loop.
final class TokenCache {
    /// For all loops of the process together.
    static let processByteLimit = 32 << 20
    /// The smallest that a remembered token can be: bounds their number.
    private static let smallestToken = 1024

    private struct Entry {
        var hash: UInt64
        var token: RememberedToken?
        /// The next of the same bucket, or of the free places; -1: the last.
        var next: Int32
        var wasUsed: Bool
    }

    /// For verifying those that are not remembered.
    let headers = HeaderMemory()

    private let byteLimit: Int
    private let countLimit: Int
    private let seeds: (UInt64, UInt64)
    /// The first of each bucket; -1: none.
    private var buckets: [Int32]
    private let mask: UInt64
    private var entries: ContiguousArray<Entry> = []
    private var free: Int32 = -1
    private var hand = 0
    private(set) var count = 0
    private(set) var byteCount = 0

    init(byteLimit: Int) {
        self.byteLimit = byteLimit
        countLimit = max(1, byteLimit / Self.smallestToken)
        var size = 16
        while size < countLimit { size *= 2 }
        buckets = Array(repeating: -1, count: size)
        mask = UInt64(size - 1)
        var system = SystemRandomNumberGenerator()
        seeds = (system.next(), system.next())
    }

    /// What was remembered of exactly these bytes, if it still counts at this moment (Unix seconds). One that has expired is forgotten, and
    /// its verification will say why it is refused.
    ///
    /// `hash`: of these bytes.
    func find(_ token: UnsafeRawBufferPointer, hash: UInt64, now: Double) -> RememberedToken? {
        var index = buckets[Int(hash & mask)]
        while index >= 0 {
            let place = Int(index)
            if entries[place].hash == hash, let found = entries[place].token, Self.isSame(found, token) {
                guard found.isAccepted(at: now) else {
                    remove(place)
                    return nil
                }
                entries[place].wasUsed = true
                return found
            }
            index = entries[place].next
        }
        return nil
    }

    /// Remembers what has been verified. It is not in the cache yet; one too large to be remembered is not.
    ///
    /// `hash`: of its bytes.
    func insert(_ token: RememberedToken, hash: UInt64) {
        guard token.byteCount <= byteLimit else { return }
        while count >= countLimit || byteCount + token.byteCount > byteLimit { evictOne() }
        let bucket = Int(hash & mask)
        let entry = Entry(hash: hash, token: token, next: buckets[bucket], wasUsed: false)
        if free >= 0 {
            let place = Int(free)
            free = entries[place].next
            entries[place] = entry
            buckets[bucket] = Int32(place)
        } else {
            buckets[bucket] = Int32(entries.count)
            entries.append(entry)
        }
        count += 1
        byteCount += token.byteCount
    }

    func removeAll() {
        for index in buckets.indices { buckets[index] = -1 }
        entries.removeAll()
        free = -1
        hand = 0
        count = 0
        byteCount = 0
    }

    // MARK: Making room

    /// There is something to evict: called only while the cache is over one of its limits.
    private func evictOne() {
        while count > 0 {
            if hand >= entries.count { hand = 0 }
            let place = hand
            hand += 1
            guard entries[place].token != nil else { continue }
            if entries[place].wasUsed {
                entries[place].wasUsed = false
            } else {
                remove(place)
                return
            }
        }
    }

    private func remove(_ place: Int) {
        let bucket = Int(entries[place].hash & mask)
        if buckets[bucket] == Int32(place) {
            buckets[bucket] = entries[place].next
        } else {
            var before = Int(buckets[bucket])
            while entries[before].next != Int32(place) { before = Int(entries[before].next) }
            entries[before].next = entries[place].next
        }
        byteCount -= entries[place].token?.byteCount ?? 0
        count -= 1
        entries[place].token = nil
        entries[place].next = free
        free = Int32(place)
    }

    // MARK: Bytes

    private static func isSame(_ remembered: RememberedToken, _ token: UnsafeRawBufferPointer) -> Bool {
        remembered.token.withUnsafeBytes { ASCII.equal($0, token) }
    }

    /// Two words at a time through a 128-bit product, as wyhash does; the seeds, which nobody outside knows, keep anybody from making
    /// tokens that meet in one bucket.
    func hash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        let count = bytes.count, seeds = seeds
        var state = seeds.0 ^ UInt64(count)
        var first: UInt64 = 0
        var second: UInt64 = 0
        if count >= 16, let start = bytes.baseAddress {
            // The last sixteen bytes are a step of their own, whether or not some have been in the one before.
            let last = start + (count - 16)
            var next = start
            while next < last {
                state = Self.mix(next.loadUnaligned(as: UInt64.self) ^ seeds.1, (next + 8).loadUnaligned(as: UInt64.self) ^ state)
                next += 16
            }
            first = last.loadUnaligned(as: UInt64.self)
            second = (last + 8).loadUnaligned(as: UInt64.self)
        } else {
            for index in 0..<count {
                let shift = UInt64(index & 7) * 8
                if index < 8 { first |= UInt64(bytes[index]) << shift } else { second |= UInt64(bytes[index]) << shift }
            }
        }
        return Self.mix(Self.mix(first ^ seeds.1, second ^ state) ^ seeds.0, 0x9e37_79b9_7f4a_7c15)
    }

    @inline(__always)
    private static func mix(_ one: UInt64, _ other: UInt64) -> UInt64 {
        let product = one.multipliedFullWidth(by: other)
        return product.high ^ product.low
    }
}

@available(*, unavailable)
extension TokenCache: Sendable {}
