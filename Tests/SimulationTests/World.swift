// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore
import NIOEmbedded

@testable import RedisSessions

/// Gateways, Redis, sessions; and what is promised, checked at every step.
final class World {
    let simulation: Simulation
    let settings: WorldSettings
    let keys = SessionKeys(prefix: "p:")
    let fleetKeys = FleetKeys(prefix: Array("p:".utf8), tag: nil)
    let eventLoop = EmbeddedEventLoop()
    private(set) var redis: [SimulatedRedis] = []
    private(set) var gateways: [SimulatedGateway] = []
    /// How slow threads may be at times; 0 where nothing is wrong.
    var slowness: SimulatedTime = 0

    /// What has been broken first, in words.
    private(set) var violation: String?
    private(set) var largestSize = 0
    private(set) var answered = 0
    private(set) var failed = 0
    /// Logouts that have no answer yet.
    private(set) var underWay = 0
    private(set) var forwards = 0

    private var sessions: [SimulatedSession] = []
    private var made = 0
    /// Ended by whomever, or lost by Redis.
    private var ended: Set<SimulatedSession> = []
    /// Their logout has been answered.
    private var loggedOut: Set<SimulatedSession> = []

    init(_ simulation: Simulation, _ settings: WorldSettings) {
        self.simulation = simulation
        self.settings = settings
        let primary = SimulatedRedis(simulation, settings, keys: keys, isPrimary: true)
        redis = [primary]
        if settings.waitReplicas > 0 {
            let replica = SimulatedRedis(simulation, settings, keys: keys, isPrimary: false)
            primary.replica = replica
            redis.append(replica)
        }
        for node in redis { node.onRemoved = { [unowned self] in ended.formUnion($0) } }
    }

    @discardableResult
    func addGateway() -> SimulatedGateway {
        let gateway = SimulatedGateway("g\(gateways.count)", self)
        gateways.append(gateway)
        return gateway
    }

    var living: [SimulatedGateway] { gateways.filter { !$0.isGone } }

    /// Where a gateway believes the primary to be; for a while after a failover some still believe in the old one.
    var believesInOld: Set<String> = []
    func primary(for gateway: SimulatedGateway) -> SimulatedRedis {
        guard redis.count > 1, redis[1].isPrimary else { return redis[0] }
        return believesInOld.contains(gateway.name) && simulation.chance(60) ? redis[0] : redis[1]
    }

    // MARK: What happens to sessions

    func logIn(_ user: Int) {
        guard let gateway = living.randomElement(using: &simulation.random) else { return }
        made += 1
        let session = SimulatedSession(user: user, number: made)
        gateway.enter { [self] in
            gateway.client.send(.add(session)) { [self] reply in
                guard case .integer = reply else { return }
                simulation.tell("\(gateway.name) has made \(session)")
                sessions.append(session)
                if !redis.contains(where: { $0.isPrimary && $0.sets[user]?.contains(session) ?? false }) { ended.insert(session) }
            }
        }
    }

    var randomSession: SimulatedSession? { sessions.randomElement(using: &simulation.random) }

    func request(_ session: SimulatedSession, stays: Bool) {
        guard let gateway = living.randomElement(using: &simulation.random) else { return }
        let loop = gateway.loops[simulation.index(gateway.loops.count)]
        gateway.enter { loop.request(session, stays: stays) }
    }

    func logOut(_ session: SimulatedSession, all: Bool) {
        guard let gateway = living.randomElement(using: &simulation.random) else { return }
        let concerned = all ? sessions.filter { $0.user == session.user } : [session]
        underWay += 1
        if all { lastOfAll = simulation.now }
        gateway.enter { [self] in
            gateway.logOut(user: session.user, all ? nil : session) { [self] isAnswered in
                underWay -= 1
                if isAnswered { logoutAnswered(concerned, by: gateway.name) } else { failed += 1 }
            }
        }
    }

    /// By another program, which asks no gateway.
    func remove(_ session: SimulatedSession, all: Bool) {
        let path = SimulatedPath(to: redis.last.map { $0.isPrimary ? $0 : redis[0] } ?? redis[0])
        SimulatedConnection(simulation, path, latency: settings.latency, onReply: { _ in }, onCut: {}).send(
            .remove(user: session.user, all ? nil : session))
    }

    /// What the new primary does not know of was lost, not logged out; nobody can tell.
    func noteFailover() {
        for session in sessions where !(redis[1].sets[session.user]?.contains(session) ?? false) { ended.insert(session) }
    }

    /// Lets go of everything: gateways, connections and loops know each other.
    func end() {
        simulation.end()
        for gateway in gateways { gateway.end() }
        for node in redis { node.end() }
        gateways.removeAll()
    }

    // MARK: What is promised

    func logoutAnswered(_ concerned: [SimulatedSession], by origin: String) {
        simulation.tell("\(origin) has answered the logout of \(concerned.map(\.number))")
        answered += 1
        loggedOut.formUnion(concerned)
        for gateway in living where !gateway.isStopped && gateway.isFresh {
            for loop in gateway.loops {
                for exchange in loop.open.values where exchange.isForwarded && loggedOut.contains(exchange.session) {
                    violate("\(exchange.session) is open at \(gateway.name) when its logout is answered by \(origin)")
                }
            }
        }
    }

    func forwarded(_ session: SimulatedSession, by gateway: String) {
        simulation.tell("\(gateway) forwards \(session.number)")
        forwards += 1
        if loggedOut.contains(session) { violate("\(gateway) forwards \(session), whose logout has been answered") }
    }

    func refused(_ session: SimulatedSession, by gateway: String) {
        simulation.tell("\(gateway) refuses \(session.number)")
        if !ended.contains(session) { violate("\(gateway) tells \(session) that it is logged out, which nobody did") }
    }

    func noteSize(_ size: Int) { largestSize = max(largestSize, size) }

    /// Nothing is wrong: then it has to be quick.
    var isPrompt = false
    private var lastOfAll: SimulatedTime = 0
    func noteConfirmation(_ time: SimulatedTime, ofAll: Bool) {
        // What comes right behind a logout of all is confirmed behind it.
        let limit = ofAll || simulation.now - lastOfAll < .milliseconds(20) ? settings.promptnessOfAll : settings.promptness
        guard isPrompt, time > limit else { return }
        violate("a logout took \(Double(time) / 1e6) ms to be confirmed; it should be \(Double(limit) / 1e6) ms at most")
    }

    func violate(_ what: String) {
        if violation == nil { violation = "at \(Double(simulation.now) / 1e6) ms: \(what)" }
    }
}
