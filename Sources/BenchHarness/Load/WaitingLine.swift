// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// A request that is due.
struct Arrival {
    var intended: Int64
    var choice: RequestChoice
}

/// Requests that are due and wait for a connection, in order. A ring that grows.
struct WaitingLine {
    private var ring: [Arrival]
    private var head = 0
    private(set) var count = 0

    init() { ring = Array(repeating: Arrival(intended: 0, choice: RequestChoice(shape: 0, token: 0)), count: 64) }

    var isEmpty: Bool { count == 0 }

    var first: Arrival? { count == 0 ? nil : ring[head] }

    mutating func append(_ arrival: Arrival) {
        if count == ring.count {
            let grown = (0..<count).map { ring[(head + $0) % count] }
            ring = grown + grown
            head = 0
        }
        ring[(head + count) % ring.count] = arrival
        count += 1
    }

    mutating func popFirst() -> Arrival? {
        guard count > 0 else { return nil }
        defer {
            head = (head + 1) % ring.count
            count -= 1
        }
        return ring[head]
    }
}
