// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Logging
import NIOCore
import RedisClient
import Sessions
import Synchronization

/// How a process takes part in the fleet.
package struct FleetSettings: Sendable {
    package var edge: EdgeDescription
    /// `revocation.max_staleness`: no answer older than this is used, and no logout waits longer for a silent gateway.
    package var staleness: TimeAmount
    /// `revocation.mode: tracked`: answers are remembered until a change is pushed.
    package var remembers: Bool

    package init(edge: EdgeDescription, staleness: TimeAmount, remembers: Bool) {
        self.edge = edge
        self.staleness = staleness
        self.remembers = remembers
    }
}

/// The link that counts now. Another `max_staleness` means to join anew under another id and then to leave: others have learned for how long this
/// gateway's heartbeats count, and wait for it that long and no longer.
final class FleetMembership: Sendable {
    private struct State {
        var settings: FleetSettings
        var current: FleetLink
        /// Has begun to join and is not waited for yet.
        var joining: FleetLink?
    }

    private let loops: SessionLoops<RedisSessionLookup>
    private let makeLink: @Sendable (FleetSettings) -> FleetLink
    private let state: Mutex<State>

    init(_ settings: FleetSettings, loops: SessionLoops<RedisSessionLookup>, makeLink: @escaping @Sendable (FleetSettings) -> FleetLink) {
        self.loops = loops
        self.makeLink = makeLink
        state = Mutex(State(settings: settings, current: makeLink(settings), joining: nil))
    }

    var link: FleetLink { state.withLock { $0.current } }
    var settings: FleetSettings { state.withLock { $0.settings } }

    func start() { link.start() }

    func close() async {
        let (joining, current) = state.withLock { ($0.joining, $0.current) }
        await joining?.close()
        await current.close()
    }

    /// A reload. Returns at once: until the new heartbeat counts, the old one does.
    func use(_ new: FleetSettings, eventLoop: any EventLoop) {
        let old = settings
        state.withLock { $0.settings = new }
        if old.remembers != new.remembers {
            _ = loops.onEach(eventLoop) { $0.remember(new.remembers) }
        }
        guard old.staleness != new.staleness else { return }
        let link = makeLink(new)
        let abandoned = state.withLock { state in
            defer { state.joining = link }
            return state.joining
        }
        link.start()
        Task {
            await abandoned?.close()
            await link.whenHeld()
            guard state.withLock({ $0.joining === link }) else { return }
            try? await loops.onEach(eventLoop) { $0.use(link.lease) }.get()
            let left = state.withLock { state in
                defer { (state.current, state.joining) = (link, nil) }
                return state.current
            }
            await left.close()
        }
    }
}
