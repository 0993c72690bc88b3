// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import Synchronization

/// The connections of a server that keep nothing busy: what they ask has not come whole, or they have their answer and may be taking it.
///
/// Where there are too many, the one that has been so for longest is closed. So who reaches the admin listener and keeps connections open does not keep
/// a probe, a scraper or a logout out: it has only to be quicker with its request than so many others come. Safe to use from any thread.
final class ConnectionCrowd: Sendable {
    typealias Place = UInt64

    private struct State {
        /// In the order of their coming.
        var waiting: [(place: Place, channel: any Channel)] = []
        var lastPlace: Place = 0
    }

    private let limit: Int
    private let state = Mutex(State())

    /// `limit`: how many may wait. Below the connections of the server, or it stops taking new ones before any is closed.
    init(limit: Int) {
        self.limit = limit
    }

    /// The longest-waiting one beyond the limit is closed.
    func join(_ channel: any Channel) -> Place {
        let (place, surplus) = state.withLock { state in
            state.lastPlace += 1
            state.waiting.append((state.lastPlace, channel))
            return (state.lastPlace, state.waiting.count > limit ? state.waiting.removeFirst().channel : nil)
        }
        surplus?.close(promise: nil)
        return place
    }

    func leave(_ place: Place) {
        state.withLock { state in
            if let index = state.waiting.firstIndex(where: { $0.place == place }) { state.waiting.remove(at: index) }
        }
    }
}
