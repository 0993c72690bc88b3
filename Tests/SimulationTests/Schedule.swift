// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import NIOCore

/// What a seed stands for: a small fleet, what its users do, and what befalls it.
struct Schedule {
    let world: World
    let simulation: Simulation
    /// Whether something goes wrong; if not, logouts have to be quick.
    let hasFaults: Bool

    init(seed: UInt64, mutant: Mutant? = nil, isTold: Bool = false) {
        simulation = Simulation(seed: seed, isTold: isTold)
        hasFaults = mutant != nil || !simulation.chance(20)
        var settings = WorldSettings()
        settings.gateways = hasFaults ? 2 + simulation.index(2) : 3
        settings.loops = 1 + simulation.index(2)
        settings.waitReplicas = hasFaults && simulation.chance(40) ? 1 : 0
        if hasFaults, simulation.chance(25) { settings.tracks = false }
        settings.remembers = simulation.chance(70)
        if hasFaults, simulation.chance(50) { settings.latency.1 = simulation.chance(50) ? .milliseconds(5) : .milliseconds(20) }
        settings.mutant = mutant
        world = World(simulation, settings)
        world.isPrompt = !hasFaults
    }

    private var staleness: SimulatedTime { world.settings.staleness }

    /// Returns what was broken; nil: nothing.
    func run() -> String? {
        for _ in 0..<world.settings.gateways {
            simulation.after(simulation.between(0, .milliseconds(20))) { [world] in world.addGateway() }
        }
        simulation.run(until: simulation.now + .milliseconds(40))
        for user in 0..<3 { world.logIn(user) }
        // Until then the fleet is so young that nobody can know who belongs to it.
        simulation.run(until: simulation.now + (hasFaults ? simulation.between(0, staleness) : staleness + .milliseconds(50)))

        let end = simulation.now + 2 * staleness
        if hasFaults {
            world.slowness = SimulatedTime(simulation.index(3))
            for _ in 0..<(1 + simulation.index(4)) { simulation.at(simulation.between(simulation.now, end)) { fault() } }
        }
        live(until: end)
        simulation.run(until: end)
        // What is still under way comes to its end.
        let last = end + 8 * staleness / 5
        while world.underWay > 0, simulation.now < last { simulation.run(until: simulation.now + .milliseconds(10)) }
        check()
        world.end()
        return world.violation
    }

    private func live(until end: SimulatedTime) {
        func next(_ every: SimulatedTime, _ body: @escaping () -> Void) {
            let time = simulation.now + simulation.between(0, 2 * every)
            guard time < end else { return }
            simulation.at(time) {
                if world.violation == nil { body() }
                next(every, body)
            }
        }
        next(.milliseconds(6)) { if let session = world.randomSession { world.request(session, stays: simulation.chance(25)) } }
        next(.milliseconds(25)) {
            for gateway in world.living { gateway.enter { for loop in gateway.loops { loop.beat() } } }
        }
        next(.milliseconds(50)) { world.logIn(simulation.index(3)) }
        next(.milliseconds(50)) { if let session = world.randomSession { logOut(session) } }
        if hasFaults { next(.milliseconds(150)) { if let session = world.randomSession { world.remove(session, all: simulation.chance(20)) } } }
    }

    /// With requests of that session all around.
    private func logOut(_ session: SimulatedSession) {
        let spread = 4 * world.settings.latency.1
        for _ in 0..<4 {
            simulation.after(simulation.between(0, 2 * spread)) { world.request(session, stays: simulation.chance(25)) }
        }
        simulation.after(simulation.between(0, spread)) { world.logOut(session, all: simulation.chance(20)) }
    }

    private func fault() {
        guard let gateway = world.living.randomElement(using: &simulation.random) else { return }
        let redis = world.redis[simulation.index(world.redis.count)]
        let time = simulation.chance(50) ? simulation.between(.milliseconds(5), .milliseconds(60)) : simulation.between(0, 2 * staleness)
        let kind = simulation.index(13)
        simulation.tell("fault \(kind) at \(gateway.name), \(redis.isPrimary ? "primary" : "replica"), \(Double(time) / 1e6) ms")
        switch kind {
        case 0: gateway.losePush()
        case 1:
            gateway.losePush()
            simulation.after(simulation.between(0, .milliseconds(150))) { gateway.losePush() }
        case 2: gateway.enter { gateway.client.lost() }
        case 3: gateway.enter { gateway.loops[0].client.lost() }
        case 4, 5: gateway.path(to: redis).blockedUntil = simulation.now + time
        case 6, 7: gateway.stop(for: time)
        case 8: world.addGateway()
        case 9: if world.living.count > 1 { if simulation.chance(50) { gateway.die() } else { gateway.close() } }
        case 10:
            if simulation.chance(50) { world.redis[0].flush() } else { world.redis[0].restart() }
            // Who comes now cannot see who was there.
            simulation.after(simulation.between(0, .milliseconds(30))) { world.addGateway() }
        case 11: redis.clockOffset += simulation.between(-2 * staleness, 2 * staleness)
        default: failOver()
        }
    }

    /// The primary is cut off from its replica, and after Sentinel's `down-after-milliseconds`, which is longer than `max_staleness`, that takes over.
    private func failOver() {
        guard world.redis.count > 1, world.redis[0].replica != nil else { return }
        let promoted = world.redis[1]
        world.redis[0].replica = nil
        simulation.after(staleness + staleness / 10) {
            promoted.isPrimary = true
            simulation.tell("promoted")
            world.noteFailover()
            for gateway in world.living {
                if simulation.chance(50) { world.believesInOld.insert(gateway.name) }
                // Connections end in any order, or not at all for a while.
                for part in 0..<(2 + gateway.loops.count) where simulation.chance(70) {
                    simulation.after(simulation.between(0, staleness)) {
                        gateway.enter {
                            switch part {
                            case 0: gateway.losePush()
                            case 1: gateway.client.lost()
                            default: gateway.loops[part - 2].client.lost()
                            }
                        }
                    }
                }
            }
            simulation.after(staleness) {
                world.believesInOld.removeAll()
                world.redis[0].restart()
                world.redis[0].isPrimary = false
            }
        }
    }

    private func check() {
        // Of each gateway that ever was what is known of it and what is owed to it, and the logouts under way.
        if world.largestSize > 4 * world.gateways.count + 40 { world.violate("a machine keeps \(world.largestSize) entries") }
        guard !hasFaults else { return }
        if world.failed > 0 { world.violate("\(world.failed) logouts failed although nothing was wrong") }
        if world.answered == 0 || world.forwards == 0 { world.violate("nothing happened") }
    }
}
