// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Logging
import NIOCore
import Synchronization

/// Who the primaries are, found and kept current: one a process. Those who use it get snapshots.
///
/// - Standalone: the one address, for ever. Whether it is a primary, each connection asks by itself.
/// - Sentinel: all known Sentinels are asked, and what they name is used once it says itself that it is a primary. Asked again when one of them
///   announces a switch, when a connection to the primary is lost or the primary has become a replica, and every 10 seconds.
/// - Cluster: some of the nodes are asked for the map of slots; again when a node redirects for good, is lost, and every 10 seconds.
///
/// What was known stays until something better is: while nobody can be asked, nothing changes.
///
/// `@unchecked Sendable`: what is mutable is confined to `eventLoop`, but for `current` and `isDoubted`, which guard themselves.
package final class RedisTopology: @unchecked Sendable {
    /// Ends the notifications.
    package typealias ObserverID = UInt64

    package let deployment: RedisDeployment
    private let eventLoop: any EventLoop
    private let configuration: RedisConfiguration
    private let logger: Logger
    private let current: Mutex<RedisPrimaries>
    /// A doubt is on its way to the loop, so that failing commands do not each go there.
    private let isDoubted = Atomic(false)

    private var discovery: (any Discovering)?
    private var nextID: RedisPrimary.ID = 1
    private var observers: [ObserverID: (loop: any EventLoop, notify: @Sendable (RedisPrimaries) -> Void)] = [:]
    private var nextObserver: ObserverID = 1
    private var watches: [RedisConfiguration.Address: SentinelWatch] = [:]
    private var waiting: [Admission] = []
    private var toldReason: String?

    /// Somebody who wants to connect anew to what was a primary.
    private struct Admission {
        let round: UInt64
        let address: RedisConfiguration.Address
        let loop: any EventLoop
        let answer: @Sendable (Bool) -> Void
    }

    /// Any thread. Nothing is asked before `start`.
    ///
    /// - Parameter configuration: of all data servers; the address is that of the deployment.
    package init(_ deployment: RedisDeployment, configuration: RedisConfiguration, eventLoop: any EventLoop, logger: Logger) {
        self.deployment = deployment
        self.configuration = configuration
        self.eventLoop = eventLoop
        self.logger = logger
        switch deployment {
        case .standalone(let address):
            current = Mutex(RedisPrimaries(generation: 1, nodes: [RedisPrimary(id: 0, address: address)], owners: []))
        case .sentinel, .cluster:
            current = Mutex(.unknown)
        }
    }

    /// The present snapshot. Any thread: a lock that nobody holds for long.
    package var primaries: RedisPrimaries { current.withLock { $0 } }

    var isCluster: Bool {
        switch deployment {
        case .cluster: true
        case .standalone, .sentinel: false
        }
    }

    /// Any thread; further calls do nothing. Returns at once; nobody need be there yet.
    package func start() {
        eventLoop.execute { [self] in
            guard discovery == nil else { return }
            switch deployment {
            case .standalone:
                return
            case .sentinel(let addresses, let name):
                discovery = Discovery(
                    SentinelJudge(name: name, sentinels: addresses), asking: .sentinel, configuration: configuration, eventLoop: eventLoop
                ) { [self] in concluded($0, $1) }
                watch(name)
            case .cluster(let seeds):
                discovery = Discovery(
                    ClusterJudge(seeds: seeds, nodeLimit: configuration.limits.nodes), asking: .node, configuration: configuration,
                    eventLoop: eventLoop
                ) { [self] in concluded($0, $1) }
            }
            discovery?.start()
        }
    }

    /// Ends everything: nothing changes any more, and nobody is told anything. Any thread.
    package func close() {
        eventLoop.execute { [self] in
            discovery?.close()
            discovery = nil
            for watch in watches.values { watch.close() }
            watches = [:]
            observers = [:]
            let waiting = waiting
            self.waiting = []
            for admission in waiting { admission.loop.execute { admission.answer(true) } }
        }
    }

    /// Something speaks against what is known: a primary was lost, has redirected, or has become a replica. Any thread, as often as wanted.
    package func doubt() {
        guard !isDoubted.exchange(true, ordering: .acquiringAndReleasing) else { return }
        eventLoop.execute { [self] in
            // From here on the machine knows what to make of a further one.
            isDoubted.store(false, ordering: .releasing)
            _ = discovery?.doubt(isNews: false)
        }
    }

    // MARK: Observers

    /// `notify` is called on `loop`: at once with what is known now, and with every later snapshot, in their order. Any thread.
    @discardableResult
    package func observe(on loop: any EventLoop, _ notify: @escaping @Sendable (RedisPrimaries) -> Void) -> EventLoopFuture<ObserverID> {
        eventLoop.submit { [self] in
            let id = nextObserver
            nextObserver += 1
            observers[id] = (loop, notify)
            let present = primaries
            loop.execute { notify(present) }
            return id
        }
    }

    /// What was under way may still come. Any thread.
    func ignore(_ id: ObserverID) {
        eventLoop.execute { [self] in observers[id] = nil }
    }

    /// Whether a connection to what was a primary may be made again: asks, where there is somebody who knows. Where nobody answers, it may, as
    /// Sentinels that are away must not take a good Redis along. Any thread; the answer comes on `loop`.
    func admit(_ address: RedisConfiguration.Address, on loop: any EventLoop, _ answer: @escaping @Sendable (Bool) -> Void) {
        switch deployment {
        case .standalone:
            loop.execute { answer(true) }
        case .cluster:
            // A node that was away asks the others itself before it serves.
            doubt()
            loop.execute { answer(true) }
        case .sentinel:
            eventLoop.execute { [self] in
                guard let discovery else { return loop.execute { answer(true) } }
                let round = discovery.doubt(isNews: false)
                waiting.append(Admission(round: round, address: address, loop: loop, answer: answer))
            }
        }
    }

    // MARK: Conclusions

    private func concluded<Judge>(_ round: UInt64, _ conclusion: DiscoveryMachine<Judge>.Conclusion) {
        switch conclusion {
        case .settled(let layout):
            if toldReason != nil { logger.notice("Redis primaries are known again") }
            toldReason = nil
            publish(layout)
        case .silence:
            tell(isCluster ? "no node answers" : "no sentinel answers")
            publishNone()
        case .unsettled(let reason):
            tell(reason)
            publishNone()
        }
        if case .sentinel(_, let name) = deployment { watch(name) }
        let ready = waiting.filter { $0.round <= round }
        waiting.removeAll { $0.round <= round }
        for admission in ready {
            let isAdmitted =
                switch conclusion {
                case .settled(let layout): layout.addresses.contains(admission.address)
                case .silence: true
                case .unsettled: false
                }
            admission.loop.execute { admission.answer(isAdmitted) }
        }
    }

    private func publish(_ layout: RedisLayout) {
        let before = primaries
        guard before.layout != layout || before.generation == 0 else { return }
        let after = before.succeeded(by: layout, nextID: &nextID)
        logger.notice(
            "Redis primaries",
            metadata: ["primaries": "\(after.nodes.map(\.address.description).joined(separator: " "))", "generation": "\(after.generation)"])
        replace(after)
    }

    /// The first attempt is over: nobody waits for it any more.
    private func publishNone() {
        guard primaries.generation == 0 else { return }
        replace(RedisPrimaries(generation: 1, nodes: [], owners: []))
    }

    private func replace(_ primaries: RedisPrimaries) {
        current.withLock { $0 = primaries }
        for observer in observers.values { observer.loop.execute { observer.notify(primaries) } }
    }

    /// Once for each reason, until it is over.
    private func tell(_ reason: String) {
        guard toldReason != reason else { return }
        toldReason = reason
        logger.warning("Redis primaries cannot be found", metadata: ["reason": "\(reason)"])
    }

    // MARK: Sentinels

    private func watch(_ name: String) {
        let targets = discovery?.targets ?? []
        for (address, watch) in watches where !targets.contains(address) {
            watch.close()
            watches[address] = nil
        }
        for address in targets where watches[address] == nil {
            var configuration = configuration
            configuration.address = address
            configuration.peer = .sentinel
            let watch = SentinelWatch(eventLoop: eventLoop, configuration: configuration, name: name) { [self] in
                _ = discovery?.doubt(isNews: true)
            }
            watches[address] = watch
            watch.start()
        }
    }
}
