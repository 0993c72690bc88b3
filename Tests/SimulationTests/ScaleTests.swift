// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation
import Testing

/// What a fleet costs its Redis. `PORTCULLIS_FLEET=1000 PORTCULLIS_LOGOUTS=10000` prints the figures for so many gateways and logouts a second (minutes in
/// a debug build); the default is small and only shows that the cost is what the protocol says.
@Suite("Scale of a fleet")
struct ScaleTests {
    private static let environment = ProcessInfo.processInfo.environment
    private static let gateways = environment["PORTCULLIS_FLEET"].flatMap(Int.init) ?? 20
    private static let logouts = environment["PORTCULLIS_LOGOUTS"].flatMap(Int.init) ?? 1000

    private struct Cost {
        var pushes: Double
        var bytes: Double
        var commands: Double
    }

    @Test("heartbeats cost the square of the gateways, a logout three pushes for each")
    func cost() {
        var settings = WorldSettings()
        settings.gateways = Self.gateways
        settings.loops = 1
        settings.staleness = .milliseconds(1000)
        settings.commandTimeout = .milliseconds(250)
        settings.connectTimeout = .milliseconds(1000)
        let simulation = Simulation(seed: 1)
        let world = World(simulation, settings)
        // One after the other: how it is to start them all at once is another question.
        for _ in 0..<Self.gateways {
            world.addGateway()
            simulation.run(until: simulation.now + .milliseconds(2))
        }
        simulation.run(until: simulation.now + .milliseconds(1200))

        let beats = cost(world, for: .milliseconds(400)) {}
        // Long enough for the answers of the last ones.
        let span = SimulatedTime.milliseconds(Self.gateways > 100 ? 20 : 200)
        let count = Self.logouts * Int(span) / 1_000_000_000
        let login = SimulatedConnection(simulation, SimulatedPath(to: world.redis[0]), latency: settings.latency, onReply: { _ in }, onCut: {})
        for number in 0..<count { login.send(.add(SimulatedSession(user: number, number: number))) }
        simulation.run(until: simulation.now + .milliseconds(20))
        let all = cost(world, for: span) {
            for number in 0..<count {
                simulation.after(simulation.between(0, span - 1)) {
                    let session = SimulatedSession(user: number, number: number)
                    world.logOut(session, all: false)
                }
            }
        }
        simulation.run(until: simulation.now + .milliseconds(100))
        #expect(world.violation == nil)
        #expect(world.failed == 0)
        #expect(world.answered == count)

        let fleet = Double(Self.gateways)
        // Each is heard by all and comes back to its owner, who has asked for a PONG before; rounds begin every third of a second.
        let expected = 3 * fleet * (fleet + 2)
        #expect(beats.pushes > 0.4 * expected && beats.pushes < 1.3 * expected)
        let perLogout = (all.pushes - beats.pushes) / Double(Self.logouts)
        // The set's invalidation, the fence, and what each confirms; less where several fall into one cycle.
        #expect(perLogout > 1.5 * fleet && perLogout < 3.1 * fleet)
        for (name, cost) in [("heartbeats alone", beats), ("with \(Self.logouts) logouts a second", all)] {
            print(
                "Scale: \(Self.gateways) gateways, max_staleness 1 s, \(name): \(Int(cost.commands)) commands a second into Redis,",
                "\(Int(cost.pushes)) pushes and \(Int(cost.bytes / 1000)) kB a second out of it, \(Int(cost.pushes / fleet)) pushes and",
                "\(Int(cost.bytes / fleet / 1000)) kB a second to each gateway")
        }
        print("Scale: \(Int(perLogout)) pushes for a logout")
    }

    /// Per second.
    private func cost(_ world: World, for span: SimulatedTime, _ body: () -> Void) -> Cost {
        let redis = world.redis[0]
        let before = (redis.sentMessages, redis.sentBytes, redis.commands)
        body()
        world.simulation.run(until: world.simulation.now + span)
        let seconds = Double(span) / 1e9
        return Cost(
            pushes: Double(redis.sentMessages - before.0) / seconds, bytes: Double(redis.sentBytes - before.1) / seconds,
            commands: Double(redis.commands - before.2) / seconds)
    }
}
