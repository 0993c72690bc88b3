// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// Several gateways that share key, users and store.
package final class RunningFleet: Sendable {
    package let gateways: [RunningGateway]

    package var ports: [Int] { gateways.map(\.port) }

    package subscript(index: Int) -> RunningGateway { gateways[index % gateways.count] }

    /// Starts a gateway for each of the setups, and waits until all are ready and those that are to remember answers do.
    package static func start(_ setups: [GatewaySetup]) async throws -> RunningFleet {
        var gateways: [RunningGateway] = []
        do {
            for setup in setups { gateways.append(try await RunningGateway.start(setup, sibling: gateways.first)) }
            for (gateway, setup) in zip(gateways, setups) where setup.mode == .tracked {
                try await eventually("it remembers answers", within: .seconds(30)) { try gateway.metric("portcullis_revocation_tracking") == 1 }
            }
        } catch {
            for gateway in gateways { gateway.stop() }
            throw error
        }
        return RunningFleet(gateways)
    }

    private init(_ gateways: [RunningGateway]) { self.gateways = gateways }

    /// What each gateway says to a request that is sent now.
    package func statuses(_ token: String, _ target: String = "/orders") throws -> [Int] {
        try gateways.map { try $0.get(target, token: token).status }
    }

    package func stop() {
        for gateway in gateways { gateway.stop() }
    }
}

/// Runs `body` with a fleet of its own, which is ended afterwards.
package func withFleet<Result>(
    _ setups: [GatewaySetup], isolation: isolated (any Actor)? = #isolation, _ body: (RunningFleet) async throws -> Result
) async throws -> Result {
    let fleet = try await RunningFleet.start(setups)
    defer { fleet.stop() }
    return try await body(fleet)
}

/// Three gateways with the same setup.
package func withFleet<Result>(
    _ setup: GatewaySetup, isolation: isolated (any Actor)? = #isolation, _ body: (RunningFleet) async throws -> Result
) async throws -> Result {
    try await withFleet([setup, setup, setup], body)
}

/// How a gateway decides whether a session is still there.
package enum RevocationMode: String, CaseIterable, Sendable {
    case strict, tracked
}

extension GatewaySetup {
    fileprivate var mode: RevocationMode? { RevocationMode.allCases.first { self["revocation"]?.contains("mode: \($0.rawValue)") == true } }

    /// One of them strict and two of them tracked, as while a fleet is changed from the one to the other.
    package func mixed(staleness: String) -> [GatewaySetup] {
        [RevocationMode.strict, .tracked, .tracked].map { mode in
            var setup = self
            setup.decide(mode, staleness: staleness)
            return setup
        }
    }

    /// - Parameter staleness: `max_staleness`, as the file has it.
    package mutating func decide(_ mode: RevocationMode, staleness: String) {
        self["revocation"] = "{mode: \(mode.rawValue), max_staleness: \(staleness)}"
        // What is repeated hundreds of times takes longer than a token usually lives.
        self["sessions"] = "{signing_key: {file: signing.pem}, login: {users_file: users}, access_token_lifetime: 12h}"
    }
}
